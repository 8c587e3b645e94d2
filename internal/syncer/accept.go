package syncer

import (
	"context"
	"errors"
	"fmt"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/versions"
)

// Acceptance is what it means to take a remote that is not as this machine left
// it.
type Acceptance struct {
	Why     error            // what is wrong with it
	Gone    bool             // the folder is not there at all
	Instant versions.Instant // newest version that it and this machine have in common; zero: none
	Send    int64            // files of this machine that it has not, or has otherwise
	Arrive  int64            // files that it has and this machine has not, or has otherwise
	Copies  int64            // conflict copies that this makes
}

// Accept takes the remote as it is, though its line is not the one that this
// machine has known: what it lacks is sent again, and the two trees are merged
// as at a first attach, so that nothing is deleted on either side. Where both
// have a version in common, what only one side has changed since makes no
// conflict. ErrNotReplaced where there is nothing to accept. dry only tells.
func (s *Syncer) Accept(ctx context.Context, dry bool) (Acceptance, error) {
	if s.frozen.Load() {
		return Acceptance{}, ErrStopping
	}
	s.tree.Lock()
	defer s.tree.Unlock()
	a, head, err := s.examine(ctx)
	if err != nil {
		return a, err
	}
	if err := s.o.Store.Refresh(ctx); err != nil {
		return a, fmt.Errorf("read the index: %w", err)
	}
	// Listings may have been on the remote alone: the folder's records have them.
	s.o.Disk.Relist()
	local, built, err := s.look(ctx, folder.BuildOptions{})
	if err != nil {
		return a, err
	}
	common, err := s.commonAncestor(ctx, head)
	if err != nil {
		return a, err
	}
	base, err := s.shared(ctx, common, local, head.Root)
	if err != nil {
		return a, err
	}
	if common != nil {
		a.Instant = common.Instant
	}
	if err := s.weigh(ctx, &a, base, local, head.Root); err != nil || dry {
		return a, err
	}
	if built != nil {
		if err := s.record(ctx, built); err != nil {
			return a, err
		}
	}
	if a.Gone {
		if head, err = s.o.Lines.Recreate(ctx, s.o.ID, s.o.Name, s.o.Kind); err != nil {
			return a, fmt.Errorf("make the folder again: %w", err)
		}
	}
	s.o.Store.Resend()
	if err := s.resend(ctx, local, base); err != nil {
		return a, err
	}
	if err := s.startAnew(ctx, head, common, base); err != nil {
		return a, err
	}
	s.o.Note(Operation{What: "accept", Text: fmt.Sprintf("the remote as it is (%v): %d files are sent again, %d come", a.Why, a.Send, a.Arrive)})
	kick(s.build)
	kick(s.sync)
	return a, nil
}

// examine finds out what is wrong with the remote.
func (s *Syncer) examine(ctx context.Context) (a Acceptance, head line.Folder, err error) {
	s.forgetHead()
	if head, err = s.currentHead(ctx); err == nil {
		if err = s.checkHead(head); err == nil {
			err = s.checkPast(ctx, head)
		}
	}
	switch {
	case err == nil:
		return a, head, ErrNotReplaced
	case !errors.Is(err, ErrReplaced):
		return a, head, err
	}
	if ierr := s.o.Identify(ctx); ierr != nil {
		return a, head, fmt.Errorf("this cannot be accepted: %w", ierr)
	}
	a.Why, a.Gone = err, errors.Is(err, errNoFolder)
	return a, head, nil
}

// commonAncestor is the newest snapshot of the remote's line that this machine
// knew before; nil where there is none, or its database was lost.
func (s *Syncer) commonAncestor(ctx context.Context, head line.Folder) (*line.Recorded, error) {
	if head.Snapshot.IsZero() {
		return nil, nil
	}
	var found *line.Recorded
	err := s.o.Lines.Records(ctx, s.o.ID, 0, true, func(r line.Recorded) error {
		m, err := s.o.Meta.SnapshotAt(r.Instant)
		if missing(err) || err == nil && m.ID != r.SnapshotID {
			return nil
		}
		if err != nil {
			return err
		}
		found = &r
		return errEnough
	})
	if err != nil && !errors.Is(err, errEnough) && !errors.Is(err, line.ErrDamaged) {
		return nil, err
	}
	return found, nil
}

// shared is the tree of common without what either side lacks now: merged with
// that as the base, nothing counts as deleted.
func (s *Syncer) shared(ctx context.Context, common *line.Recorded, sides ...versions.Entry) (versions.Entry, error) {
	if common == nil {
		return versions.Entry{}, nil
	}
	gone := map[string]bool{}
	for _, side := range sides {
		err := s.o.Trees.Diff(ctx, common.Root, side, func(c versions.Change) error {
			if c.New == nil && !within(gone, c.Path) {
				gone[c.Path] = true
			}
			return nil
		})
		if err != nil {
			return versions.Entry{}, fmt.Errorf("compare with version %s: %w", common.Instant, err)
		}
	}
	var edits []versions.Edit
	for path := range gone {
		if !within(gone, parentOf(path)) {
			edits = append(edits, versions.Edit{Path: path})
		}
	}
	return s.o.Trees.Apply(ctx, common.Root, edits)
}

// weigh counts what a merge would do.
func (s *Syncer) weigh(ctx context.Context, a *Acceptance, base, local, head versions.Entry) error {
	p, err := reconcile.Merge(ctx, s.o.Trees, base, local, head, reconcile.Options{
		Host: s.o.Host, Instant: versions.NextInstant(s.o.Now(), versions.Instant{}), Same: s.o.Contents.Same,
	})
	if err != nil {
		return err
	}
	a.Send, a.Arrive, a.Copies = filesOf(p.Commit), filesOf(p.Apply), int64(len(p.Conflicts))
	return nil
}

func filesOf(steps []reconcile.Step) (n int64) {
	for _, st := range steps {
		switch {
		case st.New == nil:
		case st.New.Kind != versions.Dir:
			n++
		case st.Whole:
			n += st.New.Count
		}
	}
	return n
}

// startAnew makes the state of this machine that of one which meets the line for
// the first time. What waits for the remote goes on waiting, and goes beside the
// line. Everything that it needs has been stored again: a crash leaves a remote
// that is still refused, or one that is accepted.
func (s *Syncer) startAnew(ctx context.Context, head line.Folder, common *line.Recorded, shared versions.Entry) error {
	if err := s.setHolds(holds{}); err != nil {
		return err
	}
	if err := s.writeRounds(nil); err != nil {
		return err
	}
	if err := s.o.Meta.DropHistory(); err != nil {
		return err
	}
	if err := s.done(); err != nil {
		return err
	}
	if err := s.rebase(head, common, shared); err != nil {
		return err
	}
	if _, err := s.captureWith(ctx, folder.BuildOptions{}, word{nothing: true}); err != nil {
		return err
	}
	s.rememberQueue(ctx)
	s.forgetHead()
	return nil
}

// rebase makes the common snapshot the base, or nothing.
func (s *Syncer) rebase(head line.Folder, common *line.Recorded, shared versions.Entry) error {
	if common != nil {
		return s.setBase(Base{
			Repository: s.o.Repository, Folder: s.o.ID, Number: common.Number, Epoch: head.Epoch,
			Snapshot: common.SnapshotID, Instant: common.Instant, Root: shared, Anew: true,
		})
	}
	s.baseMu.Lock()
	defer s.baseMu.Unlock()
	if err := atomicfile.Remove(basePath(s.o.StateDir)); err != nil {
		return fmt.Errorf("forget the base: %w", err)
	}
	s.mu.Lock()
	s.base, s.attached = Base{}, false
	s.mu.Unlock()
	return nil
}
