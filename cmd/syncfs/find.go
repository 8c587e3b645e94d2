package main

import (
	"context"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/versions"
)

type findOptions struct {
	atFlag
	name string
	kind string
	all  bool
	long bool
}

func newFindCommand(e *env) *cobra.Command {
	var o findOptions
	cmd := &cobra.Command{
		Use:   "find [PATH[@TIME]]",
		Short: "Find files by name, at one time or at all times",
		Long: `Find files by name below a directory: as they were at one time, or with --all
every version that ever was. The last part of PATH may be a pattern (quote it).

` + timeHelp,
		Example: `  syncfs find '*.docx'
  syncfs find docs: --name 'report*' --all
  syncfs find 'src/*.go@yesterday' -l`,
		Args: rangeArgs(1),
		RunE: runE(func(ctx context.Context, args []string) error {
			arg := "."
			if len(args) > 0 {
				arg = args[0]
			}
			return runFind(ctx, e, o, arg)
		}),
	}
	o.add(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&o.name, "name", "", "only names that match this `pattern`: * any characters, ? one, [a-z] one of")
	f.StringVar(&o.kind, "type", "", "only this `kind`: f (files), d (directories), l (symlinks)")
	f.BoolVar(&o.all, "all", false, "every version that ever was")
	f.BoolVarP(&o.long, "long", "l", false, "also mode, owner, size and time")
	e.addJSON(cmd)
	return cmd
}

func runFind(ctx context.Context, e *env, o findOptions, arg string) error {
	t, err := e.parseTarget(arg, o.at)
	if err != nil {
		return err
	}
	if o.name == "" {
		t.path, o.name = splitPattern(t.path)
	}
	if _, err := path.Match(o.name, ""); err != nil {
		return usage("%q is not a pattern: %w", o.name, err)
	}
	if o.kind != "" && !strings.Contains("fdl", o.kind) {
		return usage("--type: %q is none of f, d, l", o.kind)
	}
	if o.all && t.when != nil {
		return usage("--all looks at every time, so no TIME can be given")
	}
	return e.withReader(ctx, func(r *agent.Reader) error {
		if o.all {
			return e.findAll(ctx, r, o, t)
		}
		s, err := e.lookAt(ctx, r, t)
		if err != nil {
			return err
		}
		out := e.newListing(s, o.long)
		err = r.Trees().Walk(ctx, s.Entry, func(below string, entry versions.Entry) error {
			if below == "" && entry.Kind == versions.Dir || !o.wanted(path.Join(s.place.Rel, below), entry) {
				return nil
			}
			return out.add(path.Join(s.place.Rel, below), entry)
		})
		if err != nil {
			return fmt.Errorf("%s: %w", s.label(), err)
		}
		return out.end()
	})
}

// splitPattern takes a pattern off the end of a path that does not exist.
func splitPattern(p string) (dir, pattern string) {
	if _, err := os.Lstat(p); err == nil {
		return p, ""
	}
	i := strings.LastIndexAny(p, `/:`+string(filepath.Separator))
	if !strings.ContainsAny(p[i+1:], "*?[") {
		return p, ""
	}
	switch {
	case i < 0:
		return ".", p
	case p[i] == ':' || i == 0:
		return p[:i+1], p[i+1:]
	}
	return p[:i], p[i+1:]
}

// wanted tells whether an entry is looked for.
func (o findOptions) wanted(name string, entry versions.Entry) bool {
	if o.kind != "" && string(rune(entry.Kind)) != o.kind {
		return false
	}
	if o.name == "" {
		return true
	}
	ok, err := path.Match(o.name, path.Base(name))
	return err == nil && ok
}

// foundRow is one version of one file.
type foundRow struct {
	entryRow
	Change string    `json:"change"`
	Time   time.Time `json:"time"`
}

// findAll goes through every snapshot and looks at what differs from the one
// before, so a long past costs what changed in it.
func (e *env) findAll(ctx context.Context, r *agent.Reader, o findOptions, t target) error {
	place, err := locate(ctx, r, t.path)
	if err != nil {
		return err
	}
	snapshots, err := r.Snapshots(ctx, place.Folder)
	if err != nil {
		return err
	}
	rows := []foundRow{}
	out := e.newTable("INSTANT", "CHANGE", "SIZE", "PATH")
	last := versions.Entry{Kind: versions.Dir}
	below := func(name string) bool {
		return place.Rel == "" || name == place.Rel || strings.HasPrefix(name, place.Rel+"/")
	}
	for _, s := range snapshots {
		err := r.Trees().Diff(ctx, last, s.Root, func(c versions.Change) error {
			entry, change := c.New, changeOf(c)
			if entry == nil {
				entry = c.Old
			}
			if c.Path == "" || onlyTouched(c) || !below(c.Path) || !o.wanted(c.Path, *entry) {
				return nil
			}
			if e.json {
				rows = append(rows, foundRow{entryRow: newEntryRow(c.Path, *entry, s.Instant), Change: string(change), Time: s.Instant.Time()})
				return nil
			}
			out.row(s.Instant, change, size(entry.Size), shownName(c.Path, *entry))
			return nil
		})
		if err != nil {
			return fmt.Errorf("version %s: %w", s.Instant, err)
		}
		last = s.Root
	}
	if e.json {
		return e.document(rows)
	}
	return out.flush()
}
