package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/upkeep"
)

// statsReport is `stats --json`.
type statsReport struct {
	Repository  string `json:"repository"`
	URL         string `json:"url"`
	Packs       int64  `json:"packs"`
	Chunks      int64  `json:"chunks"`
	PlainBytes  int64  `json:"plain_bytes"`
	StoredBytes int64  `json:"stored_bytes"`
	// Restored is every version written out, plain what of that is different,
	// stored what that takes compressed and sealed. Absent without the remote.
	RestoredBytes int64         `json:"restored_bytes,omitempty"`
	Versions      int64         `json:"versions,omitempty"`
	Months        []monthStats  `json:"months,omitempty"`
	SpoolBytes    int64         `json:"spool_bytes"`
	CacheBytes    int64         `json:"cache_bytes"`
	Folders       []folderStats `json:"folders"`
}

// monthStats is what came in a month and is still there.
type monthStats struct {
	Month    string `json:"month"`
	Versions int64  `json:"versions"`
	Stored   int64  `json:"stored_bytes"`
}

type folderStats struct {
	Name     string `json:"name"`
	Versions int    `json:"versions"`
	First    string `json:"first"`
	Newest   string `json:"newest"`
	Files    int64  `json:"files"`
	Bytes    int64  `json:"bytes"`
}

func newStatsCommand(e *env) *cobra.Command {
	cmd := &cobra.Command{
		Use:     "stats",
		Short:   "Tell how much the repository holds and takes",
		Example: `  syncfs stats --json`,
		Args:    exactArgs(),
		RunE:    runE(func(ctx context.Context, _ []string) error { return runStats(ctx, e) }),
	}
	e.addJSON(cmd)
	return cmd
}

func runStats(ctx context.Context, e *env) error {
	dirs, err := e.dirs()
	if err != nil {
		return err
	}
	setup, err := agent.Connected(dirs)
	if err != nil {
		return err
	}
	return e.withReader(ctx, func(r *agent.Reader) error {
		s, err := r.Store().Stats(ctx)
		if err != nil {
			return err
		}
		report := statsReport{
			Repository: setup.Repository, URL: setup.URL, Packs: s.Packs, Chunks: s.Chunks, PlainBytes: s.PlainBytes,
			StoredBytes: s.StoredBytes, SpoolBytes: s.SpoolBytes, CacheBytes: s.CacheBytes, Folders: []folderStats{},
		}
		measured, err := upkeep.Measure(ctx, r.Repository().Remote, r.Lines())
		if err != nil && !errors.Is(err, blob.ErrOffline) {
			return err
		}
		if err == nil {
			report.RestoredBytes, report.Versions = measured.Restored, measured.Versions
			for _, m := range measured.Months {
				report.Months = append(report.Months, monthStats(m))
			}
		}
		folders, err := r.Folders(ctx)
		if err != nil {
			return err
		}
		for _, f := range folders {
			line := folderStats{Name: f.Name, Files: f.Files, Bytes: f.Bytes, Newest: f.Instant}
			list, err := r.Snapshots(ctx, f)
			if err != nil && !errors.Is(err, blob.ErrOffline) {
				return err
			}
			if line.Versions = len(list); len(list) > 0 {
				line.First = list[0].Instant.String()
			}
			report.Folders = append(report.Folders, line)
		}
		if e.json {
			return e.document(report)
		}
		return e.printStats(report)
	})
}

func (e *env) printStats(s statsReport) error {
	t := e.newTable()
	t.row("repository", s.Repository)
	t.row("at", s.URL)
	t.row("stored", size(s.StoredBytes)+" in "+count(s.Packs, "pack", "packs"))
	t.row("holds", size(s.PlainBytes)+" in "+count(s.Chunks, "piece", "pieces"))
	if s.Versions > 0 {
		t.row("restored", size(s.RestoredBytes)+" in "+count(s.Versions, "version", "versions")+ratios(s))
	}
	t.row("here", size(s.SpoolBytes)+" to send, "+size(s.CacheBytes)+" cached")
	if err := t.flush(); err != nil || len(s.Folders) == 0 {
		return err
	}
	if len(s.Months) > 0 {
		e.say("")
		t = e.newTable("MONTH", "VERSIONS", "STORED")
		for _, m := range s.Months {
			t.row(m.Month, m.Versions, size(m.Stored))
		}
		if err := t.flush(); err != nil {
			return err
		}
	}
	e.say("")
	t = e.newTable("FOLDER", "VERSIONS", "FIRST", "NEWEST", "FILES", "SIZE")
	for _, f := range s.Folders {
		t.row(f.Name, f.Versions, f.First, f.Newest, f.Files, size(f.Bytes))
	}
	return t.flush()
}

// ratios says what deduplication and compression save.
func ratios(s statsReport) string {
	if s.PlainBytes == 0 || s.StoredBytes == 0 {
		return ""
	}
	return fmt.Sprintf(": deduplicated to 1/%.1f, compressed to 1/%.1f",
		float64(s.RestoredBytes)/float64(s.PlainBytes), float64(s.PlainBytes)/float64(s.StoredBytes))
}
