package remote

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"runtime/debug"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/semaphore"

	"github.com/syncfs/syncfs/internal/blob"
)

// ServerOptions of a Server. Store, Tokens and PartialDir are needed; Data has
// them all.
type ServerOptions struct {
	Store      blob.Store
	Uploads    *Uploads // the File Storage API; nil: there is none
	Tokens     *Tokens
	PartialDir string               // unfinished uploads; on the store's disk, of one server only
	Operations *Operations          // nil: kept in memory
	Registry   *prometheus.Registry // nil: a new one
	Logger     *slog.Logger
	Now        func() time.Time
	Version    string // of the program, for whoever holds a key

	// PrivateMetrics asks for a key at /metrics, which holds no names.
	PrivateMetrics bool

	// KeepUploads is how long uploads that were replaced or deleted are kept;
	// 0: 30 days.
	KeepUploads time.Duration

	Limits Limits
}

const keepUploads = 30 * 24 * time.Hour

// Limits of a Server; zero fields get the defaults named.
type Limits struct {
	Object    int64         // largest object: 64 GiB
	Partial   int64         // all unfinished uploads together: 128 GiB
	Buffers   int64         // bodies held in memory, all requests together: 256 MiB
	Stall     time.Duration // a request without a byte of progress is cut: 60 s
	KeepAlive time.Duration // between signs of life on event streams: 5 s
	Grace     time.Duration // for running requests when the server stops: 15 s
	WrongKey  time.Duration // before a wrong key is answered: 500 ms
}

func (l *Limits) defaults() {
	size := func(n *int64, value int64) {
		if *n == 0 {
			*n = value
		}
	}
	period := func(d *time.Duration, value time.Duration) {
		if *d == 0 {
			*d = value
		}
	}
	size(&l.Object, 64<<30)
	size(&l.Partial, 128<<30)
	size(&l.Buffers, 256<<20)
	l.Buffers = max(l.Buffers, 2*commitLimit)
	period(&l.Stall, time.Minute)
	period(&l.KeepAlive, 5*time.Second)
	period(&l.Grace, 15*time.Second)
	period(&l.WrongKey, 500*time.Millisecond)
}

// Server is the file server. Make one with NewServer, then Serve, or use its
// Handler and Close it.
type Server struct {
	o        ServerOptions
	log      *slog.Logger
	handler  http.Handler
	partials *partials
	hub      *hub
	turns    *turns
	throttle *throttle
	metrics  *metrics
	digests  *digests
	folders  keyedMutex          // commits of one folder, so that events come in order
	buffers  *semaphore.Weighted // bytes of bodies in memory
	running  gate                // requests

	stopping context.Context // ends when the server stops: streams and waits end with it
	stop     context.CancelFunc
	aborting context.Context // ends when running requests have had their grace
	abort    context.CancelFunc
}

// NewServer makes a server; it starts nothing.
func NewServer(o ServerOptions) (*Server, error) {
	if o.Store == nil || o.Tokens == nil || o.PartialDir == "" {
		return nil, errors.New("a server needs a store, tokens and a directory for unfinished uploads")
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Operations == nil {
		o.Operations = newOperations(o.Now)
	}
	if o.Version == "" {
		o.Version = buildVersion()
	}
	if o.KeepUploads == 0 {
		o.KeepUploads = keepUploads
	}
	o.Limits.defaults()
	if err := os.MkdirAll(o.PartialDir, 0o700); err != nil {
		return nil, err
	}
	partials, err := openPartials(o.PartialDir, o.Limits.Partial, o.Now, o.Logger)
	if err != nil {
		return nil, err
	}
	s := &Server{
		o: o, log: o.Logger, partials: partials, hub: newHub(), turns: newTurns(o.Now),
		throttle: newThrottle(o.Now), digests: newDigests(), buffers: semaphore.NewWeighted(o.Limits.Buffers),
	}
	if s.metrics, err = newMetrics(o.Registry, s); err != nil {
		return nil, err
	}
	s.stopping, s.stop = context.WithCancel(context.Background())
	s.aborting, s.abort = context.WithCancel(context.Background())
	s.handler = s.routes()
	return s, nil
}

// Handler answers all requests.
func (s *Server) Handler() http.Handler { return s.handler }

// Close ends the event streams, whatever waits, and the work of requests that
// still run, and waits for them. Serve does it by itself.
func (s *Server) Close() {
	s.stop()
	s.abort()
	s.running.close()
}

// routes is the list of all that the server answers.
func (s *Server) routes() http.Handler {
	mux := http.NewServeMux()
	open := func(pattern string, fn http.HandlerFunc) { mux.Handle(pattern, s.observe(pattern, fn)) }
	need := func(role Role, pattern string, fn handlerFunc) {
		mux.Handle(pattern, s.observe(pattern, s.authorized(role, fn, s.fail)))
	}

	need(RoleRead, "GET /v1/{$}", s.getServer)
	need(RoleRead, "GET /v1/blobs", s.listBlobs)
	need(RoleRead, "GET /v1/blobs/{name...}", s.getBlob) // and HEAD
	need(RoleAppend, "PUT /v1/blobs/{name...}", s.putBlob)
	need(RoleWrite, "DELETE /v1/blobs/{name...}", s.deleteBlob)
	need(RoleAppend, "GET /v1/uploads/{name...}", s.getUpload)
	need(RoleRead, "GET /v1/heads", s.listHeads)
	need(RoleRead, "GET /v1/heads/{folder}", s.getHead)
	need(RoleAppend, "POST /v1/heads/{folder}", s.commit)
	need(RoleAppend, "POST /v1/heads/{folder}/turn", s.takeTurn)
	need(RoleAppend, "DELETE /v1/heads/{folder}/turn", s.endTurn)
	need(RoleRead, "GET /v1/events", s.events)
	need(RoleAdmin, "GET /v1/operations", s.operations)
	if s.o.Uploads != nil {
		s.storageRoutes(mux)
	}

	open("GET /{$}", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte("syncfs file server\n"))
	})
	open("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		w.Write([]byte("ok\n"))
	})
	metrics := promhttp.HandlerFor(s.metrics.registry, promhttp.HandlerOpts{})
	if s.o.PrivateMetrics {
		need(RoleRead, "GET /metrics", func(w http.ResponseWriter, r *http.Request) error {
			metrics.ServeHTTP(w, r)
			return nil
		})
	} else {
		open("GET /metrics", metrics.ServeHTTP)
	}
	open("/", func(w http.ResponseWriter, r *http.Request) {
		s.fail(w, r, refuse(codeNotFound, "there is nothing of that name here"))
	})
	return mux
}

func (s *Server) getServer(w http.ResponseWriter, r *http.Request) error {
	_, err := s.o.Store.Stat(r.Context(), "config")
	there, err := present(err)
	if err != nil {
		return err
	}
	token := infoOf(r).token
	return writeJSON(w, wireServer{
		Server: "syncfs", Version: s.o.Version, API: 1, Token: token.Name, Role: token.Role, Repository: there,
	})
}

func buildVersion() string {
	if info, ok := debug.ReadBuildInfo(); ok && info.Main.Version != "" {
		return info.Main.Version
	}
	return "unknown"
}
