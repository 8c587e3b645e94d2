package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/pprof"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/config"
)

// control is the agent's server on its socket: HTTP, so that curl can look, for
// the user alone.
type control struct {
	a      *Agent
	server *http.Server
	cancel context.CancelFunc
}

// message is one line of an answer: progress or events, and at the end a result
// or an error.
type message struct {
	Progress *Progress       `json:"progress,omitempty"`
	Event    *Operation      `json:"event,omitempty"`
	Result   json.RawMessage `json:"result,omitempty"`
	Error    *wireError      `json:"error,omitempty"`
}

// listen makes the control socket. The lock of the HOME is held, so a socket
// that is there is of an agent that was killed.
func listen(d config.Dirs) (net.Listener, error) {
	path := d.Socket()
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := listenAt(path)
	if err != nil {
		return nil, fmt.Errorf("control socket: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

func (a *Agent) newControl() *control {
	ctx, cancel := context.WithCancel(a.ctx)
	c := &control{a: a, cancel: cancel}
	mux := http.NewServeMux()
	mux.Handle("GET /v1/status", answer(func(ctx context.Context, _ *http.Request) (any, error) { return a.status(), nil }))
	mux.Handle("GET /v1/folders", answer(func(ctx context.Context, _ *http.Request) (any, error) { return a.folders(ctx) }))
	mux.Handle("GET /v1/operations", answer(func(_ context.Context, r *http.Request) (any, error) {
		limit, _ := strconv.Atoi(r.FormValue("limit")) // absent: the default
		return a.ops.newest(limit), nil
	}))
	mux.Handle("GET /v1/snapshots", answer(a.serveSnapshots))
	mux.Handle("GET /v1/moments", answer(a.serveMoments))
	mux.Handle("POST /v1/add", long(func(ctx context.Context, r AddRequest, p func(Progress)) (any, error) { return a.add(ctx, r, p) }))
	mux.Handle("POST /v1/get", long(func(ctx context.Context, r GetRequest, p func(Progress)) (any, error) { return a.get(ctx, r, p) }))
	mux.Handle("POST /v1/pin", long(func(ctx context.Context, r PinRequest, p func(Progress)) (any, error) { return nil, a.pin(ctx, r, p) }))
	mux.Handle("POST /v1/evict", long(func(ctx context.Context, r EvictRequest, _ func(Progress)) (any, error) { return a.evict(ctx, r) }))
	mux.Handle("POST /v1/mount", long(func(ctx context.Context, r nameRequest, p func(Progress)) (any, error) {
		return a.mountFolder(ctx, r.Name, p)
	}))
	mux.Handle("POST /v1/umount", long(func(ctx context.Context, r nameRequest, _ func(Progress)) (any, error) {
		return nil, a.umountFolder(r.Name, r.Lazy)
	}))
	mux.Handle("POST /v1/remove", long(func(ctx context.Context, r nameRequest, _ func(Progress)) (any, error) { return nil, a.remove(r.Name) }))
	mux.Handle("POST /v1/flush", long(func(ctx context.Context, r FlushRequest, p func(Progress)) (any, error) { return nil, a.flush(ctx, r) }))
	mux.Handle("POST /v1/pause", long(func(_ context.Context, r PauseRequest, _ func(Progress)) (any, error) { return nil, a.pauseFolders(r) }))
	mux.Handle("POST /v1/resume", long(func(_ context.Context, r nameRequest, _ func(Progress)) (any, error) {
		return nil, a.setPause(r.Name, pause{})
	}))
	mux.Handle("POST /v1/limit", long(func(_ context.Context, l Limits, _ func(Progress)) (any, error) { return nil, a.setLimits(l) }))
	mux.Handle("GET /v1/conflicts", answer(a.serveConflicts))
	mux.Handle("POST /v1/decide", long(func(ctx context.Context, r HeldRequest, _ func(Progress)) (any, error) { return a.decide(ctx, r) }))
	mux.Handle("POST /v1/accept", long(func(ctx context.Context, r AcceptRequest, _ func(Progress)) (any, error) { return a.accept(ctx, r) }))
	mux.Handle("POST /v1/rewind", long(func(ctx context.Context, r RewindRequest, _ func(Progress)) (any, error) { return a.rewind(ctx, r) }))
	mux.Handle("POST /v1/resolve", long(func(ctx context.Context, r ResolveRequest, _ func(Progress)) (any, error) { return a.resolve(ctx, r) }))
	mux.Handle("POST /v1/ignored", long(func(ctx context.Context, r IgnoredRequest, _ func(Progress)) (any, error) { return a.ignored(ctx, r) }))
	mux.Handle("POST /v1/untrack", long(func(ctx context.Context, r UntrackRequest, _ func(Progress)) (any, error) { return a.untrack(ctx, r) }))
	mux.Handle("POST /v1/schedule", long(func(_ context.Context, s Schedule, _ func(Progress)) (any, error) { return a.addSchedule(s) }))
	mux.Handle("POST /v1/unschedule", long(func(_ context.Context, r nameRequest, _ func(Progress)) (any, error) { return a.removeSchedule(r.Name) }))
	mux.Handle("POST /v1/forgotten", long(func(_ context.Context, r forgottenRequest, _ func(Progress)) (any, error) {
		return nil, a.forgotten(r)
	}))
	mux.Handle("GET /v1/identity", answer(func(context.Context, *http.Request) (any, error) { return a.identity, nil }))
	mux.Handle("POST /v1/unlock", long(func(context.Context, unlockRequest, func(Progress)) (any, error) { return nil, nil })) // it is
	mux.Handle("POST /v1/stop", answer(func(context.Context, *http.Request) (any, error) {
		a.stop()
		return nil, nil
	}))
	mux.HandleFunc("GET /v1/events", a.serveEvents)
	mux.HandleFunc("GET /v1/chunk", a.serveChunk)
	// For whoever looks why it needs what it needs: curl --unix-socket.
	mux.HandleFunc("GET /debug/pprof/", pprof.Index)
	mux.HandleFunc("GET /debug/pprof/profile", pprof.Profile)
	mux.HandleFunc("GET /debug/pprof/trace", pprof.Trace)
	c.server = &http.Server{
		Handler:           mux,
		ReadHeaderTimeout: 10 * time.Second,
		BaseContext:       func(net.Listener) context.Context { return ctx },
	}
	return c
}

func (c *control) serve(l net.Listener) error {
	err := c.server.Serve(l)
	if errors.Is(err, http.ErrServerClosed) {
		return nil
	}
	return err
}

// close ends the server; calls under way get a moment to answer.
func (c *control) close() {
	c.cancel()
	ctx, done := context.WithTimeout(context.Background(), time.Second)
	defer done()
	if c.server.Shutdown(ctx) != nil {
		c.server.Close()
	}
}

// nameRequest names a folder of this machine.
type nameRequest struct {
	Name string `json:"name"`
	Lazy bool   `json:"lazy,omitempty"`
}

// answer serves a short call.
func answer(fn func(ctx context.Context, r *http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		result, err := fn(r.Context(), r)
		send(json.NewEncoder(w), result, err)
	})
}

// long serves a call with a body, that tells its progress line by line.
func long[R any](fn func(ctx context.Context, request R, progress func(Progress)) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var request R
		out := json.NewEncoder(w)
		if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&request); err != nil {
			send(out, nil, fmt.Errorf("read the request: %w", err))
			return
		}
		flusher := http.NewResponseController(w)
		result, err := fn(r.Context(), request, func(p Progress) {
			if out.Encode(message{Progress: &p}) == nil {
				_ = flusher.Flush() // a client that went away ends by its context
			}
		})
		send(out, result, err)
	})
}

// send writes the last line of an answer.
func send(out *json.Encoder, result any, err error) {
	m := message{Error: toWire(err)}
	if result != nil {
		data, merr := json.Marshal(result)
		if merr != nil {
			m.Error = toWire(merr)
		}
		m.Result = data
	}
	_ = out.Encode(m) // nobody is left to tell
}
