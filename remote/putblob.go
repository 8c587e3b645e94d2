package remote

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"strconv"
	"syscall"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

// put is what a request announces of the object that it brings.
type put struct {
	name  string
	sum   digest
	total int64 // size of the object
	first int64 // offset of the body in it
}

// putBlob takes an object in, or the rest of one.
func (s *Server) putBlob(w http.ResponseWriter, r *http.Request) error {
	p, err := s.announced(r)
	if err != nil {
		return err
	}
	if err := s.checkTaken(r.Context(), p); err != nil {
		return err
	}
	if p.total <= smallPut && p.first == 0 {
		err = s.putSmall(w, r, p)
	} else {
		err = s.putLarge(w, r, p)
	}
	if err != nil {
		return err
	}
	s.done(r, "put", p.name, p.total)
	w.WriteHeader(http.StatusCreated)
	return nil
}

// announced reads the headers of a put.
func (s *Server) announced(r *http.Request) (p put, err error) {
	if p.name, err = object(r); err != nil {
		return p, err
	}
	if role := infoOf(r).token.Role; !role.mayPut(p.name) {
		return p, s.forbid(r, "a key with the role %s may not put %s", role, p.name)
	}
	if p.sum, err = parseDigest(r.Header.Get(headerDigest)); err != nil {
		return p, refuse(codeBadRequest, "%s", err)
	}
	if r.ContentLength < 0 {
		return p, refuse(codeBadRequest, "a put needs a Content-Length")
	}
	p.total = r.ContentLength
	if header := r.Header.Get("Content-Range"); header != "" {
		first, last, total, err := parseContentRange(header)
		if err != nil {
			return p, refuse(codeBadRequest, "%s", err)
		}
		if last != total-1 || last-first+1 != r.ContentLength {
			return p, refuse(codeBadRequest, "the body must be the rest of the object")
		}
		p.first, p.total = first, total
	}
	if p.total > s.o.Limits.Object {
		return p, refuse(codeTooLarge, "an object of %d bytes; the most is %d", p.total, s.o.Limits.Object)
	}
	return p, nil
}

// checkTaken refuses a name that is taken.
func (s *Server) checkTaken(ctx context.Context, p put) error {
	_, err := s.o.Store.Stat(ctx, p.name)
	taken, err := present(err)
	if taken {
		return refuse(codeExists, "%s: %s", p.name, fs.ErrExist)
	}
	return err
}

func (s *Server) putSmall(w http.ResponseWriter, r *http.Request, p put) error {
	if err := s.buffers.Acquire(r.Context(), p.total); err != nil {
		return err
	}
	defer s.buffers.Release(p.total)
	data := make([]byte, p.total)
	if err := readBody(newSteadyBody(w, r, s.o.Limits.Stall), data); err != nil {
		return err
	}
	if sum := sha256.Sum256(data); !p.sum.equal(sum[:]) {
		return refuse(codeCorrupt, "%s: %s", p.name, blob.ErrCorrupt)
	}
	return s.store(w, r, p, bytes.NewReader(data))
}

// readBody fills data from a body that has exactly that length.
func readBody(body io.Reader, data []byte) error {
	n, err := io.ReadFull(body, data)
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = refuse(codeInterrupted, "the body ended after %d of %d bytes", n, len(data))
	}
	if err != nil {
		return err
	}
	// Reading the end lets the server watch the connection from here on.
	if n, err := io.ReadFull(body, make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) {
		return refuse(codeInterrupted, "the body does not end where it should")
	}
	return nil
}

func (s *Server) putLarge(w http.ResponseWriter, r *http.Request, p put) error {
	body := newSteadyBody(w, r, s.o.Limits.Stall)
	s.partials.sweep()
	h, err := s.partials.hold(r.Context(), partialKey(p.name, p.total, p.sum), p.total, true, body.interrupt)
	if err != nil {
		return err
	}
	keep := true
	defer func() { h.release(keep) }()
	if h.have > p.total { // cannot come from us
		keep = false
		return refuse(codeOffset, "%s: the upload begins anew", p.name)
	}
	if p.first == 0 && h.have > 0 { // the client begins anew
		if err := h.Truncate(0); err != nil {
			return err
		}
		h.have = 0
	}
	if p.first != h.have {
		a := refuse(codeOffset, "%s: the upload goes on at byte %d", p.name, h.have)
		a.Offset = h.have
		return a
	}
	sum, err := h.receive(body, p.total-p.first)
	body.rest()
	if err != nil {
		keep = !isFull(err) // a full disk needs the room more than we the bytes
		return err
	}
	if !p.sum.equal(sum.Sum(nil)) {
		keep = false
		return refuse(codeCorrupt, "%s: %s", p.name, blob.ErrCorrupt)
	}
	err = s.store(w, r, p, h)
	keep = err != nil && !errors.Is(err, fs.ErrExist) && !isFull(err)
	if err == nil {
		// Who gets it next need not wait until it was read for its digest.
		if info, err := s.o.Store.Stat(r.Context(), p.name); err == nil {
			s.digests.set(info, p.sum)
		}
	}
	return err
}

// store puts the complete object and tells the client that this goes on. It
// does not stop when the client is gone: all bytes are here.
func (s *Server) store(w http.ResponseWriter, r *http.Request, p put, data io.ReaderAt) error {
	ctx, cancel := s.detached(r)
	defer cancel()
	result := make(chan error, 1)
	go func() { result <- s.o.Store.Put(ctx, p.name, data, p.total) }()
	return s.await(w, r, result)
}

// await waits for a result and sends "102 Processing" meanwhile, so that the
// client knows a slow disk from a dead server.
func (s *Server) await(w http.ResponseWriter, r *http.Request, result <-chan error) error {
	tick := time.NewTicker(5 * time.Second)
	defer tick.Stop()
	for {
		select {
		case err := <-result:
			return err
		case <-tick.C:
			if r.ProtoAtLeast(1, 1) {
				w.WriteHeader(http.StatusProcessing)
			}
		}
	}
}

// detached is a context for work that goes on without its client, but not when
// the server stops for good.
func (s *Server) detached(r *http.Request) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(r.Context()))
	forget := context.AfterFunc(s.aborting, cancel)
	return ctx, func() { forget(); cancel() }
}

func isFull(err error) bool {
	return errors.Is(err, blob.ErrFull) || errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

// getUpload tells where an upload goes on. It answers codeDone when the object
// is there with the content announced, and codeExists when it is another's.
func (s *Server) getUpload(w http.ResponseWriter, r *http.Request) error {
	name, err := object(r)
	if err != nil {
		return err
	}
	if role := infoOf(r).token.Role; !role.mayPut(name) {
		return s.forbid(r, "a key with the role %s may not put %s", role, name)
	}
	query := r.URL.Query()
	size, err := strconv.ParseUint(query.Get("size"), 10, 63)
	if err != nil {
		return refuse(codeBadRequest, "the size is missing or no number")
	}
	sum, err := parseHexDigest(query.Get("sha256"))
	if err != nil {
		return refuse(codeBadRequest, "sha256: %s", err)
	}
	var at wireOffset
	// Held first: a request that is just storing the object is waited for.
	h, err := s.partials.hold(r.Context(), partialKey(name, int64(size), sum), int64(size), false, func() {})
	switch {
	case err == nil:
		at.Offset = h.have
		defer h.release(true)
	case !errors.Is(err, fs.ErrNotExist):
		return err
	}
	info, err := s.o.Store.Stat(r.Context(), name)
	taken, err := present(err)
	if err != nil {
		return err
	}
	if taken {
		same, err := s.holds(r.Context(), info, int64(size), sum)
		if err != nil {
			return err
		}
		if same {
			return refuse(codeDone, "%s: is there already, with this content", name)
		}
		return refuse(codeExists, "%s: %s", name, fs.ErrExist)
	}
	return writeJSON(w, at)
}

// holds tells whether an object has exactly that content.
func (s *Server) holds(ctx context.Context, info blob.Info, size int64, sum digest) (bool, error) {
	if info.Size != size {
		return false, nil
	}
	have, err := s.digestOf(ctx, info)
	return have == sum, err
}

// digestOf reads a whole object for its digest, unless that is known.
func (s *Server) digestOf(ctx context.Context, info blob.Info) (d digest, err error) {
	if d, ok := s.digests.get(info); ok {
		return d, nil
	}
	r, err := s.o.Store.Get(ctx, info.Name, 0, -1)
	if err != nil {
		return d, err
	}
	defer r.Close()
	sum := sha256.New()
	if _, err := io.CopyBuffer(onlyWriter{sum}, onlyReader{r}, make([]byte, 128<<10)); err != nil {
		return d, err
	}
	d = digest(sum.Sum(nil))
	s.digests.set(info, d)
	return d, nil
}

// onlyReader hides what else a reader can do.
type onlyReader struct{ io.Reader }
