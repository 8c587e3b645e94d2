package syncer

import (
	"context"
	"errors"
	"fmt"
	"syscall"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/versions"
)

// capture takes what changed into a snapshot at the end of the queue, durable
// on this machine. made is false when the tree is as it was.
func (s *Syncer) capture(ctx context.Context, o folder.BuildOptions) (made bool, err error) {
	s.tree.Lock()
	defer s.tree.Unlock()
	made, err = s.captureLocked(ctx, o)
	s.mu.Lock()
	s.status.buildErr, s.status.full = err, isFull(err)
	s.mu.Unlock()
	return made, err
}

// captureLocked is capture with the tree's lock held.
func (s *Syncer) captureLocked(ctx context.Context, o folder.BuildOptions) (bool, error) {
	return s.captureWith(ctx, o, word{})
}

// word is what the user has decided about deletions that are held.
type word struct {
	letGo   bool // those made here go to the line
	keep    bool // those made elsewhere are undone in the line
	nothing bool // nothing of this capture is counted: the user was asked
}

// captureWith is captureLocked after the user's word.
func (s *Syncer) captureWith(ctx context.Context, o folder.BuildOptions, w word) (bool, error) {
	s.mu.Lock()
	tipID, last, tipRoot := s.tip()
	epoch := s.epoch // as it is now: what the build relies on is looked up from here on
	s.mu.Unlock()

	before, err := s.recordedRoot()
	if err != nil {
		return false, err
	}
	o.Was = s.was(ctx, tipRoot)
	o.Progress = func(files, bytes int64) { s.activity(Activity{Stage: "read", Files: files, Bytes: bytes}) }
	defer s.activity(Activity{})
	p := &slice{s: s}
	if tipRoot.IsZero() || versions.Equal(before, tipRoot) {
		o.Enough = p.enough // nothing that the tip has can be missing from the records
	}
	stop := s.uploadMeanwhile(ctx, &p.sent)
	built, err := s.o.Disk.Build(ctx, s.o.Trees, s.o.Contents, o)
	stop()
	if err != nil {
		return false, fmt.Errorf("take a snapshot: %w", err)
	}
	s.o.Hook("built")
	partial := built != nil && built.Partial
	s.mu.Lock()
	s.status.partial = partial
	s.mu.Unlock()
	root := before
	if built != nil {
		root = built.Root
	}
	s.mu.Lock()
	untracking := s.untracking
	s.mu.Unlock()
	h := s.held()
	leaving, letGo := setOf(untracking), reconcile.Held{}
	if w.letGo {
		h.out, letGo = heldSide{}, h.out.Held
	}
	free := func(path string) bool { return letGo.Has(path) || within(leaving, path) }
	if w.keep {
		h.in = heldSide{}
	}
	v, err := s.outward(ctx, h, root, tipRoot)
	if err != nil {
		return false, err
	}
	snap := &versions.Snapshot{
		Folder:  s.o.ID,
		Instant: versions.NextInstant(s.o.Now(), last),
		Host:    s.o.Host, User: s.o.User, Device: s.o.Device, Kind: s.o.Kind,
	}
	if partial {
		snap.Tags = []string{TagPartial}
	}
	if !tipID.IsZero() {
		snap.Parents = []chunk.ID{tipID}
	}
	known := built
	if !versions.Equal(before, tipRoot) || len(untracking) > 0 {
		known = nil // it tells of another difference
	}
	mine, err := s.describe(ctx, snap, v.root, tipRoot, known)
	if err != nil {
		return false, err
	}
	if mine && snap.Removed > 0 && !w.nothing && s.isAttached() {
		if v, err = s.holdOut(ctx, v, tipRoot, snap.Removed, free); err != nil {
			return false, err
		}
		if !versions.Equal(v.root, snap.Root) {
			mine, err = s.describe(ctx, snap, v.root, tipRoot, nil)
		}
	}
	if mine && err == nil {
		snap.Untracked, err = s.absentFrom(ctx, v.root, untracking)
	}
	switch {
	case err != nil:
		return false, err
	case mine:
		err = s.enqueue(ctx, snap, built, epoch)
	case built != nil:
		err = s.record(ctx, built)
	}
	if err == nil && len(untracking) > 0 { // a snapshot names them
		err = s.setUntracking(nil)
	}
	if err == nil && (w.letGo || w.nothing) {
		err = s.writeRounds(nil) // they are decided, and count no more
	}
	if err == nil {
		err = s.setHolds(v.holds)
	}
	return mine, err
}

// describe makes root the snapshot's and says in it how that differs from the
// tip, which is worth a snapshot (mine) or not. built, if given, knows it of its
// own root.
func (s *Syncer) describe(ctx context.Context, snap *versions.Snapshot, root, tip versions.Entry, built *folder.Built) (mine bool, err error) {
	snap.Root = root
	if mine, err = s.mine(ctx, root, tip); err != nil || !mine {
		return false, err
	}
	known := built != nil && versions.Equal(root, built.Root)
	if known && !built.Inexact {
		tell(built, snap)
		return true, nil
	}
	if err := s.compare(ctx, tip, snap); err != nil {
		if !known || ctx.Err() != nil {
			return false, err
		}
		// Listings of what is not here cannot be read now: what happened below
		// is told less exactly, and nothing waits for it.
		tell(built, snap)
	}
	return true, nil
}

// tell fills in what a build has counted.
func tell(built *folder.Built, snap *versions.Snapshot) {
	snap.Added, snap.Changed, snap.Removed = built.Added, built.Changed, built.Removed
	snap.Dirs = built.Dirs
}

func (s *Syncer) isAttached() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.attached
}

// mine tells whether root holds anything that is worth a snapshot: it differs
// from the tip, and not only by what an unfinished apply has put there.
func (s *Syncer) mine(ctx context.Context, root, tip versions.Entry) (bool, error) {
	s.mu.Lock()
	mix, mixed := s.mixtureLocked()
	mixed = mixed && len(s.queue.entries) == 0
	s.mu.Unlock()
	remotes := []versions.Entry(nil)
	if mixed {
		tip, remotes = mix.from, append(remotes, mix.to)
	}
	switch {
	case root.IsZero(), versions.Equal(root, tip):
		return false, nil
	case tip.IsZero() && !mixed:
		return true, nil
	}
	mine, err := s.ours(ctx, tip, root, remotes...)
	if offline(err) { // what it is compared with is not here: a snapshot too many says no wrong
		return true, nil
	}
	return mine, err
}

// record makes built what later builds compare with, once its chunks are
// durable.
func (s *Syncer) record(ctx context.Context, built *folder.Built) error {
	if err := s.o.Store.Flush(ctx); err != nil {
		return err
	}
	return s.o.Disk.Record(built)
}

// enqueue makes a snapshot durable and visible here. built is nil when the
// folder's records say the same already.
func (s *Syncer) enqueue(ctx context.Context, snap *versions.Snapshot, built *folder.Built, epoch uint64) error {
	dirs := snap.Dirs
	if err := snap.StoreDirs(ctx, s.o.Store); err != nil {
		return err
	}
	if err := s.o.Store.Flush(ctx); err != nil {
		return err
	}
	s.o.Hook("flushed")
	packs, _ := s.o.Store.Pending()
	s.mu.Lock()
	e, err := s.queue.put(snap, packs, epoch)
	if err == nil {
		s.o.Packs.add(packs)
	}
	s.mu.Unlock()
	if err != nil {
		return fmt.Errorf("queue a snapshot: %w", err)
	}
	s.o.Hook("queued")
	if built != nil {
		if err := s.o.Disk.Record(built); err != nil {
			return err
		}
	}
	s.o.Hook("recorded")
	s.remember(ctx, meta.Snapshot{ID: e.id, Record: snap}, dirs)
	s.o.Note(Operation{What: "snapshot", Instant: snap.Instant, Text: fmt.Sprintf("+%d ~%d -%d", snap.Added, snap.Changed, snap.Removed)})
	s.progressed()
	kick(s.sync)
	return nil
}

// recordedRoot is the root as the folder's records have it; zero when they have
// none.
func (s *Syncer) recordedRoot() (versions.Entry, error) {
	e, _, err := s.o.Disk.Recorded("")
	if missing(err) {
		return versions.Entry{}, nil
	}
	return e, err
}

// compare fills in what changed between the tree old and snap's, from the trees
// themselves: the folder's records are not those of old.
func (s *Syncer) compare(ctx context.Context, old versions.Entry, snap *versions.Snapshot) error {
	return Compare(ctx, s.o.Trees, old, snap)
}

// Compare fills in what changed between the tree old and snap's; the root itself
// is not counted.
func Compare(ctx context.Context, trees *versions.Trees, old versions.Entry, snap *versions.Snapshot) error {
	snap.Added, snap.Changed, snap.Removed = 0, 0, 0
	err := trees.Diff(ctx, old, snap.Root, func(c versions.Change) error {
		switch {
		case c.Path == "":
		case c.Old == nil:
			snap.Added++
		case c.New == nil:
			snap.Removed++
		default:
			snap.Changed++
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("compare with the last snapshot: %w", err)
	}
	dirs := dirChanges{}
	if err := changedDirs(ctx, trees, old, snap.Root, "", dirs); err != nil {
		return fmt.Errorf("compare with the last snapshot: %w", err)
	}
	snap.Dirs = dirs.sorted()
	return nil
}

// isFull tells whether this disk or the spool's bound is the reason.
func isFull(err error) bool {
	return errors.Is(err, store.ErrSpoolFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}
