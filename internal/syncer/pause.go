package syncer

import (
	"context"
	"errors"
	"fmt"
)

// ErrPaused is a flush of a folder whose rounds are paused.
var ErrPaused = errors.New("the folder is paused")

// Pause ends rounds, or lets them go on: while they are paused nothing is sent
// and nothing applied; what changes here is captured all the same, into the
// spool. What is under way is broken off: it goes on where it was.
func (s *Syncer) Pause(on bool) {
	s.mu.Lock()
	was := s.halted.Err() != nil
	switch {
	case on && !was:
		s.halt()
	case !on && was:
		s.halted, s.halt = context.WithCancel(context.Background())
		s.failures = 0
		close(s.resumed)
		s.resumed = make(chan struct{})
	}
	s.mu.Unlock()
	kick(s.sync)
}

// Paused tells whether rounds are paused.
func (s *Syncer) Paused() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.halted.Err() != nil
}

// unlessPaused is ctx, but it ends when the folder is paused as well.
func (s *Syncer) unlessPaused(ctx context.Context) (context.Context, context.CancelFunc) {
	s.mu.Lock()
	halted := s.halted
	s.mu.Unlock()
	ctx, cancel := context.WithCancel(ctx)
	if halted.Err() != nil {
		cancel() // at once: AfterFunc would do it in a moment
	}
	stop := context.AfterFunc(halted, cancel)
	return ctx, func() {
		stop()
		cancel()
	}
}

// WhileResumed runs fn when the folder is not paused, and again when it was
// paused meanwhile, until fn returns without that.
func (s *Syncer) WhileResumed(ctx context.Context, fn func(context.Context) error) error {
	for {
		s.mu.Lock()
		paused, resumed := s.halted.Err() != nil, s.resumed
		s.mu.Unlock()
		if paused {
			select {
			case <-ctx.Done():
				return ctx.Err()
			case <-resumed:
			}
			continue
		}
		inner, cancel := s.unlessPaused(ctx)
		err := fn(inner)
		broken := inner.Err() != nil && ctx.Err() == nil
		cancel()
		if err == nil || !broken {
			return err
		}
	}
}

// Secure returns when everything that was closed before the call is in a
// snapshot on this machine, whether the remote has it or not.
func (s *Syncer) Secure(ctx context.Context) error {
	err := s.wait(ctx, &flush{local: true, done: make(chan struct{})})
	if err != nil {
		return fmt.Errorf("folder %s: %w", s.o.Name, err)
	}
	return nil
}
