package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"path"
	"reflect"
	"strings"
	"unicode/utf8"

	textdiff "github.com/rogpeppe/go-internal/diff"
	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// diffTextLimit bounds the files that --content compares: what is larger is
// hardly text.
const diffTextLimit = 4 << 20

type diffOptions struct{ content bool }

func newDiffCommand(e *env) *cobra.Command {
	var o diffOptions
	cmd := &cobra.Command{
		Use:   "diff PATH[@TIME] [PATH[@TIME]]",
		Short: "Tell what differs between two times or two directories",
		Long: `Tell what differs between two times of a path, or between two paths. The second
may be a bare @TIME, meaning the same path; without it the newest version is
meant. A is added, D deleted, M modified, m other attributes only, T another
type.

` + timeHelp,
		Example: `  syncfs diff .@yesterday
  syncfs diff report.txt@2025-01-31 @latest --content
  syncfs diff src@yesterday docs:old-src`,
		Args: rangeArgs(2, "PATH"),
		RunE: runE(func(ctx context.Context, args []string) error { return runDiff(ctx, e, o, args) }),
	}
	cmd.Flags().BoolVarP(&o.content, "content", "p", false, "show the differences in text files")
	e.addJSON(cmd)
	return cmd
}

// diffRow is one difference in JSON.
type diffRow struct {
	Path    string `json:"path"`
	Change  string `json:"change"`
	Type    string `json:"type"`
	OldSize int64  `json:"old_size"`
	NewSize int64  `json:"new_size"`
}

func runDiff(ctx context.Context, e *env, o diffOptions, args []string) error {
	if o.content && e.json {
		return usage("--content and --json do not go together")
	}
	left, err := e.parseTarget(args[0], "")
	if err != nil {
		return err
	}
	right := target{spelled: left.path, path: left.path}
	if len(args) > 1 {
		if right, err = e.parseTarget(args[1], ""); err != nil {
			return err
		}
		if strings.HasPrefix(args[1], "@") && right.path == "." {
			right.path = left.path
		}
	}
	return e.withReader(ctx, func(r *agent.Reader) error {
		a, err := e.lookAt(ctx, r, left)
		if err != nil {
			return err
		}
		b, err := e.lookAt(ctx, r, right)
		if err != nil {
			return err
		}
		rows := []diffRow{}
		err = r.Trees().Diff(ctx, a.Entry, b.Entry, func(c versions.Change) error {
			if onlyTouched(c) {
				return nil
			}
			name := path.Join(b.place.Rel, c.Path)
			if name == "" {
				name = "."
			}
			if e.json {
				rows = append(rows, newDiffRow(name, c))
				return nil
			}
			if _, err := fmt.Fprintf(e.stdout, "%c %s%s\n", letter(c), clean(name), sizes(c)); err != nil || !o.content {
				return err
			}
			return e.diffContent(ctx, r, path.Join(a.place.Rel, c.Path), name, c)
		})
		if err != nil {
			return fmt.Errorf("compare %s with %s: %w", a.label(), b.label(), err)
		}
		if e.json {
			return e.document(rows)
		}
		return nil
	})
}

// onlyTouched tells a directory whose time moved because of what is in it: that
// is reported by itself.
func onlyTouched(c versions.Change) bool {
	if c.Old == nil || c.New == nil || c.Old.Kind != versions.Dir || c.New.Kind != versions.Dir {
		return false
	}
	a, b := *c.Old, *c.New
	for _, e := range []*versions.Entry{&a, &b} {
		e.MTime, e.Size, e.Count, e.Tree = 0, 0, 0, chunk.ID{}
	}
	return reflect.DeepEqual(a, b)
}

// changeOf names a difference.
func changeOf(c versions.Change) agent.ChangeKind {
	switch {
	case c.Old == nil:
		return agent.Created
	case c.New == nil:
		return agent.Deleted
	case c.Old.Kind == c.New.Kind && sameContent(*c.Old, *c.New):
		return agent.Metadata
	}
	return agent.Modified
}

func sameContent(a, b versions.Entry) bool {
	switch a.Kind {
	case versions.File:
		return versions.Same(a, b)
	case versions.Symlink:
		return a.Target == b.Target
	case versions.CharDev, versions.BlkDev:
		return a.Device == b.Device
	}
	return true // a directory's content is reported by itself
}

func letter(c versions.Change) rune {
	if c.Old != nil && c.New != nil && c.Old.Kind != c.New.Kind {
		return 'T'
	}
	switch changeOf(c) {
	case agent.Created:
		return 'A'
	case agent.Deleted:
		return 'D'
	case agent.Metadata:
		return 'm'
	}
	return 'M'
}

func newDiffRow(name string, c versions.Change) diffRow {
	row := diffRow{Path: name, Change: string(changeOf(c))}
	if c.Old != nil {
		row.Type, row.OldSize = typeName(c.Old.Kind), c.Old.Size
	}
	if c.New != nil {
		row.Type, row.NewSize = typeName(c.New.Kind), c.New.Size
	}
	return row
}

// sizes tells how a file's size moved.
func sizes(c versions.Change) string {
	if c.Old == nil || c.New == nil || c.Old.Size == c.New.Size || c.New.Kind != versions.File || c.Old.Kind != versions.File {
		return ""
	}
	return fmt.Sprintf("  (%s -> %s)", size(c.Old.Size), size(c.New.Size))
}

// diffContent prints a unified diff of two states of a text file.
func (e *env) diffContent(ctx context.Context, r *agent.Reader, oldName, newName string, c versions.Change) error {
	old, ok, err := textOf(ctx, r, c.Old)
	if err != nil || !ok {
		return err
	}
	text, ok, err := textOf(ctx, r, c.New)
	if err != nil || !ok {
		return err
	}
	_, err = e.stdout.Write(textdiff.Diff("a/"+oldName, old, "b/"+newName, text))
	return err
}

// textOf reads an entry's content when it is text; nothing is empty text.
func textOf(ctx context.Context, r *agent.Reader, entry *versions.Entry) (text []byte, ok bool, err error) {
	if entry == nil {
		return nil, true, nil
	}
	if entry.Kind != versions.File || entry.Size > diffTextLimit {
		return nil, false, nil
	}
	content, err := r.Contents().Open(ctx, *entry)
	if err != nil {
		return nil, false, err
	}
	var b bytes.Buffer
	_, err = content.WriteTo(&b)
	if err = errors.Join(err, content.Close()); err != nil {
		return nil, false, err
	}
	return b.Bytes(), utf8.Valid(b.Bytes()) && !bytes.ContainsRune(b.Bytes(), 0), nil
}
