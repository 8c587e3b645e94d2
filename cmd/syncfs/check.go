package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/oplog"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/versions"
)

type checkOptions struct{ readData bool }

func newCheckCommand(e *env) *cobra.Command {
	var o checkOptions
	cmd := &cobra.Command{
		Use:   "check",
		Short: "Verify that everything in the repository is there and can be opened",
		Long: `Verify that every version of every folder can be opened, that everything they
refer to is there, and with --read-data that every stored byte is as it was
written. What is damaged is named, and the exit code is 6; the rest can still be
read.`,
		Example: `  syncfs check
  syncfs check --read-data --json`,
		Args: exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error { return runCheck(ctx, e, o) }),
	}
	cmd.Flags().BoolVar(&o.readData, "read-data", false, "read every byte, too")
	e.addJSON(cmd)
	return cmd
}

func runCheck(ctx context.Context, e *env, o checkOptions) error {
	return e.withReader(ctx, func(r *agent.Reader) (err error) {
		c := &checker{e: e, r: r, bar: e.newProgress(), trees: map[chunk.ID]bool{}}
		begun := e.now()
		defer func() {
			e.record(ctx, r.Repository(), oplog.Operation{What: oplog.Check, Files: c.files}, begun, err)
		}()
		if err := r.Store().Refresh(ctx); err != nil {
			return err
		}
		err = r.Store().Check(ctx, o.readData, func(done, total int64) { c.bar.count("checking the store", done, total) },
			func(p store.Problem) { c.problem(p.Blob, chunkText(p.Chunk), p.Err) })
		if err == nil {
			err = c.folders(ctx)
		}
		c.bar.done()
		if err != nil {
			return err
		}
		return c.summary(o)
	})
}

func chunkText(id chunk.ID) string {
	if id == (chunk.ID{}) {
		return ""
	}
	return id.String()
}

// checker goes through every folder's versions.
type checker struct {
	e        *env
	r        *agent.Reader
	bar      *progress
	trees    map[chunk.ID]bool // directories that were read already, in any version
	problems int
	versions int
	files    int64
}

// problem tells of something damaged and goes on.
func (c *checker) problem(where, piece string, err error) {
	c.problems++
	c.bar.done()
	if c.e.json {
		m := message{"message_type": "error", "object": where, "message": err.Error()}
		if piece != "" {
			m["chunk"] = piece
		}
		c.e.jsonLine(c.e.stdout, m)
		return
	}
	if piece != "" {
		where += ", piece " + piece
	}
	fmt.Fprintf(c.e.stdout, "damaged: %s: %v\n", clean(where), err)
}

func (c *checker) folders(ctx context.Context) error {
	list, err := c.r.Lines().Folders(ctx)
	if err != nil {
		return err
	}
	for _, f := range list {
		err := c.r.Lines().Records(ctx, f.ID, 0, false, func(rec line.Recorded) error {
			c.versions++
			c.bar.count("checking versions", int64(c.versions), 0)
			return c.tree(ctx, f.Name+" at "+rec.Instant.String(), "", rec.Root)
		})
		if ctx.Err() != nil {
			return ctx.Err()
		}
		if err != nil {
			c.problem(f.Name, "", err)
		}
	}
	return nil
}

// tree reads what is below a directory and was not read in another version.
func (c *checker) tree(ctx context.Context, version, path string, dir versions.Entry) error {
	if dir.Tree == (chunk.ID{}) || c.trees[dir.Tree] {
		return nil
	}
	c.trees[dir.Tree] = true
	list, err := c.r.Trees().Read(ctx, dir.Tree)
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		c.problem(version+": "+path+"/", "", err)
		return nil
	}
	for _, entry := range list {
		name := path + "/" + entry.Name
		switch entry.Kind {
		case versions.Dir:
			if err := c.tree(ctx, version, name, entry); err != nil {
				return err
			}
		case versions.File:
			c.files++
			if err := c.file(ctx, version+": "+name, entry); err != nil {
				return err
			}
		}
	}
	return nil
}

// file looks whether all pieces of a file are there; --read-data has read them.
func (c *checker) file(ctx context.Context, where string, entry versions.Entry) error {
	pieces, err := c.r.Contents().Pieces(ctx, entry)
	for i := 0; err == nil && i < len(pieces); i++ {
		var ok bool
		if ok, err = c.r.Store().Has(ctx, chunk.Data, pieces[i].ID); err == nil && !ok {
			c.problem(where, pieces[i].ID.String(), store.ErrCorrupt)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		c.problem(where, "", err)
	}
	return nil
}

func (c *checker) summary(o checkOptions) error {
	if c.e.json {
		c.e.jsonLine(c.e.stdout, message{
			"message_type": "summary", "problems": c.problems, "versions": c.versions,
			"directories": len(c.trees), "files": c.files, "read_data": o.readData,
		})
	} else if c.problems == 0 {
		c.e.say("no problems in %s, %s and %s", count(int64(c.versions), "version", "versions"),
			count(int64(len(c.trees)), "directory", "directories"), count(c.files, "file", "files"))
	}
	if c.problems > 0 {
		return hinted(coded(exitDamaged, fmt.Errorf("%s found", count(int64(c.problems), "problem", "problems"))),
			"all else can still be read; machines that have the files send damaged pieces again when they change")
	}
	return nil
}
