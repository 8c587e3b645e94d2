package syncer

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/meta"
)

// smallRound is the most that is sent with a commit in one request.
const smallRound = 1 << 20

// push commits the queue's entries one after another on head. line.ErrMoved
// when somebody else was first.
func (s *Syncer) push(ctx context.Context, head line.Folder) error {
	s.setPushing(true)
	defer s.setPushing(false)
	if err := s.decide(ctx, head); err != nil {
		return err
	}
	if err := s.heal(ctx); err != nil {
		return fmt.Errorf("put again what the spool has lost: %w", err)
	}
	for {
		s.mu.Lock()
		if len(s.queue.entries) == 0 {
			s.mu.Unlock()
			return nil
		}
		e := s.queue.entries[0]
		s.mu.Unlock()
		if s.undecided(e, head) { // it has come since
			if err := s.decide(ctx, head); err != nil {
				return err
			}
		}
		blobs, err := s.o.Store.Small(smallRound)
		if err != nil {
			return fmt.Errorf("read the spool: %w", err)
		}
		if blobs == nil {
			if err := s.upload(ctx); err != nil {
				return err
			}
		}
		s.o.Hook("uploaded")
		next, err := s.o.Lines.Commit(ctx, head, e.snapshot, blobs)
		if err != nil {
			return fmt.Errorf("commit snapshot %s: %w", e.snapshot.Instant, err)
		}
		s.o.Hook("committed")
		s.setHead(next, true)
		if err := s.settle(ctx, e, next); err != nil {
			return err
		}
		if next.Snapshot != e.id { // it was taken, and somebody has gone on from it
			return fmt.Errorf("commit after snapshot %s: %w", e.snapshot.Instant, line.ErrMoved)
		}
		head = next
	}
}

func (s *Syncer) setPushing(on bool) {
	s.mu.Lock()
	s.pushing = on
	s.mu.Unlock()
}

// upload brings the spool to the remote.
func (s *Syncer) upload(ctx context.Context) error {
	_, total := s.o.Store.Pending()
	a := Activity{Stage: "upload", TotalBytes: total}
	defer s.activity(Activity{})
	err := s.o.Store.Upload(ctx, func(n int64) {
		a.Bytes += n
		s.activity(a)
	})
	if err != nil {
		return fmt.Errorf("upload: %w", err)
	}
	return nil
}

// A long build fills the spool; what is complete is sent meanwhile.
const (
	meanwhile      = 2 * time.Second // how often is looked
	meanwhileBytes = 32 << 20        // how much makes it worth a request
)

// uploadMeanwhile sends what a build has put into the spool while it goes on,
// until stop is called; sent counts it.
func (s *Syncer) uploadMeanwhile(parent context.Context, sent *atomic.Int64) (stop func()) {
	ctx, cancel := context.WithCancel(parent)
	var work sync.WaitGroup
	work.Go(func() {
		for sleep(ctx, meanwhile) == nil {
			if _, bytes := s.o.Store.Pending(); bytes < meanwhileBytes {
				continue
			}
			err := s.WhileResumed(ctx, func(ctx context.Context) error { return s.o.Store.Upload(ctx, func(n int64) { sent.Add(n) }) })
			if err != nil && ctx.Err() == nil {
				s.o.Logger.Debug("nothing is sent while the folder is read", "err", err)
				return // the commit tries again, and says why
			}
		}
	})
	return func() {
		cancel()
		work.Wait()
	}
}

// settle notes that the line has e, and with it all before it: base, then the
// spool, then the queue.
func (s *Syncer) settle(ctx context.Context, e queued, head line.Folder) error {
	number := head.Number
	if head.Snapshot != e.id {
		number-- // that of an ancestor is not known, but the head's is above it
	}
	s.mu.Lock()
	before := s.base.Root
	s.mu.Unlock()
	err := s.setBase(Base{
		Repository: s.o.Repository, Folder: s.o.ID,
		Number: number, Epoch: head.Epoch,
		Snapshot: e.id, Instant: e.snapshot.Instant, Root: e.snapshot.Root,
	})
	if err != nil {
		return err
	}
	s.o.Hook("based")
	if head.Snapshot == e.id {
		s.remember(ctx, meta.Snapshot{
			ID: e.id, Number: head.Number, Received: head.Received.UnixNano(), Record: e.snapshot,
		}, nil)
	}
	if err := s.settleQueue(ctx); err != nil {
		return err
	}
	s.progressed()
	s.tellPushed(ctx, before, e.snapshot)
	return nil
}

// settleQueue takes out of the spool and the queue what the base has.
func (s *Syncer) settleQueue(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	last := s.queue.index(s.base.Snapshot)
	if last < 0 {
		return nil
	}
	var free []string
	for _, e := range s.queue.entries[:last+1] {
		free = append(free, s.o.Packs.drop(e.packs)...)
	}
	if err := s.o.Store.Committed(ctx, free); err != nil {
		return fmt.Errorf("empty the spool: %w", err)
	}
	s.o.Hook("spooled")
	_, err := s.queue.dropThrough(s.base.Snapshot)
	return err
}
