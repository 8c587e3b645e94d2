package main

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

const ignoreHelp = `Rules stand in files called .syncfsignore, in any directory of a folder, and are
written as in .gitignore. They are synced as any file, and say what is not taken
newly: what is in the folder's tree already stays until ` + "`syncfs untrack`" + `. Some
names are never taken unless a rule such as "!.DS_Store" says so: swap and lock
files of editors, trash cans, what belongs to a disk (lost+found).`

func newIgnoredCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ignored [PATH...]",
		Short: "List what is ignored, and by which rule",
		Long: `List what is ignored in all folders of this machine, or at and below each PATH,
and the rule that does it; of a PATH that is no directory also that none does.

` + ignoreHelp,
		Example: `  syncfs ignored
  syncfs ignored ~/src/project
  syncfs ignored main.o --json | jq -r '.[].rule'`,
		RunE: runE(func(ctx context.Context, args []string) error { return runIgnored(ctx, e, args) }),
	}
	e.addJSON(cmd)
	return cmd
}

// ignoredRow is what the rules say of one path, in JSON.
type ignoredRow struct {
	Folder  string `json:"folder"`
	Path    string `json:"path"`
	RawPath string `json:"path_quoted,omitempty"` // Go syntax, when the name is not UTF-8
	Dir     bool   `json:"dir"`
	Ignored bool   `json:"ignored"`
	Tracked bool   `json:"tracked"`
	Source  string `json:"source,omitempty"`
	Line    int    `json:"line,omitempty"`
	Rule    string `json:"rule,omitempty"`
}

func newIgnoredRow(folder string, i agent.Ignored) ignoredRow {
	return ignoredRow{
		Folder: folder, Path: string(i.Path), RawPath: quotedUnlessUTF8(i.Path), Dir: i.Dir,
		Ignored: i.Rule != "" && !i.Tracked, Tracked: i.Tracked, Source: i.Source, Line: i.Line, Rule: i.Rule,
	}
}

func runIgnored(ctx context.Context, e *env, args []string) error {
	places, err := placesHere(ctx, e, args)
	if err != nil {
		return err
	}
	return e.withAgent(func(c *agent.Client) error {
		rows := []ignoredRow{}
		for _, p := range places {
			list, err := askIgnored(ctx, c, p, len(args) > 0)
			if err != nil {
				return err
			}
			rows = append(rows, list...)
		}
		switch {
		case e.json:
			return e.document(rows)
		case len(rows) == 0:
			e.say("nothing is ignored")
			return nil
		}
		t := e.newTable()
		for _, r := range rows {
			t.row(r.Folder+":"+r.shown(), r.why())
		}
		return t.flush()
	})
}

// askIgnored asks about one place: about itself, if it was named and does not
// hold what is asked for, else about what is below.
func askIgnored(ctx context.Context, c *agent.Client, p agent.Place, named bool) ([]ignoredRow, error) {
	ask := agent.IgnoredRequest{Name: p.Folder.Name, Paths: [][]byte{[]byte(p.Rel)}}
	if named && p.Rel != "" {
		list, err := c.Ignored(ctx, ask)
		if err != nil {
			return nil, err
		}
		if v := list[0]; v.Rule != "" || !v.Dir {
			return []ignoredRow{newIgnoredRow(p.Folder.Name, v)}, nil
		}
	}
	ask.Below = true
	list, err := c.Ignored(ctx, ask)
	var rows []ignoredRow
	for _, i := range list {
		rows = append(rows, newIgnoredRow(p.Folder.Name, i))
	}
	return rows, err
}

func (r ignoredRow) shown() string {
	if r.Dir && r.Path != "" {
		return r.Path + "/"
	}
	return r.Path
}

func (r ignoredRow) why() string {
	rule := fmt.Sprintf("%s: %s", r.Source, r.Rule)
	if r.Line > 0 {
		rule = fmt.Sprintf("%s:%d: %s", r.Source, r.Line, r.Rule)
	}
	switch {
	case r.Rule == "" && r.Tracked:
		return "is in the tree; no rule ignores it"
	case r.Rule == "":
		return "no rule ignores it"
	case r.Tracked:
		return "is in the tree, though against " + rule
	}
	return rule
}

// placesHere finds paths in folders of this machine; none: all those folders.
func placesHere(ctx context.Context, e *env, args []string) (places []agent.Place, err error) {
	err = e.withReader(ctx, func(r *agent.Reader) error {
		folders, err := r.Folders(ctx)
		if err != nil {
			return err
		}
		if len(args) == 0 {
			for _, f := range folders {
				if f.Path != "" {
					places = append(places, agent.Place{Folder: f})
				}
			}
			return nil
		}
		for _, arg := range args {
			p, err := folderOrPath(ctx, r, folders, arg)
			if err != nil {
				return err
			}
			if p.At != nil {
				return usage("%s is a path in the past", arg)
			}
			if p.Folder.Path == "" {
				return fmt.Errorf("the folder %s is not on this machine", p.Folder.Name)
			}
			places = append(places, p)
		}
		return nil
	})
	return places, err
}
