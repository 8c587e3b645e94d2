package remote

import (
	"errors"
	"io"
	"net/http"
	"os"
	"sync"
	"time"
)

// steadyBody reads a request's body and cuts it only when no byte came for the
// stall time: slow is fine, dead is not. Another request may interrupt it.
type steadyBody struct {
	body  io.Reader
	rc    *http.ResponseController
	stall time.Duration

	mu          sync.Mutex // guards interrupted, and the order of deadlines
	interrupted bool
}

func newSteadyBody(w http.ResponseWriter, r *http.Request, stall time.Duration) *steadyBody {
	return &steadyBody{body: r.Body, rc: http.NewResponseController(w), stall: stall}
}

func (b *steadyBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.interrupted {
		b.mu.Unlock()
		return 0, errInterrupted()
	}
	// An error means that there are no deadlines here, as with a recorder.
	_ = b.rc.SetReadDeadline(time.Now().Add(b.stall))
	b.mu.Unlock()
	n, err := b.body.Read(p)
	if err != nil {
		b.rest()
		b.mu.Lock()
		defer b.mu.Unlock()
		switch {
		case b.interrupted:
			err = errInterrupted()
		case errors.Is(err, os.ErrDeadlineExceeded):
			err = refuse(codeInterrupted, "no byte of the body came for %s", b.stall)
		case errors.Is(err, io.ErrUnexpectedEOF):
			err = refuse(codeInterrupted, "the body ended early")
		}
	}
	return n, err
}

// rest takes the deadline away: what follows the body may take its time, and
// the connection is watched for its end until then.
func (b *steadyBody) rest() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !b.interrupted {
		_ = b.rc.SetReadDeadline(time.Time{})
	}
}

// interrupt ends a Read that waits, and all after it.
func (b *steadyBody) interrupt() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.interrupted = true
	_ = b.rc.SetReadDeadline(time.Unix(1, 0))
}

func errInterrupted() error {
	return refuse(codeInterrupted, "a newer request goes on with this upload")
}

// copySteadily copies size bytes to the client in pieces, each of which must
// get through within the stall time.
func copySteadily(w http.ResponseWriter, r io.Reader, size int64, stall time.Duration) error {
	rc := http.NewResponseController(w)
	buf := make([]byte, min(size, 128<<10))
	for size > 0 {
		part := buf[:min(size, int64(len(buf)))]
		if _, err := io.ReadFull(r, part); err != nil {
			return err
		}
		_ = rc.SetWriteDeadline(time.Now().Add(stall))
		if _, err := w.Write(part); err != nil {
			return err
		}
		size -= int64(len(part))
	}
	return nil
}

// steadyWriter cuts an answer only when no byte of it got through for the stall
// time.
type steadyWriter struct {
	http.ResponseWriter
	stall time.Duration
}

// Unwrap lets http.ResponseController through.
func (w *steadyWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *steadyWriter) Write(p []byte) (int, error) {
	// An error means that there are no deadlines here, as with a recorder.
	_ = http.NewResponseController(w.ResponseWriter).SetWriteDeadline(time.Now().Add(w.stall))
	return w.ResponseWriter.Write(p)
}
