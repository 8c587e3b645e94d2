package remote

import (
	"errors"
	"fmt"
	"net/http"
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
	sub := s.hub.subscribe()
	defer s.hub.unsubscribe(sub)
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("Cache-Control", "no-store")
	h.Set("X-Accel-Buffering", "no") // or nginx holds events back
	token := infoOf(r).token
	rc := http.NewResponseController(w)
	write := func(data []byte) error {
		_ = rc.SetWriteDeadline(time.Now().Add(eventWrite))
		if _, err := w.Write(data); err != nil {
			return err
		}
		return rc.Flush()
	}
	ready := fmt.Sprintf("event: ready\ndata: {\"keepAliveSeconds\":%g}\n\n", s.o.Limits.KeepAlive.Seconds())
	if err := write([]byte(ready)); err != nil {
		return errGone
	}
	alive := time.NewTicker(s.o.Limits.KeepAlive)
	defer alive.Stop()
	for {
		var err error
		select {
		case <-r.Context().Done():
			return nil
		case <-s.stopping.Done():
			return nil
		case <-sub.slow:
			s.metrics.dropped.Inc()
			s.log.Warn("a subscriber does not keep up and is dropped", "from", r.RemoteAddr, "token", token.Name)
			return errGone
		case event := <-sub.events:
			err = write(event)
		case <-alive.C:
			if !s.o.Tokens.valid(token) {
				return nil
			}
			err = write([]byte(": alive\n\n"))
		}
		if err != nil {
			return errGone
		}
	}
}

// errGone cuts a stream whose client cannot be told anything more.
var errGone = errors.New("the stream is broken")
