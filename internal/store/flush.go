package store

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"

	"github.com/syncfs/syncfs/internal/atomicfile"
)

// finish gives a closed pack its directory and its name, durably.
func (s *Store) finish(p *openPack) {
	d, size, err := s.finishFile(p)
	s.mu.Lock()
	defer s.mu.Unlock()
	p.running, p.err, p.failed = false, err, s.o.Now()
	if err == nil {
		delete(s.closing, p)
		state := &s.index.packs[p.ordinal]
		s.bytes += size - p.size
		state.open, state.spooled, state.digest, state.size = nil, true, d, size
		s.index.byName[d] = p.ordinal
	}
	s.wake()
}

// wake lets those look again who wait in waitFinished. It needs mu.
func (s *Store) wake() {
	close(s.finished)
	s.finished = make(chan struct{})
}

func (s *Store) finishFile(p *openPack) (digest, int64, error) {
	if err := s.hook("pack"); err != nil {
		return digest{}, 0, err
	}
	d, size, err := p.seal(s.keys)
	if isFull(err) {
		s.spool.release()
		d, size, err = p.seal(s.keys)
	}
	if err != nil {
		return digest{}, 0, fmt.Errorf("finish a pack: %w", spoolError(err))
	}
	if err := s.hook("pack sealed"); err != nil {
		return digest{}, 0, err
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if err := p.file.Publish(s.spool.path(d)); err != nil {
		p.doubtful = errors.Is(err, atomicfile.ErrDoubtful)
		return digest{}, 0, fmt.Errorf("finish a pack: %w", spoolError(err))
	}
	p.file.Close() // it is synced: nothing can be lost any more
	return d, size, s.hook("pack named")
}

// Flush closes the open packs and returns when all that was put is durable in
// the spool.
func (s *Store) Flush(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	var waiting []*openPack
	for _, p := range s.current {
		if p != nil && (p.writers > 0 || len(p.frames) > 0) {
			s.closePack(p)
		} else if p != nil {
			s.dropPack(p)
		}
	}
	for p := range s.closing {
		if p.err != nil && !p.running {
			s.retry(p)
		}
		waiting = append(waiting, p)
	}
	for {
		left := slices.DeleteFunc(waiting, func(p *openPack) bool {
			_, closing := s.closing[p]
			return !closing
		})
		if len(left) == 0 {
			s.full = false
			return nil
		}
		for _, p := range left {
			if p.err != nil && !p.running {
				return fmt.Errorf("flush: %w", p.err)
			}
		}
		if s.closed {
			return errClosed
		}
		waiting = left
		if err := s.waitFinished(ctx); err != nil {
			return err
		}
	}
}

// dropPack forgets a pack that holds nothing. It needs mu.
func (s *Store) dropPack(p *openPack) {
	s.current[p.class] = nil
	s.bytes -= p.size
	state := &s.index.packs[p.ordinal]
	state.open, state.pending = nil, false
	p.file.Abort()
}

// retry begins to finish a pack that could not be finished before. It needs mu.
func (s *Store) retry(p *openPack) {
	p.err, p.running = nil, true
	s.background.Go(func() {
		if p.doubtful {
			if err := p.rewrite(s.spool.create); err != nil {
				s.mu.Lock()
				defer s.mu.Unlock()
				p.running, p.err, p.failed = false, fmt.Errorf("write a pack again: %w", spoolError(err)), s.o.Now()
				s.wake()
				return
			}
			p.doubtful = false
		}
		s.finish(p)
	})
}

// Pending returns what Flush wrote and no commit has carried yet: the packs
// and index blobs that must be on the remote before a head refers to them.
// Total bytes are the sum of their sizes.
func (s *Store) Pending() (names []string, bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.index.packs {
		p := &s.index.packs[i]
		if !p.pending || p.open != nil {
			continue
		}
		names = append(names, packName(p.digest))
		bytes += p.size
	}
	return names, bytes
}

// Committed tells that a head now refers to the named blobs (from Pending or
// Small): they leave the spool (the hottest stay in the cache). One that is not
// known to be on the remote stays, and is sent again.
func (s *Store) Committed(ctx context.Context, names []string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var errs []error
	for _, name := range names {
		d, err := parsePackName(name)
		if err != nil {
			continue // an index blob: it is known by its packs
		}
		n, ok := s.index.byName[d]
		if !ok || !s.index.packs[n].pending {
			continue
		}
		p := &s.index.packs[n]
		if si := s.small; si != nil && slices.Contains(si.packs, d) {
			p.uploaded = true
			p.addDelta(si.name)
			if _, known := s.index.deltas[si.name]; !known {
				s.index.deltas[si.name] = struct{}{}
				// Now, not when all its packs are carried: another may take its
				// place before that, and without it the cache knows no chunk.
				s.cache.put(indexKey(si.name), si.sealed)
			}
		}
		if !p.uploaded {
			continue
		}
		p.pending = false
		if p.spooled {
			s.cache.adopt(packKey(d), s.spool.path(d), p.size)
		}
		if err := s.unspool(p); err != nil {
			errs = append(errs, err)
		}
	}
	if s.small != nil && s.small.done(&s.index) {
		s.small = nil
	}
	s.full = false
	return errors.Join(errs...)
}

// openSpooled opens a pack in the spool for reading.
func (s *Store) openSpooled(d digest) (*os.File, error) { return os.Open(s.spool.path(d)) }
