package backup

import (
	"context"
	"sync"
	"sync/atomic"
	"time"
)

// While files are read, what is complete is sent.
const (
	meanwhile      = time.Second
	meanwhileBytes = 32 << 20 // how much makes it worth a request
)

// uploadMeanwhile sends what a build puts into the spool, until stop is called.
func (s *session) uploadMeanwhile(parent context.Context) (stop func()) {
	ctx, cancel := context.WithCancel(parent)
	var work sync.WaitGroup
	work.Go(func() {
		tick := time.NewTicker(meanwhile)
		defer tick.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			if _, bytes := s.store.Pending(); bytes < meanwhileBytes {
				continue
			}
			if err := s.upload(ctx); err != nil {
				s.o.Logger.Debug("nothing is sent while files are read", "err", err)
				return // the commit tries again, and says why
			}
		}
	})
	return func() {
		cancel()
		work.Wait()
	}
}

func (s *session) upload(ctx context.Context) error {
	return s.store.Upload(ctx, s.sent)
}

// sent counts bytes; several goroutines may call it at once.
func (s *session) sent(n int64) {
	atomic.AddInt64(&s.report.SentBytes, n)
	s.o.Progress(Progress{Sent: n})
}

// slice tells when a build has read for so long that what it has is committed
// first: after half a minute, then after ever longer, so that little is read
// twice when a backup is interrupted and few partial snapshots are made.
type slice struct {
	most time.Duration
	now  func() time.Time

	length time.Duration

	mu    sync.Mutex // guards begun
	begun time.Time  // zero: nothing was read yet
}

const firstSlice = 30 * time.Second

// begin is called before each build.
func (s *slice) begin() {
	s.length = min(s.most, max(2*s.length, firstSlice))
	s.mu.Lock()
	s.begun = time.Time{}
	s.mu.Unlock()
}

// enough is asked before each new file is read; the first is always taken, so
// that every build brings something.
func (s *slice) enough() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.begun.IsZero() {
		s.begun = s.now()
		return false
	}
	return s.now().Sub(s.begun) >= s.length
}
