package store

import (
	"context"
	"errors"
	"fmt"
	"os"
)

// salvage puts the chunks of a pack that was damaged in the spool into another
// one, but for those that are lost, and sets its file aside: it must not hold up
// all that comes after it. The error, ErrCorrupt, says what is lost; content
// that is put again heals it.
func (s *Store) salvage(ctx context.Context, d digest) error {
	s.mu.Lock()
	n, ok := s.index.byName[d]
	if ok && s.index.packs[n].spooled {
		s.index.packs[n].damaged = true // so that Put stores its chunks again
	} else {
		ok = false
	}
	s.mu.Unlock()
	if !ok {
		return errGone
	}
	damage := fmt.Errorf("%w: %s was damaged in the spool", ErrCorrupt, packName(d))
	saved, lost, err := s.putAgain(ctx, d)
	if err == nil {
		err = s.Flush(ctx)
	}
	if err == nil {
		err = os.Rename(s.spool.path(d), s.spool.path(d)+damagedSuffix)
	}
	if err != nil {
		return errors.Join(damage, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.index.byName[d]; ok && s.index.packs[n].spooled {
		p := &s.index.packs[n]
		p.spooled, p.pending = false, false
		s.bytes -= p.size
		s.setAside++
	}
	damage = fmt.Errorf("%w: %d chunks are saved, %d lost", damage, saved, lost)
	s.log.Error("a pack in the spool was damaged and is set aside", "error", damage)
	return damage
}

// SetAside is how many packs of the spool were found damaged and lie aside. Who
// has put something into the spool, and has no head that refers to it, should
// put it again when this grows, and after Open when it is not 0.
func (s *Store) SetAside() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.setAside
}

// putAgain puts the chunks of a spooled pack that are whole.
func (s *Store) putAgain(ctx context.Context, d digest) (saved, lost int, err error) {
	ref, frames, err := s.readSpooled(d)
	if errors.Is(err, ErrCorrupt) {
		return 0, 0, nil // nothing tells what was in it
	}
	if err != nil {
		return 0, 0, err
	}
	for _, f := range frames {
		p := place{entry: entry{frame: f}, ref: ref}
		sealed, err := s.readSpoolFile(p)
		if err != nil {
			return saved, lost, err
		}
		plain, err := s.open(p, f.kind, f.id, sealed)
		if err != nil {
			lost++
			s.log.Error("a chunk is lost", "kind", f.kind, "chunk", f.id)
			continue
		}
		if _, err := s.Put(ctx, f.kind, plain); err != nil {
			return saved, lost, err
		}
		saved++
	}
	return saved, lost, nil
}
