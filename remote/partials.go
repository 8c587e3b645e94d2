package remote

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

// Unfinished uploads are swept after a day without progress, and the longest
// idle one makes room when there are too many.
const (
	partialAge  = 24 * time.Hour
	partialMost = 4096
)

// partials are the uploads that are not finished: one file each, below a
// directory that no object name reaches. A file's name is a hash of the
// object's name, size and digest, so uploads of different content do not mix.
type partials struct {
	dir   string
	limit int64 // bytes of all together
	now   func() time.Time
	log   *slog.Logger

	mu  sync.Mutex // guards all, and the fields of its values
	all map[string]*partialState
}

type partialState struct {
	size    int64 // on the disk, or reserved while it is held
	touched time.Time
	holder  *partial // nil: idle
}

// partial is an upload held by one request.
type partial struct {
	*os.File
	p         *partials
	key       string
	have      int64 // bytes that the file holds
	interrupt func()
	released  chan struct{}
}

func openPartials(dir string, limit int64, now func() time.Time, log *slog.Logger) (*partials, error) {
	p := &partials{dir: dir, limit: limit, now: now, log: log, all: map[string]*partialState{}}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, fmt.Errorf("open unfinished uploads: %w", err)
	}
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("open unfinished uploads: %w", err)
		}
		p.all[e.Name()] = &partialState{size: info.Size(), touched: info.ModTime()}
	}
	p.sweep()
	return p, nil
}

// partialKey names the file of an upload.
func partialKey(name string, size int64, d digest) string {
	sum := sha256.Sum256(fmt.Appendf(nil, "%s\n%d\n%s", name, size, d.hex()))
	return digest(sum).hex()
}

// hold gives an upload to the caller, who must release it. A request that holds
// it already is interrupted: it is the same client, whose connection broke
// before the server noticed. With create false, an upload that is not there is
// io/fs.ErrNotExist.
func (p *partials) hold(ctx context.Context, key string, total int64, create bool, interrupt func()) (*partial, error) {
	for {
		h, wait, err := p.tryHold(key, total, create, interrupt)
		if err != nil || h != nil {
			return h, err
		}
		select {
		case <-wait:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryHold returns the upload, or what to wait for.
func (p *partials) tryHold(key string, total int64, create bool, interrupt func()) (*partial, <-chan struct{}, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	state := p.all[key]
	if state != nil && state.holder != nil {
		state.holder.interrupt()
		return nil, state.holder.released, nil
	}
	if state == nil {
		if !create {
			return nil, nil, fs.ErrNotExist
		}
		if err := p.makeRoom(key, total); err != nil {
			return nil, nil, err
		}
		state = &partialState{}
	}
	f, err := os.OpenFile(filepath.Join(p.dir, key), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, nil, err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return nil, nil, err
	}
	p.all[key] = state
	state.size, state.touched = max(total, info.Size()), p.now()
	state.holder = &partial{File: f, p: p, key: key, have: info.Size(), interrupt: interrupt, released: make(chan struct{})}
	return state.holder, nil, nil
}

// makeRoom removes idle uploads, oldest first, until one of total bytes fits;
// p.mu is held.
func (p *partials) makeRoom(key string, total int64) error {
	for {
		var used int64
		oldest := ""
		for k, state := range p.all {
			used += state.size
			if state.holder == nil && (oldest == "" || state.touched.Before(p.all[oldest].touched)) {
				oldest = k
			}
		}
		if used+total <= p.limit && len(p.all) < partialMost {
			return nil
		}
		if oldest == "" {
			return fmt.Errorf("unfinished uploads: %w", blob.ErrFull)
		}
		p.log.Info("an unfinished upload makes room for another", "bytes", p.all[oldest].size)
		p.remove(oldest)
	}
}

// sweep removes uploads that nobody went on with.
func (p *partials) sweep() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for key, state := range p.all {
		if state.holder == nil && p.now().Sub(state.touched) > partialAge {
			p.remove(key)
		}
	}
}

// remove forgets an idle upload; p.mu is held.
func (p *partials) remove(key string) {
	if err := os.Remove(filepath.Join(p.dir, key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		p.log.Warn("an unfinished upload cannot be removed", "error", err)
		return
	}
	delete(p.all, key)
}

// bytes is what all uploads hold together.
func (p *partials) bytes() (n int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, state := range p.all {
		n += state.size
	}
	return n
}

// release gives the upload back: kept for a later request, or removed.
func (h *partial) release(keep bool) {
	info, err := h.Stat()
	h.Close()
	h.p.mu.Lock()
	defer h.p.mu.Unlock()
	state := h.p.all[h.key]
	state.holder, state.touched = nil, h.p.now()
	if !keep || err != nil || info.Size() == 0 {
		h.p.remove(h.key)
	} else {
		state.size = info.Size()
	}
	close(h.released)
}

// receive appends size bytes of r to the upload and returns the hash of all of
// it, from the first byte.
func (h *partial) receive(r io.Reader, size int64) (hash.Hash, error) {
	sum := sha256.New()
	buf := make([]byte, 128<<10)
	if _, err := io.CopyBuffer(onlyWriter{sum}, io.NewSectionReader(h, 0, h.have), buf); err != nil {
		return nil, fmt.Errorf("read an unfinished upload: %w", err)
	}
	at := io.NewOffsetWriter(h, h.have)
	n, err := io.CopyBuffer(io.MultiWriter(at, sum), io.LimitReader(r, size), buf)
	h.have += n
	if err == nil && n < size {
		err = refuse(codeInterrupted, "the body ended after %d of %d bytes", n, size)
	}
	return sum, err
}

// onlyWriter hides what else a writer can do, so that the buffer given is used.
type onlyWriter struct{ io.Writer }
