package blob

import (
	"errors"
	"sync"
)

// EventBlobs is how many bytes of blobs an event carries at most.
const EventBlobs = 1 << 20

// errSlow ends a Watch whose caller did not keep up.
var errSlow = errors.New("too many events at once: watch anew")

// hub hands the events of this process to its watchers. The zero value is
// ready.
type hub struct {
	mu   sync.Mutex // guards subs
	subs map[*subscriber]struct{}
}

type subscriber struct {
	events chan Event    // closed never
	slow   chan struct{} // closed when events overflowed
	once   sync.Once
}

func (h *hub) subscribe() *subscriber {
	s := &subscriber{events: make(chan Event, 64), slow: make(chan struct{})}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.subs == nil {
		h.subs = map[*subscriber]struct{}{}
	}
	h.subs[s] = struct{}{}
	return s
}

func (h *hub) unsubscribe(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
}

func (h *hub) publish(e Event) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		select {
		case s.events <- e:
		default:
			s.once.Do(func() { close(s.slow) })
		}
	}
}

// newEvent is what a commit that gave head tells the watchers.
func newEvent(head Head, c Commit) Event {
	e := Event{Head: head, Entry: c.Record}
	size := 0
	for _, b := range c.Blobs {
		size += len(b.Data)
	}
	if size <= EventBlobs {
		e.Blobs = c.Blobs
	}
	return e
}
