package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/line"
)

// runRemote keeps the line and this machine equal: it is woken by new entries
// of the queue, by events and by time.
func (s *Syncer) runRemote(ctx context.Context) error {
	kick(s.sync)
	var first sync.Once
	for {
		var timer <-chan time.Time
		if d := s.nextTry(); d > 0 {
			timer = time.After(d)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.sync:
		case <-timer:
		}
		round, done := s.unlessPaused(ctx)
		err := round.Err()
		if err == nil {
			s.askAnew()
			err = s.syncOnce(round)
		}
		halted := round.Err() != nil
		done()
		switch {
		case ctx.Err() != nil:
			return nil
		case halted:
			s.forgetHead() // how a commit under way has ended is not known
		default:
			s.tried(err)
		}
		first.Do(func() { close(s.contacted) })
		s.progressed()
	}
}

// nextTry is when to try again by itself; 0: when woken.
func (s *Syncer) nextTry() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.halted.Err() != nil:
		return 0
	case s.failures > 0 && s.status.unapplied != nil:
		return min(s.after(s.failures), retryHere)
	case s.failures > 0:
		return s.after(s.failures)
	case s.status.Waiting > 0:
		return s.o.Interval
	case s.attached && s.base.Number != s.announced:
		return max(time.Millisecond, announceRest-time.Since(s.basedAt))
	}
	return 0
}

// tried notes how an attempt ended.
func (s *Syncer) tried(err error) {
	s.mu.Lock()
	s.status.remoteErr = err
	s.status.refused = errors.Is(err, ErrReplaced)
	if err == nil {
		s.failures = 0
		s.status.noted = ""
	} else {
		s.failures++
		s.head, s.headRecord, s.learned = nil, nil, false // it may be doubtful: ask again
	}
	s.mu.Unlock()
	if err != nil {
		s.o.Logger.Warn("the remote does not have everything", "err", err)
		s.failed(err)
	}
}

// losses is how often another machine may be first before we wait a while.
const losses = 10

// syncOnce brings both sides together as far as it goes now.
func (s *Syncer) syncOnce(ctx context.Context) error {
	var err error
	for range losses {
		if err = s.meet(ctx); !errors.Is(err, line.ErrMoved) {
			return err
		}
		s.forgetHead() // somebody else was first
	}
	return err
}

// meet is one attempt of syncOnce; line.ErrMoved when another machine was first.
func (s *Syncer) meet(ctx context.Context) error {
	for {
		head, err := s.currentHead(ctx)
		if err != nil {
			return err
		}
		if err := s.checkHead(head); err != nil {
			return err
		}
		if err := s.checkPast(ctx, head); errors.Is(err, errForgotten) {
			s.o.Logger.Warn("this machine meets the folder anew, as the first time", "err", err)
			if _, err := s.Accept(ctx, false); err != nil {
				return err
			}
			continue
		} else if err != nil {
			return err
		}
		if err := s.dropForgotten(ctx, head); err != nil {
			return err
		}
		if err := s.adoptTaken(ctx, head); err != nil {
			return err
		}
		if err := s.completeHistory(ctx); err != nil {
			return err
		}
		if s.movedByOthers(head) {
			again, err := s.pull(ctx, head)
			if err != nil {
				return err
			}
			if again {
				continue
			}
		}
		err = s.push(ctx, head)
		if err == nil {
			s.announceBase(ctx)
			s.mu.Lock()
			s.learned = s.learned || s.head != nil && s.head.Number == head.Number
			s.mu.Unlock()
		}
		return err
	}
}

// When a machine tells its base: while it changes all the time once in a long
// while, and when it has come to rest, since then the machine may go away.
const (
	announceInterval = time.Hour
	announceRest     = 10 * time.Second
)

// announceBase tells the remote which snapshot this machine's next merge needs,
// so that forgetting spares it. The snapshot is the head's or among its newest
// ancestors, which nobody forgets so soon: an error is no more than logged.
func (s *Syncer) announceBase(ctx context.Context) {
	s.mu.Lock()
	b := s.base
	due := s.attached && b.Number != s.announced &&
		(time.Since(s.announcedAt) >= announceInterval || time.Since(s.basedAt) >= announceRest)
	if due {
		s.announced, s.announcedAt = b.Number, time.Now()
	}
	s.mu.Unlock()
	if !due {
		return
	}
	err := s.o.Lines.PutBase(ctx, s.o.ID, line.Base{
		Device: s.o.Device, Host: s.o.Host, Number: b.Number, Snapshot: b.Snapshot,
	})
	if err != nil {
		s.o.Logger.Info("the base was not announced", "err", err)
	}
}

// errNoFolder is a remote that has lost the folder.
var errNoFolder = errors.New("the folder is not in the repository any more")

// currentHead is the newest head that we know of, or asks for it.
func (s *Syncer) currentHead(ctx context.Context) (line.Folder, error) {
	s.mu.Lock()
	known := s.head
	s.mu.Unlock()
	if known != nil {
		return *known, nil
	}
	head, err := s.o.Lines.Folder(ctx, s.o.ID)
	if err != nil {
		if errors.Is(err, line.ErrUnknown) {
			err = fmt.Errorf("%w: %w", ErrReplaced, errNoFolder)
			if ierr := s.o.Identify(ctx); ierr != nil {
				err = fmt.Errorf("%w: %w", err, ierr)
			}
		}
		return line.Folder{}, err
	}
	return s.setHead(head, false), nil
}

// setHead takes note of a head that was asked for or made by us, and returns
// the newest that is known: an event may have told of a later one meanwhile.
// learned tells whether the store has all chunks of head.
func (s *Syncer) setHead(head line.Folder, learned bool) line.Folder {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.head == nil || s.head.Number < head.Number {
		s.head, s.headRecord, s.learned = &head, nil, learned
	}
	return *s.head
}

func (s *Syncer) forgetHead() {
	s.mu.Lock()
	s.head, s.headRecord, s.learned = nil, nil, false
	s.mu.Unlock()
}

// checkHead refuses a line that is not the one we know: heads only grow.
func (s *Syncer) checkHead(head line.Folder) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case head.Number < s.base.Number:
		return fmt.Errorf("%w: its newest snapshot has number %d, this machine has seen %d: it was restored from an old copy or replaced", ErrReplaced, head.Number, s.base.Number)
	case head.Number == s.base.Number && s.attached && head.Snapshot != s.base.Snapshot && s.queue.index(head.Snapshot) < 0:
		return fmt.Errorf("%w: its snapshot number %d is %s, this machine knows %s under that number: it was restored from an old copy or replaced", ErrReplaced, head.Number, head.Snapshot.Short(), s.base.Snapshot.Short())
	}
	return nil
}

// errForgotten is a base that was forgotten while this machine was away. What it
// held may be gone, so there is nothing to merge with.
var errForgotten = fmt.Errorf("%w: the version that this machine has in common with it was forgotten", ErrReplaced)

// checkPast refuses a head that has not our base in its past: the remote was
// restored from an old copy, and others have gone on from that. The head itself
// tells of its newest ancestors; further back, and for a snapshot that came in
// beside a merge, the records do.
func (s *Syncer) checkPast(ctx context.Context, head line.Folder) error {
	s.mu.Lock()
	base, attached := s.base, s.attached
	pruned := attached && base.Epoch < head.Epoch && base.Snapshot != head.Snapshot
	known := !attached || head.Number <= base.Number || base.Snapshot == s.vouched ||
		!pruned && slices.Contains(head.Recent, base.Snapshot)
	s.mu.Unlock()
	if known {
		return nil
	}
	find := func(r line.Recorded) error {
		if r.SnapshotID == base.Snapshot {
			return errEnough
		}
		return nil
	}
	err := s.o.Lines.Records(ctx, s.o.ID, max(base.Number, 1)-1, false, find)
	if err == nil { // a prune counts heads on: the record may have a number before the base's
		err = s.o.Lines.Records(ctx, s.o.ID, 0, true, find)
	}
	switch {
	case errors.Is(err, errEnough):
		s.mu.Lock()
		s.vouched = base.Snapshot
		s.mu.Unlock()
		return nil
	case err != nil && !errors.Is(err, line.ErrDamaged):
		return err
	case pruned && slices.Contains(head.Recent, base.Snapshot):
		return fmt.Errorf("%w: version %s", errForgotten, base.Instant)
	}
	return fmt.Errorf("%w: its newest snapshot, number %d, does not descend from %s of number %d, which this machine has seen: it was restored from an old copy or replaced",
		ErrReplaced, head.Number, base.Instant, base.Number)
}

// movedByOthers tells whether the head is neither our base nor ours.
func (s *Syncer) movedByOthers(head line.Folder) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return !head.Snapshot.IsZero() && (head.Snapshot != s.base.Snapshot || s.base.Anew)
}

// adoptTaken finds entries of the queue that the line has already: their commit
// was taken, and only the answer or the note of it was lost.
func (s *Syncer) adoptTaken(ctx context.Context, head line.Folder) error {
	s.mu.Lock()
	taken := -1
	for _, id := range head.Recent {
		taken = max(taken, s.queue.index(id))
	}
	if i := s.queue.index(head.Snapshot); i >= 0 {
		taken = i
	}
	if taken < 0 {
		if s.attached && head.Snapshot == s.base.Snapshot && (head.Number != s.base.Number || head.Epoch != s.base.Epoch) {
			b := s.base
			b.Number, b.Epoch = head.Number, head.Epoch
			s.mu.Unlock()
			return s.setBase(b)
		}
		s.mu.Unlock()
		return nil
	}
	e := s.queue.entries[taken]
	s.mu.Unlock()
	return s.settle(ctx, e, head)
}

// offline tells whether an error only says that the remote cannot be reached.
func offline(err error) bool { return errors.Is(err, blob.ErrOffline) }
