package remote

import (
	"bytes"
	"encoding/json"
	"sync"

	"github.com/syncfs/syncfs/internal/blob"
)

// eventQueue is how many events a subscriber may lag behind.
const eventQueue = 64

// hub hands each event to all subscribers, encoded once. Who does not keep up
// is dropped: it reads the heads again and subscribes anew.
type hub struct {
	mu   sync.Mutex // guards subs
	subs map[*subscriber]struct{}
}

type subscriber struct {
	events chan []byte
	slow   chan struct{} // closed when the queue overflowed
	cut    func()        // ends a write that hangs
}

// dropped tells whether the queue overflowed.
func (s *subscriber) dropped() bool {
	select {
	case <-s.slow:
		return true
	default:
		return false
	}
}

func newHub() *hub { return &hub{subs: map[*subscriber]struct{}{}} }

func (h *hub) subscribe(cut func()) *subscriber {
	s := &subscriber{events: make(chan []byte, eventQueue), slow: make(chan struct{}), cut: cut}
	h.mu.Lock()
	defer h.mu.Unlock()
	h.subs[s] = struct{}{}
	return s
}

func (h *hub) unsubscribe(s *subscriber) {
	h.mu.Lock()
	defer h.mu.Unlock()
	delete(h.subs, s)
}

func (h *hub) count() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return len(h.subs)
}

// publish tells of the head that a commit made.
func (h *hub) publish(head blob.Head, c blob.Commit) error {
	if h.count() == 0 {
		return nil
	}
	event, err := encodeEvent(head, c)
	if err != nil {
		return err
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	for s := range h.subs {
		select {
		case s.events <- event:
		default:
			close(s.slow)
			s.cut()
			delete(h.subs, s)
		}
	}
	return nil
}

// encodeEvent writes a commit as a server-sent event.
func encodeEvent(head blob.Head, c blob.Commit) ([]byte, error) {
	e := wireEvent{wireHead: toWireHead(head), Entry: c.Record}
	size := len(c.Record) + len(c.Sealed)
	for _, b := range c.Blobs {
		size += len(b.Data)
	}
	if size <= eventLimit {
		for _, b := range c.Blobs {
			e.Blobs = append(e.Blobs, wireBlob(b))
		}
	}
	data, err := json.Marshal(e)
	if err != nil {
		return nil, err
	}
	return bytes.Join([][]byte{[]byte("event: head\ndata: "), data, []byte("\n\n")}, nil), nil
}
