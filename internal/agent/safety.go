package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/versions"
)

// Hold is deletions that wait for the user's word.
type Hold struct {
	Here     bool      `json:"here"`  // deleted on this machine and kept elsewhere; else the other way round
	Files    int64     `json:"files"` // held
	Most     int64     `json:"most"`  // files that there were
	Since    time.Time `json:"since"`
	Host     string    `json:"host"` // that deleted them
	Examples []string  `json:"examples"`
}

// HeldRequest decides what is held of one folder.
type HeldRequest struct {
	Name string `json:"name"`
	Undo bool   `json:"undo,omitempty"` // else confirm
}

// HeldResult is what became of it.
type HeldResult struct {
	Here      int64    `json:"here"`      // files that had been deleted here
	Elsewhere int64    `json:"elsewhere"` // and elsewhere
	Left      []string `json:"left"`      // what is still held: in use, or changed just now
}

// RewindRequest brings a folder, or a path in it, back to how it was.
type RewindRequest struct {
	Name    string    `json:"name"`
	Path    []byte    `json:"path,omitempty"`    // within the folder, whose bytes need not be UTF-8
	Spelled string    `json:"spelled"`           // the time as the user gave it
	At      time.Time `json:"at"`                // the state that held then
	Instant string    `json:"instant,omitempty"` // or this version
	DryRun  bool      `json:"dry_run,omitempty"`
}

// RewindResult is what was changed, or would be.
type RewindResult struct {
	Instant string         `json:"instant"` // of the version that was brought back
	Changes []RewindChange `json:"changes"`
	Left    [][]byte       `json:"left"` // what could not be changed now
}

// RewindChange is one path.
type RewindChange struct {
	Path []byte `json:"path"`
	What string `json:"what"` // "restore": it was gone; "change": back to its state then; "delete": made since
	Kind byte   `json:"kind"` // versions.Kind
	Size int64  `json:"size"`
}

// Decide confirms or undoes the deletions that a folder holds;
// syncer.ErrNothingHeld where there are none.
func (c *Client) Decide(ctx context.Context, r HeldRequest) (out HeldResult, err error) {
	return out, c.post(ctx, "decide", r, &out, nil)
}

// Rewind brings a folder, or a path in it, back to how it was.
func (c *Client) Rewind(ctx context.Context, r RewindRequest) (out RewindResult, err error) {
	return out, c.post(ctx, "rewind", r, &out, nil)
}

func (a *Agent) decide(ctx context.Context, r HeldRequest) (HeldResult, error) {
	s, err := a.served(r.Name)
	if err != nil {
		return HeldResult{}, err
	}
	do := s.Confirm
	if r.Undo {
		do = s.Undo
	}
	d, err := do(ctx)
	return HeldResult{Here: d.Here, Elsewhere: d.Elsewhere, Left: append([]string{}, d.Left...)}, err
}

func (a *Agent) rewind(ctx context.Context, r RewindRequest) (RewindResult, error) {
	h, err := a.find(r.Name)
	if err != nil {
		return RewindResult{}, err
	}
	s, err := a.served(r.Name)
	if err != nil {
		return RewindResult{}, err
	}
	to, err := h.stateAt(r)
	if err != nil {
		return RewindResult{}, err
	}
	done, err := s.Rewind(ctx, to.Record, string(r.Path), r.DryRun)
	out := RewindResult{Instant: to.Record.Instant.String(), Changes: []RewindChange{}, Left: raws(done.Left)}
	for _, c := range done.Changes {
		one := RewindChange{Path: []byte(c.Path), What: "change"}
		e := c.New
		switch {
		case c.New == nil:
			e, one.What = c.Old, "delete"
		case c.Old == nil:
			one.What = "restore"
		}
		one.Kind, one.Size = byte(e.Kind), e.Size
		out.Changes = append(out.Changes, one)
	}
	return out, err
}

// stateAt is the snapshot whose state the folder had here; ErrNoInstant.
func (h *host) stateAt(r RewindRequest) (meta.Snapshot, error) {
	all, err := h.history().Snapshots()
	if err != nil {
		return meta.Snapshot{}, err
	}
	w := versions.When{At: r.At, Spelled: r.Spelled}
	if r.Instant != "" {
		if w.Exact, err = versions.ParseInstant(r.Instant); err != nil {
			return meta.Snapshot{}, err
		}
	} else {
		all = seenHere(all, h.a.repo.Setup.Device)
	}
	instants := make([]versions.Instant, len(all))
	for i, s := range all {
		instants[i] = s.Record.Instant
	}
	i, ok := w.Pick(instants, h.a.o.Now())
	if !ok {
		return meta.Snapshot{}, fmt.Errorf("%w: folder %s: %w", ErrNoInstant, h.folder.Name, w.Missing(instants, h.a.o.Now()))
	}
	return all[i], nil
}

// seenHere leaves out what other machines captured on their own and only later
// brought into the line: this folder was never so. Such a snapshot has the
// number of the merge that brought it, which is later.
func seenHere(all []meta.Snapshot, device string) (list []meta.Snapshot) {
	newest := map[uint64]versions.Instant{}
	for _, s := range all { // ascending by instant
		newest[s.Number] = s.Record.Instant
	}
	for _, s := range all {
		if s.Number == 0 || s.Record.Device == device || newest[s.Number].Compare(s.Record.Instant) == 0 {
			list = append(list, s)
		}
	}
	return list
}

// toHolds translates the syncer's view.
func toHolds(list []syncer.Hold) (out []Hold) {
	for _, h := range list {
		out = append(out, Hold{
			Here: h.Here, Files: h.Files, Most: h.Most, Since: h.Since.UTC(), Host: h.From, Examples: append([]string{}, h.Examples...),
		})
	}
	return out
}

// IsBusy tells the error of what cannot be done just now.
func IsBusy(err error) bool { return errors.Is(err, ErrBusy) }

// NothingHeld tells the error of a folder that holds no deletions.
func NothingHeld(err error) bool { return errors.Is(err, syncer.ErrNothingHeld) }
