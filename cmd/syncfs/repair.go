package main

import (
	"context"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/oplog"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/internal/upkeep"
)

type repairOptions struct {
	readData     bool
	forgetBroken []string
}

func newRepairCommand(e *env) *cobra.Command {
	var o repairOptions
	cmd := &cobra.Command{
		Use:   "repair",
		Short: "Mend a repository of which something was damaged or lost",
		Long: `Make the index anew from what is stored, take damaged packs out of use, and send
again what is lost but still on this machine: in its files, its caches or what
waits to be sent. Called on each machine that has the files, it mends what any
of them still has. With --read-data every byte is read to find damage.

What is lost for good is named. --forget-broken FOLDER@TIME forgets a version of
which something is lost, and --forget-broken all every such version; the newest
of a folder stays in any case: delete or replace its lost files.`,
		Example: `  syncfs repair --read-data
  syncfs repair --forget-broken docs@20250131_201530`,
		Args: exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error {
			return e.withReader(ctx, func(r *agent.Reader) error { return e.repair(ctx, r, o) })
		}),
	}
	cmd.Flags().BoolVar(&o.readData, "read-data", false, "read every byte to find damage")
	cmd.Flags().StringArrayVar(&o.forgetBroken, "forget-broken", nil, "forget this broken `VERSION` (FOLDER@TIME, or all); may be given again")
	e.addJSON(cmd)
	return cmd
}

// repairReport is the last line of `repair --json`.
type repairReport struct {
	MessageType string `json:"message_type"`
	Healed      int    `json:"healed_chunks"`
	Lost        int    `json:"lost_chunks"`
	Forgotten   int    `json:"forgotten_versions"`
	Broken      int    `json:"broken_paths"`
}

func (e *env) repair(ctx context.Context, r *agent.Reader, o repairOptions) (err error) {
	begun := e.now()
	defer func() { e.record(ctx, r.Repository(), oplog.Operation{What: oplog.Repair}, begun, err) }()
	bar := e.newProgress()
	defer bar.done()
	err = r.Store().RebuildIndex(ctx, func(done, total int64) { bar.count("making the index anew", done, total) },
		func(p store.Problem) { e.detail("%s: %v", p.Blob, p.Err) })
	if err != nil {
		return err
	}
	found, err := e.findBroken(ctx, r, o.readData)
	if err != nil {
		return err
	}
	report := repairReport{MessageType: "summary"}
	if lost := lostChunks(found.broken); len(lost) > 0 || len(found.packs) > 0 {
		if err := r.TakeOutOfUse(ctx, found.packs); err != nil {
			return err
		}
		left, err := r.Heal(ctx, lost, found.broken)
		if err != nil {
			return err
		}
		report.Healed = len(lost) - left
		if found, err = e.findBroken(ctx, r, false); err != nil {
			return err
		}
	}
	gone, err := e.forgetBroken(ctx, r, o.forgetBroken, found.broken)
	if err != nil {
		return err
	}
	report.Forgotten = len(gone)
	for _, b := range found.broken {
		if _, forgotten := gone[b.Version.SnapshotID]; forgotten {
			continue
		}
		report.Broken++
		m, where := brokenText(b)
		found.tell(m, where, b.Err)
	}
	report.Lost = len(lostChunks(found.broken))
	if e.json {
		e.jsonLine(e.stdout, report)
	} else {
		e.say("%s sent again, %s forgotten", count(int64(report.Healed), "lost piece", "lost pieces"), count(int64(report.Forgotten), "version", "versions"))
	}
	if report.Broken > 0 {
		return hinted(coded(exitDamaged, fmt.Errorf("something is lost of %s", count(int64(report.Broken), "path", "paths"))),
			"`syncfs repair` on another machine may still have it; --forget-broken forgets broken versions")
	}
	return nil
}

// findBroken looks at everything, and says nothing of what it finds.
func (e *env) findBroken(ctx context.Context, r *agent.Reader, readData bool) (*checker, error) {
	c := &checker{e: e, r: r, bar: e.newProgress(), silent: true}
	defer c.bar.done()
	part, err := checkOptions{readData: readData}.part()
	if err != nil {
		return nil, err
	}
	return c, c.run(ctx, part)
}

// lostChunks are all that are lost, each once.
func lostChunks(list []upkeep.Broken) (ids []chunk.ID) {
	seen := map[chunk.ID]bool{}
	for _, b := range list {
		for _, id := range b.Lost {
			if !seen[id] {
				seen[id] = true
				ids = append(ids, id)
			}
		}
	}
	return ids
}

// forgetBroken forgets those of the broken versions that the user has named.
func (e *env) forgetBroken(ctx context.Context, r *agent.Reader, names []string, broken []upkeep.Broken) (map[chunk.ID]struct{}, error) {
	gone := map[chunk.ID]struct{}{}
	byFolder := map[string]upkeep.Plan{}
	for _, name := range names {
		found := false
		for _, b := range broken {
			if b.Version.Snapshot == nil || name != "all" && name != b.Folder.Name+"@"+b.Version.Instant.String() {
				continue
			}
			found = true
			if b.Newest() {
				if name == "all" {
					continue
				}
				return nil, fmt.Errorf("%s: %w", name, line.ErrNewest)
			}
			p := byFolder[b.Folder.ID]
			p.Folder = b.Folder
			if _, planned := gone[b.Version.SnapshotID]; !planned {
				p.All = append(p.All, upkeep.Decision{ID: b.Version.SnapshotID})
			}
			byFolder[b.Folder.ID] = p
			gone[b.Version.SnapshotID] = struct{}{}
		}
		if !found && name != "all" {
			return nil, hinted(fmt.Errorf("%s is no broken version", name), "as `syncfs check` names them: FOLDER@TIME")
		}
	}
	for _, p := range byFolder {
		if err := r.Forget(ctx, p); err != nil {
			return nil, err
		}
	}
	return gone, nil
}

// brokenText names a broken path for people and for programs.
func brokenText(b upkeep.Broken) (message, string) {
	m, where := message{"folder": b.Folder.Name}, b.Folder.Name
	if b.Version.Snapshot != nil {
		m["instant"], m["path"] = b.Version.Instant.String(), strings.TrimPrefix(b.Path, "/")
		where = fmt.Sprintf("%s at %s: %s", b.Folder.Name, b.Version.Instant, b.Path)
	}
	m["object"] = where
	return m, where
}
