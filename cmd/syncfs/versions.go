package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
)

// versionRow is one line of `versions --json`.
type versionRow struct {
	Instant string    `json:"instant"`
	Time    time.Time `json:"time"`
	Size    int64     `json:"size"`
	Host    string    `json:"host"`
	User    string    `json:"user"`
	Change  string    `json:"change"`
}

func newVersionsCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "versions PATH",
		Short: "List the instants at which a file or directory changed",
		Long: `List the instants at which a file or directory changed, the oldest first, with
its size then and who changed it. The first column is what other commands take
as TIME, and what the directory is called in .versions/.

PATH is in a folder of this machine, or NAME:PATH for any folder of the
repository. It need not exist any more.`,
		Example: `  syncfs versions report.docx
  syncfs versions docs:letters --json`,
		Args: exactArgs("PATH"),
		RunE: runE(func(ctx context.Context, args []string) error { return runVersions(ctx, e, args[0]) }),
	}
	e.addJSON(cmd)
	return cmd
}

func runVersions(ctx context.Context, e *env, arg string) error {
	return e.withReader(ctx, func(r *agent.Reader) error {
		place, err := locate(ctx, r, arg)
		if err != nil {
			return err
		}
		list, err := r.FileVersions(ctx, place)
		if errors.Is(err, fs.ErrNotExist) {
			return hinted(fmt.Errorf("%s: no version of it is known", arg), "what changed in the last seconds has a version after `syncfs flush`")
		}
		if err != nil {
			return err
		}
		rows := make([]versionRow, 0, len(list))
		for _, v := range list {
			rows = append(rows, versionRow{
				Instant: v.Instant.String(), Time: v.Time.UTC(), Size: v.Size,
				Host: v.Host, User: v.User, Change: string(v.Change),
			})
		}
		if e.json {
			return e.document(rows)
		}
		t := e.newTable("INSTANT", "LOCAL TIME", "SIZE", "CHANGE", "BY")
		for _, v := range rows {
			t.row(v.Instant, v.Time.In(e.loc).Format("2006-01-02 15:04:05"), size(v.Size), v.Change, by(v.User, v.Host))
		}
		return t.flush()
	})
}

// by says who changed something.
func by(user, host string) string {
	if user == "" {
		return host
	}
	return user + "@" + host
}
