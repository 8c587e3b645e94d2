package main

import (
	"context"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/oplog"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/internal/upkeep"
)

type checkOptions struct {
	readData bool
	subset   string
}

func newCheckCommand(e *env) *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Verify that everything in the repository is there and can be opened",
		Long: `Verify that every version of every folder can be opened, that everything they
refer to is there, and with --read-data that every stored byte is as it was
written. What is damaged is named, with the files of each version that it
touches, and the exit code is 6; the rest can still be read. repair mends what
can be.

--read-data-subset reads a part: 5% of the packs, chosen anew each time, or the
second tenth of them with 2/10.`,
		Example: `  syncfs check
  syncfs check --read-data --json
  syncfs check --read-data-subset 5%`,
		Args: exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error { return runCheck(ctx, e, o) }),
	}
	cmd.Flags().BoolVar(&o.readData, "read-data", false, "read every byte, too")
	cmd.Flags().StringVar(&o.subset, "read-data-subset", "", "read a `PART` of the bytes: 5% or 2/10")
	e.addJSON(cmd)
	return cmd
}

// part says which packs are read.
func (o checkOptions) part() (func(pack string) bool, error) {
	switch {
	case o.readData && o.subset != "":
		return nil, usage("--read-data and --read-data-subset do not go together")
	case o.readData:
		return func(string) bool { return true }, nil
	case o.subset == "":
		return nil, nil
	}
	wrong := usage("%q is no part such as 5%% or 2/10", o.subset)
	if text, ok := strings.CutSuffix(o.subset, "%"); ok {
		percent, err := strconv.ParseFloat(text, 64)
		if err != nil || !(percent > 0 && percent <= 100) {
			return nil, wrong
		}
		return func(string) bool { return rand.Float64()*100 < percent }, nil
	}
	first, second, _ := strings.Cut(o.subset, "/")
	n, err := strconv.ParseUint(first, 10, 32)
	of, err2 := strconv.ParseUint(second, 10, 32)
	if err != nil || err2 != nil || n < 1 || n > of {
		return nil, wrong
	}
	return func(pack string) bool {
		h := fnv.New32a()
		h.Write([]byte(pack))
		return uint64(h.Sum32())%of == n-1
	}, nil
}

func runCheck(ctx context.Context, e *env, o checkOptions) error {
	part, err := o.part()
	if err != nil {
		return err
	}
	return e.withReader(ctx, func(r *agent.Reader) (err error) {
		c := &checker{e: e, r: r, bar: e.newProgress()}
		begun := e.now()
		defer func() {
			e.record(ctx, r.Repository(), oplog.Operation{What: oplog.Check, Files: c.files()}, begun, err)
		}()
		err = c.run(ctx, part)
		c.bar.done()
		if err != nil {
			return err
		}
		return c.summary(o)
	})
}

// checker looks at the store and then at every folder's versions.
type checker struct {
	e        *env
	r        *agent.Reader
	bar      *progress
	silent   bool // nothing is told
	problems int
	packs    []string // in which something is damaged
	finder   *upkeep.Finder
	broken   []upkeep.Broken
}

// files is how many were looked at.
func (c *checker) files() int64 {
	if c.finder == nil {
		return 0
	}
	return c.finder.Files
}

func (c *checker) run(ctx context.Context, part func(string) bool) error {
	if err := c.r.Store().Refresh(ctx); err != nil {
		return err
	}
	suspect := map[chunk.ID]error{}
	err := c.r.Store().Check(ctx, part, func(done, total int64) { c.bar.count("checking the store", done, total) },
		func(p store.Problem) {
			if p.Chunk != (chunk.ID{}) {
				suspect[p.Chunk] = p.Err
			}
			if n := len(c.packs); n == 0 || c.packs[n-1] != p.Blob {
				c.packs = append(c.packs, p.Blob)
			}
			m, where := message{"object": p.Blob}, p.Blob
			if p.Chunk != (chunk.ID{}) {
				m["chunk"] = p.Chunk.String()
				where += ", piece " + p.Chunk.String()
			}
			c.problem(m, where, p.Err)
		})
	if err != nil {
		return err
	}
	c.finder = &upkeep.Finder{
		Lines: c.r.Lines(), Store: c.r.Store(), Trees: c.r.Trees(), Contents: c.r.Contents(), Suspect: suspect,
		Progress: func(n int64) { c.bar.count("checking versions", n, 0) },
		Broken: func(b upkeep.Broken) {
			c.broken = append(c.broken, b)
			m, where := brokenText(b)
			if len(b.Lost) > 0 {
				m["chunk"] = b.Lost[0].String()
			}
			c.problem(m, where, b.Err)
		},
	}
	return c.finder.Run(ctx)
}

// problem counts something damaged, tells of it and goes on.
func (c *checker) problem(m message, where string, err error) {
	c.problems++
	if !c.silent {
		c.tell(m, where, err)
	}
}

func (c *checker) tell(m message, where string, err error) {
	c.bar.done()
	if c.e.json {
		m["message_type"], m["message"] = "error", err.Error()
		c.e.jsonLine(c.e.stdout, m)
		return
	}
	fmt.Fprintf(c.e.stdout, "damaged: %s: %v\n", clean(where), err)
}

func (c *checker) summary(o checkOptions) error {
	f := c.finder
	if c.e.json {
		m := message{
			"message_type": "summary", "problems": c.problems, "versions": f.Versions,
			"directories": f.Directories, "files": f.Files, "read_data": o.readData,
		}
		if o.subset != "" {
			m["read_data_subset"] = o.subset
		}
		c.e.jsonLine(c.e.stdout, m)
	} else if c.problems == 0 {
		c.e.say("no problems in %s, %s and %s", count(f.Versions, "version", "versions"),
			count(f.Directories, "directory", "directories"), count(f.Files, "file", "files"))
	}
	if c.problems > 0 {
		return hinted(coded(exitDamaged, fmt.Errorf("%s found", count(int64(c.problems), "problem", "problems"))),
			"all else can still be read; `syncfs repair`, best on a machine that has the files, mends what can be")
	}
	return nil
}
