package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// flush is one caller of Flush.
type flush struct {
	local bool          // the remote need not have it
	built bool          // a build that began after the call has ended
	after uint64        // queue entries up to this must be on the remote
	err   error         // why the build failed; it is tried again
	done  chan struct{} // closed when everything is safe
}

// Flush returns when everything that was closed before the call is on the
// remote, in the head's snapshot or one of its ancestors. When ctx ends first
// the error is ErrNotSafe and says what is missing; ErrPaused at once when rounds
// are paused.
func (s *Syncer) Flush(ctx context.Context) error {
	if s.Paused() {
		return fmt.Errorf("folder %s: %w", s.o.Name, ErrPaused)
	}
	inner, cancel := s.unlessPaused(ctx)
	defer cancel()
	err := s.wait(inner, &flush{done: make(chan struct{})})
	switch {
	case err == nil:
		return nil
	case ctx.Err() == nil:
		return fmt.Errorf("folder %s: %w", s.o.Name, ErrPaused)
	}
	return fmt.Errorf("folder %s: %w: %w", s.o.Name, ErrNotSafe, err)
}

// wait returns when f has what it waits for; the error says what is missing.
func (s *Syncer) wait(ctx context.Context, f *flush) error {
	s.mu.Lock()
	s.flushes = append(s.flushes, f)
	s.failures = 0
	s.mu.Unlock()
	kick(s.build)
	kick(s.sync)
	select {
	case <-f.done:
		return nil
	case <-ctx.Done():
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.flushes = slices.DeleteFunc(s.flushes, func(g *flush) bool { return g == f })
	select {
	case <-f.done: // in the same moment
		return nil
	default:
	}
	return s.whyLocked(f)
}

// whyLocked says what a flush still waits for.
func (s *Syncer) whyLocked(f *flush) error {
	switch {
	case s.status.remoteErr != nil:
		return fmt.Errorf("%d snapshots wait for the remote: %w", len(s.queue.entries), s.status.remoteErr)
	case f.err != nil:
		return f.err
	case !f.built:
		return errors.New("the changes are still being read")
	}
	return fmt.Errorf("%d snapshots are on their way", len(s.queue.entries))
}

// flushWaits tells whether a flush still needs a build.
func (s *Syncer) flushWaits() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.ContainsFunc(s.flushes, func(f *flush) bool { return !f.built })
}

// flushesSoFar are those that a build which begins now will serve.
func (s *Syncer) flushesSoFar() []*flush {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.flushes)
}

// flushBuilt tells the flushes that waited for a build how it ended.
func (s *Syncer) flushBuilt(served []*flush, err error) {
	s.mu.Lock()
	for _, f := range served {
		if f.err = err; err == nil && !f.built {
			f.built = true
			if e, ok := s.queue.last(); ok {
				f.after = e.seq
			}
		}
	}
	s.mu.Unlock()
	s.progressed()
}

// progressed looks which flushes have what they waited for.
func (s *Syncer) progressed() {
	s.mu.Lock()
	defer s.mu.Unlock()
	first := s.queue.next
	if len(s.queue.entries) > 0 {
		first = s.queue.entries[0].seq
	}
	if first == s.queue.next && s.attached && s.status.remoteErr == nil && s.halted.Err() == nil {
		s.status.LastSync = s.o.Now()
	}
	s.flushes = slices.DeleteFunc(s.flushes, func(f *flush) bool {
		if !f.built || !f.local && (!s.attached || f.after >= first && f.after > 0) {
			return false
		}
		close(f.done)
		return true
	})
}
