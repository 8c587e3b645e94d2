package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/internal/oplog"
)

func newReportCommand(e *env) *cobra.Command {
	since := config.Duration(7 * 24 * time.Hour)
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Tell how the backups of all machines went",
		Long: `Tell how the backups, restores and checks of all machines went: how many
succeeded and failed, how much was saved, the last operations, the newest
version of each folder, and what the repository takes. What a machine could not
tell, since the server was out of its reach, it tells with its next operation.
Synced folders have no record of each round: their versions are it.`,
		Example: `  syncfs report
  syncfs report --since 24h --json`,
		Args: exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error {
			return e.withReader(ctx, func(r *agent.Reader) error { return e.printReport(ctx, r, e.now().Add(-time.Duration(since))) })
		}),
	}
	cmd.Flags().Var(&since, "since", "look back this `time`")
	e.addJSON(cmd)
	return cmd
}

// lastShown is how many operations a report lists.
const lastShown = 10

// tally counts the operations of one kind.
type tally struct {
	Successful int   `json:"successful"`
	Partial    int   `json:"partial"`
	Failed     int   `json:"failed"`
	Bytes      int64 `json:"bytes"`
}

// report is `report --json`.
type report struct {
	Generated  string            `json:"generated"`
	Since      string            `json:"since"`
	Backups    tally             `json:"backups"`
	Rate       *float64          `json:"success_rate"` // percent of the backups; null where there were none
	Restores   tally             `json:"restores"`
	Checks     tally             `json:"checks"`
	Last       []oplog.Operation `json:"operations"`
	Machines   []machineReport   `json:"machines"`
	Folders    []folderReport    `json:"folders"`
	Storage    storageReport     `json:"storage"`
	Unreadable int               `json:"unreadable"` // records that are damaged
}

type machineReport struct {
	Host    string `json:"host"`
	Backups tally  `json:"backups"`
	Success string `json:"last_success,omitempty"` // of a backup
}

type folderReport struct {
	Name    string `json:"name"`
	Kind    string `json:"kind"`
	Instant string `json:"instant"`
	Files   int64  `json:"files"`
	Bytes   int64  `json:"bytes"`
}

type storageReport struct {
	Packs int64 `json:"packs"`
	Bytes int64 `json:"bytes"`
}

// add counts one operation; what a failed one has read is nowhere.
func (t *tally) add(op oplog.Operation) {
	switch op.Result {
	case oplog.Success:
		t.Successful++
	case oplog.Partial:
		t.Partial++
	default:
		t.Failed++
		return
	}
	t.Bytes += op.Bytes
}

func (t tally) total() int { return t.Successful + t.Partial + t.Failed }

// gather makes a report of what was recorded.
func gather(list []oplog.Operation) report {
	r := report{Last: []oplog.Operation{}, Machines: []machineReport{}}
	for _, op := range list {
		switch op.What {
		case oplog.Backup:
			r.Backups.add(op)
			r.machine(op)
		case oplog.Restore:
			r.Restores.add(op)
		case oplog.Check:
			r.Checks.add(op)
		}
	}
	if n := r.Backups.total(); n > 0 {
		rate := 100 * float64(r.Backups.Successful) / float64(n)
		r.Rate = &rate
	}
	r.Last = append(r.Last, list[max(0, len(list)-lastShown):]...)
	return r
}

// machine counts a backup of one machine.
func (r *report) machine(op oplog.Operation) {
	i := slices.IndexFunc(r.Machines, func(m machineReport) bool { return m.Host == op.Host })
	if i < 0 {
		i = len(r.Machines)
		r.Machines = append(r.Machines, machineReport{Host: op.Host})
	}
	m := &r.Machines[i]
	m.Backups.add(op)
	if op.Result == oplog.Success {
		m.Success = rfc3339(op.Time)
	}
}

// printReport tells how things went since a time.
func (e *env) printReport(ctx context.Context, r *agent.Reader, since time.Time) error {
	repo := r.Repository()
	dirs, err := e.dirs()
	if err != nil {
		return err
	}
	if err := oplog.Send(ctx, repo.Remote, agent.OperationsDir(dirs)); err != nil {
		e.detail("%v", err) // it may read and not write
	}
	list, damaged, err := oplog.Since(ctx, repo.Remote, repo.Keys, since)
	if err != nil {
		return err
	}
	rep := gather(list)
	rep.Generated, rep.Since, rep.Unreadable = rfc3339(e.now()), rfc3339(since), damaged
	folders, err := r.Folders(ctx)
	if err != nil {
		return err
	}
	rep.Folders = []folderReport{}
	for _, f := range folders {
		rep.Folders = append(rep.Folders, folderReport{Name: f.Name, Kind: f.Kind, Instant: f.Instant, Files: f.Files, Bytes: f.Bytes})
	}
	stored, err := r.Store().Stats(ctx)
	if err != nil {
		return err
	}
	rep.Storage = storageReport{Packs: stored.Packs, Bytes: stored.StoredBytes}
	if e.json {
		return e.document(rep)
	}
	return e.tellReport(rep, since, folders)
}

// tellReport prints a report for people.
func (e *env) tellReport(rep report, since time.Time, folders []agent.FolderInfo) error {
	line := func(format string, args ...any) { fmt.Fprintf(e.stdout, format+"\n", args...) }
	line("=== BACKUP SYSTEM REPORT ===")
	line("Generated: %s", e.shortTime(e.now()))
	line("Since:     %s", e.shortTime(since))
	line("============================\n\nStatistics:")
	line("- Successful backups: %d", rep.Backups.Successful)
	if rep.Backups.Partial > 0 {
		line("- Partial backups: %d (something could not be read)", rep.Backups.Partial)
	}
	line("- Failed backups: %d", rep.Backups.Failed)
	line("- Total data backed up: %.2f MB", float64(rep.Backups.Bytes)/(1<<20))
	if rep.Rate != nil {
		line("- Success rate: %.2f%%", *rep.Rate)
	}
	for _, other := range []struct {
		name string
		tally
	}{{"Restores", rep.Restores}, {"Checks", rep.Checks}} {
		if n := other.total(); n > 0 {
			line("- %s: %d, of them failed: %d", other.name, n, other.Failed+other.Partial)
		}
	}
	if err := e.tellOperations(rep); err != nil {
		return err
	}
	if len(folders) > 0 {
		line("\nNewest versions:")
		t := e.newTable()
		for _, f := range folders {
			newest := "none yet"
			if f.Instant != "" {
				newest = e.shortTime(f.Time) + " (" + age(e.now().Sub(f.Time)) + ")"
			}
			t.row(" "+f.Name, f.Kind, newest, count(f.Files, "file", "files"), size(f.Bytes))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	line("\nServer storage: %s in %s", size(rep.Storage.Bytes), count(rep.Storage.Packs, "pack", "packs"))
	if rep.Unreadable > 0 {
		e.note("%s of what was done could not be read", count(int64(rep.Unreadable), "record", "records"))
	}
	return nil
}

// tellOperations prints machines and the last operations.
func (e *env) tellOperations(rep report) error {
	if len(rep.Machines) > 0 {
		fmt.Fprintln(e.stdout, "\nMachines:")
		t := e.newTable()
		for _, m := range rep.Machines {
			last := "no success"
			if at, err := time.Parse(time.RFC3339, m.Success); err == nil {
				last = "last success " + e.shortTime(at)
			}
			t.row(" "+m.Host, fmt.Sprintf("%d successful, %d failed", m.Backups.Successful, m.Backups.Failed+m.Backups.Partial), last)
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	if len(rep.Last) == 0 {
		fmt.Fprintln(e.stdout, "\nNo operation was recorded.")
		return nil
	}
	fmt.Fprintf(e.stdout, "\nLast %s:\n", count(int64(len(rep.Last)), "operation", "operations"))
	t := e.newTable()
	for _, op := range rep.Last {
		what := op.Folder
		if what == "" {
			what = op.Path
		}
		text := fmt.Sprintf("%s, %s, %.1f s", count(op.Files, "file", "files"), size(op.Bytes), op.Seconds)
		if op.Error != "" {
			text, _, _ = strings.Cut(op.Error, "\n")
		}
		t.row(" "+e.shortTime(op.Time), op.Host, op.What, op.Result, what, text)
	}
	return t.flush()
}
