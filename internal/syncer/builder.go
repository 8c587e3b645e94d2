package syncer

import (
	"context"
	"slices"
	"time"

	"github.com/syncfs/syncfs/internal/folder"
)

// Times of rounds.
const (
	quiet       = 10 * time.Millisecond // several requests of one save become one round
	minInterval = time.Second           // between the starts of two rounds, as long as it goes on
	retryMax    = time.Minute
)

// runBuilder takes snapshots: at once after quiet, then at the pace's. While the
// remote cannot keep up it takes only what has rested.
func (s *Syncer) runBuilder(ctx context.Context) error {
	// At a first attach the remote's tree comes first: a snapshot of what is
	// already the same there would say nothing.
	s.mu.Lock()
	attached := s.attached
	s.mu.Unlock()
	if !attached {
		select {
		case <-ctx.Done():
			return nil
		case <-s.contacted:
		}
		kick(s.build)
	}
	var next time.Time // the earliest start of another round
	pace := pace{interval: s.o.Interval}
	var again time.Duration
	for {
		var timer <-chan time.Time
		if again > 0 {
			timer = time.After(again)
		}
		select {
		case <-ctx.Done():
			return nil
		case <-s.o.Disk.Wake():
		case <-s.build:
		case <-timer:
		}
		wait := quiet
		if !s.flushWaits() {
			wait = max(wait, time.Until(next))
		}
		if s.await(ctx, wait) != nil {
			return nil
		}
		start := time.Now()
		made := false
		made, again = s.round(ctx)
		s.goOn()
		next = start.Add(time.Since(start))
		if made {
			// A look that found nothing new costs nobody anything: the next
			// change is a first one after quiet all the same.
			next = pace.next(start, time.Since(start))
		}
	}
}

// goOn tries what waited for a round, once; after that it is tried by time.
func (s *Syncer) goOn() {
	s.mu.Lock()
	soon := s.soon
	s.soon = false
	s.mu.Unlock()
	if soon {
		kick(s.sync)
	}
}

// await waits before a round, but a flush goes first.
func (s *Syncer) await(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-t.C:
			return nil
		case <-s.build:
			if s.flushWaits() {
				return nil
			}
		}
	}
}

// round takes one snapshot, if there is anything new (made), and returns when to
// look again without being woken; 0: not before something happens.
func (s *Syncer) round(ctx context.Context) (made bool, again time.Duration) {
	flushing := s.flushWaits()
	again = s.retryTrouble()
	o := folder.BuildOptions{Rested: s.behind() && !flushing}
	var err error
	if flushing {
		if s.o.ScanAtFlush {
			err = s.scan(ctx)
		}
		o.Before, o.Force = s.o.Now(), true
	}
	begun := s.flushesSoFar()
	if err == nil {
		made, err = s.capture(ctx, o)
	}
	if ctx.Err() != nil {
		return made, 0
	}
	partial := err == nil && s.endedEarly()
	if !partial {
		s.flushBuilt(begun, err)
	}
	s.tellTrouble()
	if err != nil {
		s.o.Logger.Warn("no snapshot", "err", err)
		s.failed(err)
		return made, s.backoff()
	}
	s.mu.Lock()
	s.status.buildFailures = 0
	s.mu.Unlock()
	if partial {
		s.carried(ctx)
		return made, time.Millisecond
	}
	if files, _ := s.o.Disk.Pending(); files > 0 {
		return made, s.o.Settle
	}
	if again == 0 && s.inTrouble() {
		again = retryHere
	}
	return made, again
}

// retryTrouble has what cannot be read tried again now and then, and tells when
// next; 0: nothing is in trouble.
func (s *Syncer) retryTrouble() time.Duration {
	if wait := retryHere - time.Since(s.retried); wait > 0 {
		if s.inTrouble() {
			return wait
		}
		return 0
	}
	s.retried = time.Now()
	if s.o.Disk.Retry() {
		return retryHere
	}
	return 0
}

func (s *Syncer) inTrouble() bool {
	return slices.ContainsFunc(s.o.Disk.Trouble(), func(t folder.Trouble) bool { return !t.Note && t.Path != "" })
}

// backoff is how long to wait after another failed build.
func (s *Syncer) backoff() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status.buildFailures++
	return s.after(s.status.buildFailures)
}

// after is how long to wait after so many failures in a row.
func (s *Syncer) after(failures int) time.Duration {
	return min(s.o.Interval<<min(failures-1, 10), retryMax)
}

// behind tells that the remote does not keep up: offline, or busy with an
// upload.
func (s *Syncer) behind() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.pushing || len(s.queue.entries) > 0 || s.status.remoteErr != nil
}

// failed notes an error in the operations log, once while it stays the same.
func (s *Syncer) failed(err error) {
	s.mu.Lock()
	same := s.status.noted == err.Error()
	s.status.noted = err.Error()
	s.mu.Unlock()
	if !same {
		s.o.Note(Operation{What: "error", Text: err.Error()})
	}
}

// scan looks at the whole directory.
func (s *Syncer) scan(ctx context.Context) error {
	s.tree.Lock()
	defer s.tree.Unlock()
	defer s.activity(Activity{})
	return s.o.Disk.Scan(ctx, func(n int64) { s.activity(Activity{Stage: "scan", Files: n}) })
}
