package syncer

import (
	"context"
	"errors"
	"fmt"

	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/versions"
)

// While deletions are held, the folder's tree and the line's differ on purpose:
// the line still has what was deleted here, and this disk still has what was
// deleted elsewhere. Everything that compares the two does so from one side:
// outward is the folder's tree as the line is to see it, inward is the line's
// tree as this disk is to hold it. All else - capture, merge, apply, base - is
// then as if nothing was held.

// view is a tree of the folder as the line is to see it.
type view struct {
	root  versions.Entry // with what is held
	bare  versions.Entry // without what was deleted here and is held
	holds holds          // of it, as they still hold
}

// outward turns the folder's tree disk to the line's side. tip is the newest
// snapshot's root. What no longer holds falls out: a path that was made again
// here, or edited by others, or deleted on both sides.
func (s *Syncer) outward(ctx context.Context, h holds, disk, tip versions.Entry) (view, error) {
	v := view{root: disk, bare: disk, holds: h}
	if h.empty() || disk.IsZero() || tip.IsZero() {
		return v, nil
	}
	var err error
	if v.holds.in.Held, err = h.in.Settle(ctx, s.o.Trees, disk, tip); err != nil {
		return v, fmt.Errorf("look at what is held: %w", err)
	}
	if v.bare, err = s.o.Trees.Apply(ctx, disk, v.holds.in.Without()); err != nil {
		return v, fmt.Errorf("look at what is held: %w", err)
	}
	if v.holds.out.Held, err = h.out.Settle(ctx, s.o.Trees, tip, v.bare); err != nil {
		return v, fmt.Errorf("look at what is held: %w", err)
	}
	if v.root, err = s.o.Trees.Apply(ctx, v.bare, v.holds.out.Over()); err != nil {
		return v, fmt.Errorf("look at what is held: %w", err)
	}
	return v, nil
}

// inward turns the line's tree head to this disk's side: what the folder, whose
// tree is disk, is to hold.
func (s *Syncer) inward(ctx context.Context, h holds, disk, head versions.Entry) (versions.Entry, holds, error) {
	if h.empty() {
		return head, h, nil
	}
	var err error
	if h.out.Held, err = h.out.Settle(ctx, s.o.Trees, head, disk); err != nil {
		return head, h, fmt.Errorf("look at what is held: %w", err)
	}
	if h.in.Held, err = h.in.Settle(ctx, s.o.Trees, disk, head); err != nil {
		return head, h, fmt.Errorf("look at what is held: %w", err)
	}
	to, err := s.o.Trees.Apply(ctx, head, append(h.out.Without(), h.in.Over()...))
	if err != nil {
		return head, h, fmt.Errorf("look at what is held: %w", err)
	}
	return to, h, nil
}

// holdOut decides whether what the view lacks of tip goes to the line: removed
// is how many entries that are at most. When it is too much for the last ten
// minutes, all that was deleted here in them is held, and what of it went out
// before that was seen comes back into the line. free tells what does not count:
// the user has let it go, or it was untracked.
func (s *Syncer) holdOut(ctx context.Context, v view, tip versions.Entry, removed int64, free func(path string) bool) (view, error) {
	now := s.o.Now()
	this := reconcile.Round{At: now, Before: tip, After: v.root, Removed: removed}
	rounds := append(s.rounds.Until(now), this)
	j, err := rounds.Judge(ctx, s.o.Trees, v.bare, free)
	if errors.Is(err, versions.ErrCorrupt) && len(rounds) > 1 {
		// A tree of the last minutes is not to be had any more. That must not
		// keep everything since from being taken.
		s.o.Logger.Warn("what was deleted before is not counted", "err", err)
		rounds = reconcile.Rounds{this}
		j, err = rounds.Judge(ctx, s.o.Trees, v.bare, free)
	}
	if err != nil {
		// In doubt nothing is deleted elsewhere: it is looked at again.
		return v, fmt.Errorf("count what was deleted: %w", err)
	}
	// The rounds outlive a crash, so the trees that they name must.
	if err := s.o.Store.Flush(ctx); err != nil {
		return v, err
	}
	if err := s.writeRounds(rounds); err != nil {
		return v, err
	}
	s.o.Hook("counted")
	if !j.Hold {
		return v, nil
	}
	lost := reconcile.NewHeld(j.Items)
	had, err := s.o.Trees.Apply(ctx, j.Most, lost.Over())
	if err == nil {
		lost, err = lost.Settle(ctx, s.o.Trees, had, v.bare)
	}
	if err != nil {
		return v, fmt.Errorf("hold what was deleted: %w", err)
	}
	if lost.Empty() {
		return v, nil // a file takes the place of all of it
	}
	out, fresh := &v.holds.out, v.holds.out.Empty()
	if fresh {
		out.since, out.from = now, s.o.Host
	}
	out.most = max(out.most, j.Most.Count)
	out.Held = out.With(lost.Items())
	if v.root, err = s.o.Trees.Apply(ctx, v.bare, out.Over()); err != nil {
		return v, fmt.Errorf("hold what was deleted: %w", err)
	}
	if out.Held, err = out.Settle(ctx, s.o.Trees, v.root, v.bare); err != nil {
		return v, fmt.Errorf("hold what was deleted: %w", err)
	}
	if err := s.setHolds(v.holds); err != nil {
		return v, err
	}
	if fresh {
		s.o.Note(Operation{What: "hold", Text: fmt.Sprintf("%d of %d files were deleted here and are kept everywhere else: %s",
			out.Files(), out.most, heldText(out.Held))})
	}
	return v, nil
}

// holdIn decides whether what the head lacks is deleted here: a step that takes
// too much away is made without that. to is what the folder, whose tree is disk,
// is to hold; p leads there.
func (s *Syncer) holdIn(ctx context.Context, p *plan, h holds, disk, to versions.Entry, from string) (versions.Entry, holds, bool, error) {
	gone := int64(0)
	for _, list := range [][]versions.Change{p.gone, p.giveWay} {
		for _, c := range list {
			if c.Old.Kind != versions.Dir {
				gone++
			}
		}
	}
	if !reconcile.TooMany(gone, disk.Count) {
		return to, h, false, nil
	}
	untracked, err := s.untrackedSince(s.baseInstant())
	if err != nil {
		return to, h, false, err
	}
	lost, err := reconcile.FindLost(ctx, s.o.Trees, disk, to, func(path string) bool { return !within(untracked, path) })
	if err != nil {
		return to, h, false, fmt.Errorf("count what is deleted: %w", err)
	}
	if !reconcile.TooMany(lost.Files, disk.Count) {
		return to, h, false, nil
	}
	fresh := reconcile.NewHeld(lost.Items)
	if fresh, err = fresh.Settle(ctx, s.o.Trees, disk, to); err != nil {
		return to, h, false, fmt.Errorf("hold what is deleted: %w", err)
	}
	if fresh.Empty() {
		return to, h, false, nil // a file takes the place of all of it
	}
	before := to
	if to, err = s.o.Trees.Apply(ctx, to, fresh.Over()); err != nil {
		return before, h, false, fmt.Errorf("hold what is deleted: %w", err)
	}
	if h.in.Empty() {
		h.in.since, h.in.from = s.o.Now(), from
	}
	h.in.most = max(h.in.most, disk.Count)
	h.in.Held = h.in.With(fresh.Items())
	return to, h, true, nil
}

// withFresh is a tree that an apply has reached with what it has begun to hold:
// until the base has the head, that stands here like all that is left.
func (s *Syncer) withFresh(ctx context.Context, reached versions.Entry, h holds, disk, head versions.Entry) (versions.Entry, error) {
	in, err := h.in.Settle(ctx, s.o.Trees, disk, head)
	if err != nil {
		return versions.Entry{}, err
	}
	known := s.held().in
	var edits []versions.Edit
	for _, e := range in.Over() {
		if !known.Has(e.Path) {
			edits = append(edits, e)
		}
	}
	return s.o.Trees.Apply(ctx, reached, edits)
}

func (s *Syncer) baseInstant() versions.Instant {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.base.Instant
}
