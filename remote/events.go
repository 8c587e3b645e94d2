package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"sync"
	"time"
)

// eventWrite is how long one event may take to get through to a subscriber.
const eventWrite = 20 * time.Second

// events streams moved heads until the client goes, lags behind, loses its
// token, or the server stops.
func (s *Server) events(w http.ResponseWriter, r *http.Request) error {
	if s.stopping.Err() != nil {
		return refuse(codeStopping, "the server is stopping")
	}
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // or nginx holds events back
	stream := newEventStream(w)
	defer stream.close()
	stopStream := context.AfterFunc(s.stopping, stream.cut)
	defer stopStream()
	sub := s.hub.subscribe(stream.cut)
	defer s.hub.unsubscribe(sub)
	err := s.stream(r.Context(), stream, sub, infoOf(r).token)
	late := errors.Is(err, os.ErrDeadlineExceeded) && s.stopping.Err() == nil
	if late || sub.dropped() {
		s.metrics.dropped.Inc()
		s.log.Warn("a subscriber does not keep up and is dropped", "from", r.RemoteAddr, "token", infoOf(r).token.Name)
	}
	if err != nil {
		panic(http.ErrAbortHandler) // net/http's way to cut an answer that has begun
	}
	return nil
}

// stream sends events; its error means that the client cannot be told any more.
func (s *Server) stream(ctx context.Context, stream *eventStream, sub *subscriber, token Token) error {
	ready := fmt.Sprintf("event: ready\ndata: {\"keepAliveSeconds\":%g}\n\n", s.o.Limits.KeepAlive.Seconds())
	err := stream.write([]byte(ready))
	alive := time.NewTicker(s.o.Limits.KeepAlive)
	defer alive.Stop()
	for err == nil {
		select {
		case <-ctx.Done():
			return nil
		case <-s.stopping.Done():
			return nil
		case <-sub.slow:
			return errGone
		case event := <-sub.events:
			err = stream.write(event)
		case <-alive.C:
			if !s.o.Tokens.valid(token) {
				return nil
			}
			err = stream.write([]byte(": alive\n\n"))
		}
	}
	return err
}

var errGone = errors.New("the stream is broken")

// eventStream writes to one subscriber. It may be cut while it writes.
type eventStream struct {
	w  http.ResponseWriter
	rc *http.ResponseController

	mu    sync.Mutex // guards ended, and the order of deadlines
	ended bool
}

func newEventStream(w http.ResponseWriter) *eventStream {
	return &eventStream{w: w, rc: http.NewResponseController(w)}
}

// write sends data at once.
func (s *eventStream) write(data []byte) error {
	s.mu.Lock()
	if s.ended {
		s.mu.Unlock()
		return errGone
	}
	// An error means that there are no deadlines here, as with a recorder.
	_ = s.rc.SetWriteDeadline(time.Now().Add(eventWrite))
	s.mu.Unlock()
	if _, err := s.w.Write(data); err != nil {
		return err
	}
	return s.rc.Flush()
}

// cut ends a write that waits for the client.
func (s *eventStream) cut() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !s.ended {
		s.ended = true
		_ = s.rc.SetWriteDeadline(time.Unix(1, 0))
	}
}

// close keeps a late cut from reaching what follows on the connection.
func (s *eventStream) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ended = true
}
