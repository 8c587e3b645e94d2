package syncer

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/versions"
)

// Conditions of the user's word that a caller may branch on.
var (
	// ErrNothingHeld says that no deletion waits for the user's word.
	ErrNothingHeld = errors.New("no deletions are held")
	// ErrStopping says that the folder is being unmounted: nothing is changed in
	// it any more.
	ErrStopping = errors.New("the folder is being unmounted")
)

// Hold is what is told of deletions that wait for the user's word.
type Hold struct {
	Here     bool  // deleted here; else elsewhere
	Files    int64 // held
	Most     int64 // files that there were
	Since    time.Time
	From     string // host that deleted them
	Examples []string
}

// Decided is what became of what was held.
type Decided struct {
	Here, Elsewhere int64    // files that were held of each
	Left            []string // what could not be changed now: in use, or changed here
}

// examplesTold is how many paths a Hold names.
const examplesTold = 5

// holdsLocked lists what is held; with mu held.
func (s *Syncer) holdsLocked() (list []Hold) {
	for _, side := range []heldSide{s.holds.out, s.holds.in} {
		if side.Empty() {
			continue
		}
		list = append(list, Hold{
			Here: len(list) == 0 && !s.holds.out.Empty(), Files: side.Files(), Most: side.most,
			Since: side.since, From: side.from, Examples: side.Examples(examplesTold),
		})
	}
	return list
}

// Confirm lets what is held be deleted: what was deleted here, in the line; what
// was deleted elsewhere, here. What was displaced by that is in the versions.
func (s *Syncer) Confirm(ctx context.Context) (Decided, error) {
	return s.decideHeld(ctx, "confirm", func(h holds) ([]string, error) {
		if !h.out.Empty() {
			if _, err := s.captureWith(ctx, folder.BuildOptions{}, word{letGo: true}); err != nil {
				return nil, err
			}
		}
		if h.in.Empty() {
			return nil, nil
		}
		return s.adjust(ctx, func(v view) []versions.Edit { return v.holds.in.Without() })
	})
}

// Undo takes back what is held: what was deleted here comes back from the line,
// what was deleted elsewhere goes back into it.
func (s *Syncer) Undo(ctx context.Context) (Decided, error) {
	return s.decideHeld(ctx, "undo", func(h holds) (left []string, err error) {
		if !h.out.Empty() {
			left, err = s.adjust(ctx, func(v view) []versions.Edit { return v.holds.out.Over() })
		}
		if err == nil && !h.in.Empty() {
			_, err = s.captureWith(ctx, folder.BuildOptions{}, word{keep: true})
		}
		return left, err
	})
}

func (s *Syncer) decideHeld(ctx context.Context, what string, do func(h holds) ([]string, error)) (Decided, error) {
	if s.frozen.Load() {
		return Decided{}, ErrStopping
	}
	s.tree.Lock()
	defer s.tree.Unlock()
	h := s.held()
	if h.empty() {
		return Decided{}, ErrNothingHeld
	}
	left, err := do(h)
	kick(s.build)
	kick(s.sync)
	if err != nil {
		return Decided{}, fmt.Errorf("%s: %w", what, err)
	}
	d := Decided{Here: h.out.Files(), Elsewhere: h.in.Files(), Left: left}
	s.o.Note(Operation{What: what, Text: fmt.Sprintf("%d files that were deleted here, %d that were deleted elsewhere", d.Here, d.Elsewhere)})
	return d, nil
}

// adjust changes the folder alone, by what edits says of it: the line is as it
// was, so that nothing of this is a change of ours. What is held afterwards is
// what could not be changed.
func (s *Syncer) adjust(ctx context.Context, edits func(v view) []versions.Edit) (left []string, err error) {
	s.mu.Lock()
	_, at, _ := s.tip()
	s.mu.Unlock()
	for try := range adjustTries {
		v, local, err := s.lookOut(ctx)
		if err != nil {
			return nil, err
		}
		if err := s.setHolds(v.holds); err != nil {
			return nil, err
		}
		to, err := s.o.Trees.Apply(ctx, local, edits(v))
		if err != nil {
			return nil, err
		}
		p, err := s.makePlan(ctx, local, to)
		if err != nil {
			return nil, err
		}
		if left, err = s.apply(ctx, p, to, at); err != nil {
			return nil, err
		}
		if p.empty() {
			return nil, nil
		}
		// What has just been told of by the watch is free in a moment.
		if len(left) > 0 {
			if err := sleep(ctx, time.Duration(try)*adjustPause); err != nil {
				return nil, err
			}
		}
	}
	return left, nil
}

// Attempts to change what is in use.
const (
	adjustTries = 12
	adjustPause = 30 * time.Millisecond
)

// lookOut looks at the folder, and at it from the line's side.
func (s *Syncer) lookOut(ctx context.Context) (v view, local versions.Entry, err error) {
	local, built, err := s.look(ctx, folder.BuildOptions{})
	if err != nil {
		return v, local, err
	}
	if built != nil {
		if err := s.record(ctx, built); err != nil {
			return v, local, err
		}
	}
	s.mu.Lock()
	_, _, tip := s.tip()
	s.mu.Unlock()
	v, err = s.outward(ctx, s.held(), local, tip)
	return v, local, err
}

// heldText tells of what is held, for the log.
func heldText(h reconcile.Held) string {
	list := h.Examples(3)
	text := ""
	for i, path := range list {
		if i > 0 {
			text += ", "
		}
		text += path
	}
	if int64(len(list)) < h.Files() {
		text += ", …"
	}
	return text
}
