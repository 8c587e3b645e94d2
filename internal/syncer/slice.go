package syncer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// TagPartial marks a snapshot that was taken while more that is new was still to
// be read. Nothing is concluded from what it lacks: neither it nor any snapshot
// before it has had that.
const TagPartial = "partial"

// sliceLook is how often is looked how much waits for the remote.
const sliceLook = time.Second

// slice tells when a build has read for so long, or so much, that what it has is
// committed first.
type slice struct {
	s    *Syncer
	sent atomic.Int64 // bytes, while the build goes on

	mu     sync.Mutex // guards all below
	begun  time.Time  // when new content was first read; zero: not yet
	looked time.Time
	over   bool
}

// enough is asked before each new file is read; the first is always taken, so
// that every build brings something.
func (p *slice) enough() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	switch {
	case p.over:
	case p.begun.IsZero():
		p.begun, p.looked = now, now
	case now.Sub(p.begun) >= p.s.o.Slice:
		p.over = true
	case now.Sub(p.looked) >= sliceLook && now.Sub(p.begun) >= p.s.o.Slice/10:
		// What was read and not sent would take longer than that by itself.
		p.looked = now
		_, waits := p.s.o.Store.Pending()
		p.over = float64(waits)*now.Sub(p.begun).Seconds() > float64(p.sent.Load())*p.s.o.Slice.Seconds()
	}
	return p.over
}

// carriedApply is how long is waited for what others have sent to be applied:
// what is captured before would have to be merged with it.
const carriedApply = 5 * time.Second

// carried returns when the remote has what was captured, or does not take it
// now: what a long build reads next would be sent in between.
func (s *Syncer) carried(ctx context.Context) {
	var sent time.Time
	for {
		s.mu.Lock()
		done := s.status.remoteErr != nil || s.halted.Err() != nil || s.frozen.Load()
		if !done && len(s.queue.entries) == 0 {
			if sent.IsZero() {
				sent = time.Now()
			}
			done = s.head != nil && s.head.Snapshot == s.base.Snapshot || s.status.Waiting > 0 || time.Since(sent) > carriedApply
		}
		s.mu.Unlock()
		if done || sleep(ctx, 20*time.Millisecond) != nil {
			return
		}
	}
}

// endedEarly tells whether the last capture left something new for the next.
func (s *Syncer) endedEarly() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.status.partial
}
