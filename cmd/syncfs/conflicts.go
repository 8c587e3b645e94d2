package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/versions"
)

func newConflictsCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "conflicts [FOLDER|PATH]",
		Short: "List the conflict copies that two machines' changes have left",
		Long: `List the conflict copies in the folders of this machine, or below PATH: where
two machines changed one file, the content that was committed first keeps the
name, and the other is beside it as STEM (conflict HOST VERSION HASH).EXT.
HOST is the machine that wrote it, VERSION the version that first held it.

Removing or renaming a copy by hand ends a conflict as well. Works with and
without a running agent; without one, what the newest version has and the
plain directory still holds is listed.

The exit code is 4 while there are any.`,
		Example: `  syncfs conflicts
  syncfs conflicts docs --json | jq -r '.[].copy'
  syncfs diff -p a.txt 'a (conflict pc 20250131_201530 1f2e3d4c).txt'
  syncfs conflicts resolve report.txt --keep newest`,
		Args: rangeArgs(1),
		RunE: runE(func(ctx context.Context, args []string) error { return runConflicts(ctx, e, args) }),
	}
	e.addJSON(cmd)
	cmd.AddCommand(newResolveCommand(e))
	return cmd
}

// disputes are the conflicts of one folder that were asked for.
type disputes struct {
	folder agent.FolderInfo
	rel    string // that was named; "": the whole folder
	list   []agent.Conflict
}

// conflictRow is one conflict copy in JSON.
type conflictRow struct {
	Folder    string     `json:"folder"`
	Path      string     `json:"path"`
	RawPath   string     `json:"path_quoted,omitempty"` // Go syntax, when the name is not UTF-8
	Copy      string     `json:"copy"`
	RawCopy   string     `json:"copy_quoted,omitempty"`
	Type      string     `json:"type"`
	Host      string     `json:"host"`
	Mine      bool       `json:"mine"`
	Instant   string     `json:"instant"`
	Hash      string     `json:"hash"`
	Size      int64      `json:"size"`
	MTime     time.Time  `json:"mtime"`
	Exists    bool       `json:"path_exists"`
	PathSize  int64      `json:"path_size"`
	PathMTime *time.Time `json:"path_mtime,omitempty"`
}

func newConflictRow(folder string, c agent.Conflict) conflictRow {
	row := conflictRow{
		Folder: folder, Path: string(c.Path), RawPath: quotedUnlessUTF8(c.Path), Copy: string(c.Copy), RawCopy: quotedUnlessUTF8(c.Copy),
		Type: typeName(versions.Kind(c.Kind)), Host: c.Host, Mine: c.Mine, Instant: c.Instant, Hash: c.Hash,
		Size: c.Size, MTime: time.Unix(0, c.MTime).UTC(), Exists: c.Exists, PathSize: c.PathSize,
	}
	if c.Exists {
		t := time.Unix(0, c.PathTime).UTC()
		row.PathMTime = &t
	}
	return row
}

func quotedUnlessUTF8(name []byte) string {
	if utf8.Valid(name) {
		return ""
	}
	return strconv.Quote(string(name))
}

func runConflicts(ctx context.Context, e *env, args []string) error {
	return e.withReader(ctx, func(r *agent.Reader) error {
		found, err := findDisputes(ctx, r, args)
		if err != nil {
			return err
		}
		rows, n := []conflictRow{}, 0
		for _, d := range found {
			n += len(d.list)
			for _, c := range d.list {
				rows = append(rows, newConflictRow(d.folder.Name, c))
			}
		}
		switch {
		case e.json:
			if err := e.document(rows); err != nil {
				return err
			}
		case n == 0:
			e.say("no conflicts")
		default:
			e.printConflicts(found)
		}
		if n > 0 {
			return silently(exitConflicts)
		}
		return nil
	})
}

func (e *env) printConflicts(found []disputes) {
	example := ""
	for _, d := range found {
		for _, c := range d.list {
			p := string(c.Path)
			if example == "" {
				example = d.folder.Name + ":" + p
			}
			fmt.Fprintf(e.stdout, "%s:%s\n", d.folder.Name, clean(string(c.Copy)))
			by := c.Host
			if c.Mine {
				by += " (this machine)"
			}
			fmt.Fprintf(e.stdout, "  %s by %s, changed %s\n", size(c.Size), clean(by), e.localTime(c.MTime))
			other := "does not exist any more"
			if c.Exists {
				other = fmt.Sprintf("has %s, changed %s", size(c.PathSize), e.localTime(c.PathTime))
			}
			fmt.Fprintf(e.stdout, "  %s %s\n", clean(path.Base(p)), other)
		}
	}
	e.say("keep one with: syncfs conflicts resolve '%s' --keep current|copy|newest|mine|theirs|both\ncompare two with: syncfs diff --content PATH COPY", clean(example))
}

func (e *env) localTime(ns int64) string {
	return time.Unix(0, ns).In(e.loc).Format("2006-01-02 15:04:05")
}

// findDisputes finds the conflicts of what was named: a folder, a path in one,
// or nothing, for all folders of this machine.
func findDisputes(ctx context.Context, r *agent.Reader, args []string) ([]disputes, error) {
	folders, err := r.Folders(ctx)
	if err != nil {
		return nil, err
	}
	var found []disputes
	if len(args) == 0 {
		for _, f := range folders {
			if f.Path == "" {
				continue
			}
			list, err := r.Conflicts(ctx, f)
			if err != nil {
				return nil, fmt.Errorf("folder %s: %w", f.Name, err)
			}
			found = append(found, disputes{folder: f, list: list})
		}
		return found, nil
	}
	for _, arg := range args {
		place, err := folderOrPath(ctx, r, folders, arg)
		if err != nil {
			return nil, err
		}
		all, err := r.Conflicts(ctx, place.Folder)
		if err != nil {
			return nil, err
		}
		d := disputes{folder: place.Folder, rel: place.Rel}
		for _, c := range all {
			if below(string(c.Copy), place.Rel) || below(string(c.Path), place.Rel) {
				d.list = append(d.list, c)
			}
		}
		found = append(found, d)
	}
	return found, nil
}

func below(p, dir string) bool {
	return dir == "" || p == dir || strings.HasPrefix(p, dir+"/")
}

// folderOrPath takes an argument that is the name of a folder, or a path.
func folderOrPath(ctx context.Context, r *agent.Reader, folders []agent.FolderInfo, arg string) (agent.Place, error) {
	for _, f := range folders {
		if f.Name == arg {
			return agent.Place{Folder: f}, nil
		}
	}
	return locate(ctx, r, arg)
}

type resolveOptions struct {
	keep   string
	all    bool
	dryRun bool
}

func newResolveCommand(e *env) *cobra.Command {
	var o resolveOptions
	cmd := &cobra.Command{
		Use:   "resolve COPY|PATH... --keep WHICH",
		Short: "Keep one content of a conflict; the others stay in .versions",
		Long: `Keep one of the contents of a conflict under the name that they share. COPY is
one conflict copy: it is decided between that and the file; PATH stands for the
file with all its copies; --all takes every conflict of a FOLDER, below a PATH,
or of all folders.

  --keep current   what has the name now
  --keep copy      the conflict copy; of several, name the one that is meant
  --keep newest    what was changed last
  --keep mine      what this machine wrote: the copy that bears its name, or
                   else what has the name now
  --keep theirs    what another machine wrote; of several, the newest
  --keep both      all: the copy gets an ordinary name, STEM (HOST VERSION).EXT

Nothing is lost by it: before anything is touched, everything is put into a
version of the folder, so what is not kept stays in .versions/. The name changes
its content in one step, as by a rename. A file that a program has open for
writing, or writes at the moment, stays as it is; that is told.

The agent has to be running, since it takes the version and sends the decision
to the other machines; offline it does so later. The exit code is 4 when one of
the conflicts remains.`,
		Example: `  syncfs conflicts resolve report.txt --keep newest
  syncfs conflicts resolve 'a (conflict pc 20250131_201530 1f2e3d4c).txt' \
    --keep copy
  syncfs conflicts resolve --all docs --keep current --dry-run`,
		RunE: runE(func(ctx context.Context, args []string) error { return runResolve(ctx, e, o, args) }),
	}
	f := cmd.Flags()
	f.StringVar(&o.keep, "keep", "", "`which` content: "+strings.Join(agent.Keeps(), ", "))
	f.BoolVar(&o.all, "all", false, "every conflict of what is named")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "only tell what would be done")
	e.addJSON(cmd)
	return cmd
}

// resolvedRow is what became of one conflict, in JSON.
type resolvedRow struct {
	Folder  string   `json:"folder"`
	Path    string   `json:"path"`
	Kept    string   `json:"kept,omitempty"`
	Removed []string `json:"removed"`
	Renamed []string `json:"renamed"`
	DryRun  bool     `json:"dry_run"`
	Error   string   `json:"error,omitempty"`
}

func runResolve(ctx context.Context, e *env, o resolveOptions, args []string) error {
	if o.keep == "" {
		return usage("which content is to be kept: --keep %s?", strings.Join(agent.Keeps(), ", "))
	}
	if !slices.Contains(agent.Keeps(), o.keep) {
		return usage("--keep: %q is none of %s", o.keep, strings.Join(agent.Keeps(), ", "))
	}
	if len(args) == 0 && !o.all {
		return usage("name a conflict copy or the file that it is of, or --all")
	}
	var found []disputes
	err := e.withReader(ctx, func(r *agent.Reader) (err error) {
		found, err = findDisputes(ctx, r, args)
		return err
	})
	if err != nil {
		return err
	}
	return e.withAgent(func(c *agent.Client) error {
		rows, remain := []resolvedRow{}, false
		for _, d := range found {
			which, err := d.named(o)
			if err != nil {
				return err
			}
			if len(which) == 0 {
				continue
			}
			done, err := c.Resolve(ctx, agent.ResolveRequest{Name: d.folder.Name, Which: which, Keep: o.keep, DryRun: o.dryRun})
			for _, one := range done {
				row := newResolvedRow(d.folder.Name, one, o.dryRun)
				remain = remain || row.Error != ""
				rows = append(rows, row)
				if !e.json {
					e.printResolved(row)
				}
			}
			if err != nil {
				return err
			}
		}
		if e.json {
			if err := e.document(rows); err != nil {
				return err
			}
		} else if len(rows) == 0 {
			e.say("no conflicts")
		}
		if remain {
			return silently(exitConflicts)
		}
		return nil
	})
}

// named are the conflicts that were meant, each name with its copies.
func (d disputes) named(o resolveOptions) ([]agent.ConflictNames, error) {
	var out []agent.ConflictNames
	index := map[string]int{}
	for _, c := range d.list {
		if !o.all && d.rel != string(c.Copy) && d.rel != string(c.Path) {
			continue
		}
		i, ok := index[string(c.Path)]
		if !ok {
			i = len(out)
			index[string(c.Path)] = i
			out = append(out, agent.ConflictNames{Path: c.Path})
		}
		out[i].Copies = append(out[i].Copies, c.Copy)
	}
	switch {
	case len(out) > 0 || o.all:
		return out, nil
	case d.rel == "" || len(d.list) > 0:
		return nil, hinted(fmt.Errorf("%s:%s is a directory", d.folder.Name, d.rel), "--all takes every conflict in it")
	}
	if _, err := os.Lstat(path.Join(d.folder.Path, d.rel)); errors.Is(err, os.ErrNotExist) {
		return nil, hinted(fmt.Errorf("%s:%s does not exist", d.folder.Name, clean(d.rel)), "`syncfs conflicts` lists the conflicts that there are")
	}
	return nil, hinted(fmt.Errorf("%s:%s is in no conflict", d.folder.Name, clean(d.rel)), "`syncfs conflicts` lists the conflicts that there are")
}

func newResolvedRow(folder string, r agent.ResolvedConflict, dry bool) resolvedRow {
	row := resolvedRow{
		Folder: folder, Path: string(r.Path), Kept: string(r.Kept), Error: r.Error, DryRun: dry,
		Removed: []string{}, Renamed: []string{},
	}
	for _, p := range r.Removed {
		row.Removed = append(row.Removed, string(p))
	}
	for _, p := range r.Renamed {
		row.Renamed = append(row.Renamed, string(p))
	}
	return row
}

func (e *env) printResolved(r resolvedRow) {
	name := clean(r.Folder + ":" + r.Path)
	would := ""
	if r.DryRun {
		would = "would be "
	}
	switch {
	case r.Error != "":
		e.note("%s: %s", name, clean(r.Error))
	case r.Kept == "":
		e.say("%s: both %skept", name, would)
		for _, to := range r.Renamed {
			e.say("  the copy is %s now", clean(to))
		}
	case r.Kept == r.Path:
		e.say("%s: %skept as it is; the copy's content %sin .versions alone", name, would, orIs(would))
	default:
		e.say("%s: %skept as in %s; what it held %sin .versions alone", name, would, clean(path.Base(r.Kept)), orIs(would))
	}
}

func orIs(would string) string {
	if would == "" {
		return "is "
	}
	return would
}
