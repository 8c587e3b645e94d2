package main

import (
	"context"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

func newFoldersCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "folders",
		Short: "List the folders, here and in the repository",
		Example: `  syncfs folders
  syncfs folders --json | jq -r '.[].name'`,
		Args: exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error { return runFolders(ctx, e) }),
	}
	e.addJSON(cmd)
	return cmd
}

func runFolders(ctx context.Context, e *env) error {
	return e.withReader(ctx, func(r *agent.Reader) error {
		list, err := r.Folders(ctx)
		if err != nil {
			return err
		}
		if e.json {
			return e.document(append([]agent.FolderInfo{}, list...))
		}
		if len(list) == 0 {
			e.say("no folders yet: `syncfs add DIR` makes a directory one")
			return nil
		}
		t := e.newTable("NAME", "KIND", "WHERE", "NEWEST VERSION", "FILES", "SIZE")
		for _, f := range list {
			t.row(f.Name, f.Kind, where(f), newest(f, e.now()), f.Files, size(f.Bytes))
		}
		return t.flush()
	})
}

// where says where a folder is on this machine.
func where(f agent.FolderInfo) string {
	switch {
	case f.Path == "":
		return "(not here)"
	case f.Mounted:
		return f.Path
	case f.NoMount:
		return f.Path + " (watched)"
	}
	return f.Path + " (not mounted)"
}

func newest(f agent.FolderInfo, now time.Time) string {
	if f.Instant == "" {
		return "none yet"
	}
	return f.Instant + " (" + age(now.Sub(f.Time)) + ")"
}
