package remote

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"math"
	"net/http"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

// refusedBody is how long the body of a request that failed may still come.
const refusedBody = 10 * time.Second

// handlerFunc answers a request or returns why not.
type handlerFunc func(http.ResponseWriter, *http.Request) error

// request is what is known of a running request.
type request struct {
	id     string
	token  Token
	object string // the name or folder that it is about
	start  time.Time
	in     int64 // bytes of the body that were read
}

type requestKey struct{}

func infoOf(r *http.Request) *request {
	info, ok := r.Context().Value(requestKey{}).(*request)
	if !ok {
		panic("remote: a handler without observe") // cannot happen: routes wraps all
	}
	return info
}

// observe wraps every handler: request id, access log, metrics, panics.
func (s *Server) observe(route string, next http.HandlerFunc) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !s.running.enter() {
			w.Header().Set(headerAPI, apiVersion)
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		defer s.running.leave()
		info := &request{id: requestID(r), start: s.o.Now()}
		begun := time.Now()
		out := &responseRecorder{ResponseWriter: w}
		out.Header().Set(headerAPI, apiVersion)
		out.Header().Set(headerRequestID, info.id)
		out.Header().Set("X-Content-Type-Options", "nosniff")
		r = r.WithContext(context.WithValue(r.Context(), requestKey{}, info))
		body := &countingBody{ReadCloser: r.Body, n: &info.in}
		r.Body = body
		s.metrics.running.Inc()
		defer func() {
			s.metrics.running.Dec()
			problem := recover()
			if problem != nil && problem != http.ErrAbortHandler {
				s.log.Error("a request panicked", "id", info.id, "panic", fmt.Sprint(problem), "stack", string(debug.Stack()))
				if out.status == 0 {
					s.fail(out, r, errors.New("panic"))
				}
			}
			s.finished(r, route, out, info, time.Since(begun))
			if problem != nil {
				panic(http.ErrAbortHandler) // the connection is not to be used again
			}
		}()
		next(out, r)
	})
}

// finished writes the access log and counts. Neither has the query, which may
// hold a key, nor any header.
func (s *Server) finished(r *http.Request, route string, out *responseRecorder, info *request, took time.Duration) {
	status := out.status
	if status == 0 {
		status = http.StatusOK
	}
	s.metrics.request(route, status, info.in, out.bytes, took)
	level := slog.LevelInfo
	switch {
	case r.Method == http.MethodGet && status < 400, r.Method == http.MethodHead:
		level = slog.LevelDebug
	case status >= 500:
		level = slog.LevelWarn
	}
	s.log.Log(r.Context(), level, "request",
		"id", info.id, "method", r.Method, "path", clip(r.URL.Path), "status", status,
		"in", info.in, "out", out.bytes, "ms", took.Milliseconds(),
		"token", info.token.Name, "from", r.RemoteAddr, "proto", r.Proto)
}

// failFunc answers an error in one dialect.
type failFunc func(http.ResponseWriter, *http.Request, error)

// authorized lets in who shows the key of a token of at least that role.
func (s *Server) authorized(role Role, next handlerFunc, fail failFunc) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		token, err := s.authenticate(r)
		if err == nil {
			infoOf(r).token = token
			if token.Role.atLeast(role) {
				err = next(w, r)
			} else {
				err = s.forbid(r, "needs the role %s; this key has %s", role, token.Role)
			}
		}
		if err != nil {
			fail(w, r, err)
		}
	}
}

func (s *Server) authenticate(r *http.Request) (Token, error) {
	key := r.Header.Get(headerKey)
	if key == "" {
		if scheme, rest, ok := strings.Cut(r.Header.Get("Authorization"), " "); ok && strings.EqualFold(scheme, "Bearer") {
			key = strings.TrimSpace(rest)
		}
	}
	if key == "" {
		return Token{}, refuse(codeUnauthorized, "a key is needed: header X-API-Key, or Authorization: Bearer")
	}
	addr := addressOf(r.RemoteAddr)
	token, ok := s.o.Tokens.Lookup(key)
	who := visitor{addr: addr, hash: token.Hash}
	if wait, blocked := s.throttle.blocked(addr); blocked && !(ok && s.throttle.isKnown(who)) {
		a := refuse(codeSlowDown, "too many wrong keys from this address")
		a.retryAfter = wait
		return Token{}, a
	}
	if !ok {
		s.throttle.failed(addr)
		s.metrics.wrongKeys.Inc()
		s.log.Warn("wrong key", "from", r.RemoteAddr, "id", infoOf(r).id)
		pause := time.NewTimer(s.o.Limits.WrongKey)
		defer pause.Stop()
		select {
		case <-pause.C:
		case <-r.Context().Done():
		case <-s.stopping.Done():
		}
		return Token{}, refuse(codeUnauthorized, "this key is not accepted")
	}
	s.throttle.letIn(who)
	return token, nil
}

// forbid refuses what the role does not allow, and keeps that in the operations.
func (s *Server) forbid(r *http.Request, format string, args ...any) error {
	info := infoOf(r)
	what := info.object
	if what == "" {
		what = clip(r.URL.Path)
	}
	s.o.Operations.add(Operation{Token: info.token.Name, Action: "refused", Object: r.Method + " " + what, Request: info.id})
	return refuse(codeForbidden, format, args...)
}

// done keeps an operation that was carried out.
func (s *Server) done(r *http.Request, action, object string, bytes int64) {
	info := infoOf(r)
	s.o.Operations.add(Operation{Token: info.token.Name, Action: action, Object: object, Bytes: bytes, Request: info.id})
}

// fail answers an error.
func (s *Server) fail(w http.ResponseWriter, r *http.Request, err error) {
	info := infoOf(r)
	a := answerTo(err, info.object)
	switch {
	case r.Context().Err() != nil:
		s.log.Debug("the client went away", "id", info.id, "path", clip(r.URL.Path), "error", err)
	case a.Code == codeInternal || a.Code == codeFull:
		s.log.Error("request failed", "id", info.id, "path", clip(r.URL.Path), "error", err)
	}
	if out, ok := w.(*responseRecorder); ok && out.status >= 200 {
		// The answer has begun; cutting it short is all that can be said now.
		panic(http.ErrAbortHandler)
	}
	if r.ContentLength != 0 {
		// What is left of the body is read before the connection is used again.
		_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(refusedBody))
	}
	h := w.Header()
	for _, name := range []string{"Content-Length", "Content-Range", "Last-Modified", headerDigest, headerModified} {
		if name != "Content-Range" || a.Code != codeRange {
			h.Del(name)
		}
	}
	switch a.Code {
	case codeUnauthorized:
		h.Set("WWW-Authenticate", "Bearer")
	case codeTurn, codeSlowDown, codeStopping:
		seconds := max(1, math.Ceil(a.retryAfter.Seconds()))
		h.Set("Retry-After", strconv.Itoa(int(seconds)))
	}
	body, jerr := json.Marshal(a)
	if jerr != nil {
		panic(jerr) // cannot happen: strings and numbers
	}
	h.Set("Content-Type", "application/json")
	h.Set("Content-Length", strconv.Itoa(len(body)+1))
	w.WriteHeader(a.Code.status())
	w.Write(append(body, '\n'))
}

func writeJSON(w http.ResponseWriter, v any) error {
	body, err := json.Marshal(v)
	if err != nil {
		return err
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(body)+1))
	w.Write(append(body, '\n')) // an error shows at the client, and nothing can be done here
	return nil
}

// object reads the name of the object that a request is about.
func object(r *http.Request) (string, error) {
	name := r.PathValue("name")
	if !blob.ValidName(name) {
		return "", refuse(codeBadRequest, "%q is not a name for an object", clip(name))
	}
	infoOf(r).object = name
	return name, nil
}

func folderOf(r *http.Request) (string, error) {
	folder := r.PathValue("folder")
	if !blob.ValidFolder(folder) {
		return "", refuse(codeBadRequest, "%q is not a name for a folder", clip(folder))
	}
	infoOf(r).object = folder
	return folder, nil
}

// present splits the error of a Stat.
func present(err error) (bool, error) {
	if errors.Is(err, fs.ErrNotExist) {
		return false, nil
	}
	return err == nil, err
}

// requestID takes over the id of a proxy or a client, or makes one.
func requestID(r *http.Request) string {
	id := r.Header.Get(headerRequestID)
	ok := len(id) > 0 && len(id) <= 64
	for _, c := range []byte(id) {
		ok = ok && (c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-' || c == '_')
	}
	if ok {
		return id
	}
	var random [8]byte
	rand.Read(random[:]) // never fails
	return hex.EncodeToString(random[:])
}

// responseRecorder keeps the status and counts the bytes of an answer.
type responseRecorder struct {
	http.ResponseWriter
	status int
	bytes  int64
}

// Unwrap lets http.ResponseController through.
func (w *responseRecorder) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *responseRecorder) WriteHeader(status int) {
	if status >= 200 && w.status == 0 {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

func (w *responseRecorder) Write(p []byte) (int, error) {
	if w.status == 0 {
		w.status = http.StatusOK
	}
	n, err := w.ResponseWriter.Write(p)
	w.bytes += int64(n)
	return n, err
}

type countingBody struct {
	io.ReadCloser
	n *int64
}

func (b *countingBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	*b.n += int64(n)
	return n, err
}
