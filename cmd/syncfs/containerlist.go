package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/containerbackup"
	"github.com/syncfs/syncfs/internal/agent"
)

// containerRow is one backup in `container list --json`.
type containerRow struct {
	Number    int       `json:"number"`
	Project   string    `json:"project"`
	Instant   string    `json:"instant"`
	Time      time.Time `json:"time"`
	Name      string    `json:"name,omitempty"`
	Tags      []string  `json:"tags"`
	Size      int64     `json:"size"`
	New       int64     `json:"new"` // bytes that no earlier backup in the list has
	Type      string    `json:"type"`
	Databases []string  `json:"databases"`
	Warnings  int       `json:"warnings"`
	Restore   string    `json:"restore"`
}

func newContainerListCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list [PROJECT]",
		Short: "List backups of projects",
		Long: `List the backups of a project, or of all, the oldest first: when each was made,
its size, how much of that no earlier one has, its databases, and the command
that brings it back.`,
		Example: `  syncfs container list
  syncfs container list moodle --json`,
		Args: rangeArgs(1),
		RunE: runE(func(ctx context.Context, args []string) error { return runContainerList(ctx, e, args) }),
	}
	e.addJSON(cmd)
	return cmd
}

func runContainerList(ctx context.Context, e *env, args []string) error {
	return e.withReader(ctx, func(r *agent.Reader) error {
		list, err := r.Folders(ctx)
		if err != nil {
			return err
		}
		if len(args) > 0 {
			f, err := containerFolder(list, args[0])
			if err != nil {
				return err
			}
			list = []agent.FolderInfo{f}
		}
		rows := []containerRow{}
		for _, f := range list {
			if f.Kind != containerbackup.Kind {
				continue
			}
			more, err := containerRows(ctx, r, f, len(rows))
			if err != nil {
				return err
			}
			rows = append(rows, more...)
		}
		if e.json {
			return e.document(rows)
		}
		return e.printContainerRows(rows)
	})
}

func containerRows(ctx context.Context, r *agent.Reader, f agent.FolderInfo, before int) ([]containerRow, error) {
	list, err := r.Snapshots(ctx, f)
	if err != nil {
		return nil, err
	}
	counter := containerbackup.NewCounter(r.Trees(), r.Contents())
	var rows []containerRow
	for i, s := range list {
		info, err := containerbackup.ReadInfo(ctx, r.Trees(), r.Contents(), s.Root)
		if err != nil {
			return nil, fmt.Errorf("%s@%s: %w", f.Name, s.Instant, err)
		}
		fresh, err := counter.Add(ctx, s.Root)
		if err != nil {
			return nil, fmt.Errorf("%s@%s: %w", f.Name, s.Instant, err)
		}
		row := containerRow{
			Number: before + i + 1, Project: f.Name, Instant: s.Instant.String(), Time: s.Instant.Time(), Name: info.Name,
			Tags: append([]string{}, s.Tags...), Size: s.Root.Size, New: fresh, Type: info.Type, Databases: []string{},
			Warnings: len(info.Warnings), Restore: fmt.Sprintf("syncfs container restore %s@%s", f.Name, s.Instant),
		}
		for _, d := range info.Databases {
			row.Databases = append(row.Databases, databaseNames(d)...)
		}
		rows = append(rows, row)
	}
	return rows, nil
}

// databaseNames are the databases of one server, without what every server has.
func databaseNames(d containerbackup.SavedDatabase) []string {
	var names []string
	for _, one := range d.Dumps {
		if one.Database != "" && one.Database != "postgres" {
			names = append(names, one.Database+" ("+d.Kind+" "+d.Version+")")
		}
	}
	if names == nil {
		names = []string{d.Service + " (" + d.Kind + " " + d.Version + ")"}
	}
	return names
}

func (e *env) printContainerRows(rows []containerRow) error {
	var total, own int64
	for _, row := range rows {
		name := row.Project
		if row.Name != "" {
			name += "  " + row.Name
		}
		e.say("[%d] %s  %s", row.Number, row.Instant, clean(name))
		e.say("    Created:   %s", row.Time.In(e.loc).Format("2006-01-02 15:04:05"))
		e.say("    Size:      %s, %s of it in no earlier backup", size(row.Size), size(row.New))
		kind := row.Type
		if len(row.Tags) > 0 {
			kind += ", tags " + strings.Join(row.Tags, ", ")
		}
		e.say("    Type:      %s", clean(kind))
		if len(row.Databases) > 0 {
			slices.Sort(row.Databases)
			e.say("    Databases: %s", clean(strings.Join(row.Databases, ", ")))
		}
		if row.Warnings > 0 {
			e.say("    Warnings:  %d (`syncfs container show %s@%s`)", row.Warnings, row.Project, row.Instant)
		}
		e.say("    Restore:   %s", row.Restore)
		total += row.Size
		own += row.New
	}
	e.say("Total: %s, %s, %s stored once", count(int64(len(rows)), "backup", "backups"), size(total), size(own))
	return nil
}
