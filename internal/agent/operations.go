package agent

import (
	"sync"
	"time"
)

// Bounds of the operations log.
const (
	keptOperations = 2000 // operations that are kept
	keptFiles      = 100  // the newest of them, of which the paths are kept
	subscriberRoom = 256  // operations that wait for a slow reader; what is beyond is counted
)

// operations is the log of what was done, newest last, bounded; who subscribes
// is told of each at once.
type operations struct {
	mu   sync.Mutex // guards all below
	list []Operation
	subs map[*subscription]bool
}

func (o *operations) add(op Operation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.list = append(o.list, op)
	if i := len(o.list) - 1 - keptFiles; i >= 0 {
		o.list[i].Files = nil
	}
	if len(o.list) > 2*keptOperations {
		o.list = append([]Operation(nil), o.list[len(o.list)-keptOperations:]...)
	}
	for s := range o.subs {
		s.offer(op)
	}
}

// newest returns at most limit operations, oldest first.
func (o *operations) newest(limit int) []Operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	list := o.list
	if limit <= 0 || limit > keptOperations {
		limit = keptOperations
	}
	if len(list) > limit {
		list = list[len(list)-limit:]
	}
	return append([]Operation{}, list...)
}

// subscription is somebody who reads operations as they come. Nobody ever waits
// for him: what he does not read in time is dropped, and counted.
type subscription struct {
	past    []Operation // of before
	c       chan Operation
	dropped int64 // since the reader was told; guarded by the log's mu
}

// subscribe gives what comes from now on, and what came since a time; the zero
// time: nothing of before.
func (o *operations) subscribe(since time.Time) *subscription {
	s := &subscription{c: make(chan Operation, subscriberRoom)}
	o.mu.Lock()
	defer o.mu.Unlock()
	if !since.IsZero() {
		for _, op := range o.list {
			if !op.Time.Before(since) {
				s.past = append(s.past, op)
			}
		}
	}
	if o.subs == nil {
		o.subs = map[*subscription]bool{}
	}
	o.subs[s] = true
	return s
}

func (o *operations) unsubscribe(s *subscription) {
	o.mu.Lock()
	defer o.mu.Unlock()
	delete(o.subs, s)
}

// missed is how many operations were dropped since it was called last.
func (o *operations) missed(s *subscription) int64 {
	o.mu.Lock()
	defer o.mu.Unlock()
	n := s.dropped
	s.dropped = 0
	return n
}

// offer is called with the log's mu held.
func (s *subscription) offer(op Operation) {
	select {
	case s.c <- op:
	default:
		s.dropped++
	}
}
