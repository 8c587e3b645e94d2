package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
)

// place is one place where a chunk is said to lie.
type place struct {
	entry
	ref     packRef
	open    *openPack
	spooled bool
}

// errGone is a place that is no more: a pack was finished, or left the spool,
// since it was looked up.
var errGone = errors.New("the place has changed")

// Get returns a chunk's plain content, verified against id. It looks in the
// spool, the cache, and on the remote at every place the index names;
// io/fs.ErrNotExist where no place is known, ErrCorrupt where all are damaged.
// The slice is the caller's.
func (s *Store) Get(ctx context.Context, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	for {
		plain, err := s.get(ctx, kind, id)
		if errors.Is(err, errGone) && ctx.Err() == nil {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("%s chunk %s: %w", kind, id.Short(), err)
		}
		return plain, nil
	}
}

func (s *Store) get(ctx context.Context, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	asked := s.o.Now()
	places, err := s.places(ctx, id)
	if err == nil && len(places) == 0 {
		places, err = s.placesAnew(ctx, id, asked)
	}
	if err != nil {
		return nil, err
	}
	if len(places) == 0 {
		return nil, fs.ErrNotExist
	}
	plain, err := s.readAny(ctx, places, kind, id)
	if !errors.Is(err, ErrCorrupt) {
		return plain, err
	}
	// It may have been stored again since, in another pack.
	anew, rerr := s.placesAnew(ctx, id, asked)
	if rerr != nil {
		return nil, err
	}
	anew = slices.DeleteFunc(anew, func(p place) bool {
		return slices.ContainsFunc(places, func(o place) bool { return o.ref.digest == p.ref.digest && o.offset == p.offset })
	})
	if len(anew) == 0 {
		return nil, err
	}
	return s.readAny(ctx, anew, kind, id)
}

// readAny reads a chunk from the first place that has it whole.
func (s *Store) readAny(ctx context.Context, places []place, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	var errs []error
	damaged := true
	for _, p := range places {
		plain, err := s.readPlace(ctx, p, kind, id)
		if err == nil {
			return plain, nil
		}
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		if errors.Is(err, errGone) {
			return nil, err
		}
		damaged = damaged && (errors.Is(err, ErrCorrupt) || errors.Is(err, fs.ErrNotExist))
		errs = append(errs, err)
	}
	if err := errors.Join(errs...); damaged {
		return nil, fmt.Errorf("%w: %v", ErrCorrupt, err)
	} else {
		return nil, err
	}
}

// places returns where id is said to lie, what is on this disk first.
func (s *Store) places(ctx context.Context, id chunk.ID) ([]place, error) {
	var local, remote []place
	s.mu.Lock()
	s.index.table.find(id, func(e entry) bool {
		st := &s.index.packs[e.pack]
		p := place{entry: e, ref: st.packRef, open: st.open, spooled: st.spooled}
		if p.open != nil || p.spooled {
			local = append(local, p)
		} else {
			remote = append(remote, p)
		}
		return true
	})
	runs := s.runList()
	s.mu.Unlock()
	if len(local) > 0 || len(remote) > 0 && len(runs) == 0 {
		return append(local, remote...), nil
	}
	for _, r := range runs {
		sec, err := s.shardFor(ctx, r, id)
		if err != nil {
			if errors.Is(err, ErrCorrupt) || errors.Is(err, fs.ErrNotExist) {
				s.log.Warn("a part of the index cannot be read", "error", err)
				s.stale() // a compaction elsewhere may have replaced it
				continue
			}
			if len(remote) > 0 {
				break
			}
			return nil, err
		}
		if sec == nil {
			continue
		}
		for i, to := sec.find(id); i < to; i++ {
			e := sec.at(i)
			remote = append(remote, place{entry: e, ref: sec.packs[e.pack]})
		}
	}
	return remote, nil
}

// stale makes the next miss read the index anew.
func (s *Store) stale() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refreshed = time.Time{}
}

// placesAnew looks again after reading what has come to the remote. Only an
// index that was read after the chunk was asked for proves that it is nowhere:
// who asks may have its name from a head that moved a moment ago.
func (s *Store) placesAnew(ctx context.Context, id chunk.ID, asked time.Time) ([]place, error) {
	if err := s.refreshSince(ctx, asked); err != nil {
		return nil, err
	}
	return s.places(ctx, id)
}

// readPlace reads a chunk from one place. Where cached bytes are damaged it
// fetches them anew.
func (s *Store) readPlace(ctx context.Context, p place, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	if p.open != nil || p.spooled {
		return s.readLocal(p, kind, id)
	}
	r := packRange{pack: p.ref, offset: int64(p.offset), length: int64(p.length)}
	var err error
	for range 2 {
		var sealed, plain []byte
		if sealed, err = s.blocks.read(ctx, r); err != nil {
			return nil, fmt.Errorf("%s: %w", packName(p.ref.digest), err)
		}
		if plain, err = s.open(p, kind, id, sealed); err == nil {
			return plain, nil
		}
		s.blocks.drop(r)
	}
	return nil, fmt.Errorf("%s at %d: %w: %w", packName(p.ref.digest), p.offset, ErrCorrupt, err)
}

// open opens a frame and verifies the chunk.
func (s *Store) open(p place, kind chunk.Kind, id chunk.ID, sealed []byte) ([]byte, error) {
	sealer, err := s.sealers.get(s.keys, p.ref.header)
	if err != nil {
		return nil, err
	}
	plain, err := sealer.Open(int64(p.offset), kind, id, sealed)
	if err != nil {
		return nil, err
	}
	if s.keys.ChunkID(kind, plain) != id {
		return nil, errors.New("the content is not that of the id")
	}
	return plain, nil
}

// readLocal reads from the spool; errGone when it is not there any more.
func (s *Store) readLocal(p place, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	var sealed []byte
	var err error
	if p.open != nil {
		sealed, err = p.open.read(p.entry)
	} else {
		sealed, err = s.readSpoolFile(p)
	}
	if errors.Is(err, os.ErrClosed) || errors.Is(err, fs.ErrNotExist) {
		return nil, s.gone(p)
	}
	if err != nil {
		return nil, fmt.Errorf("read from the spool: %w", err)
	}
	plain, err := s.open(p, kind, id, sealed)
	if err != nil {
		return nil, fmt.Errorf("in the spool: %w: %w", ErrCorrupt, err)
	}
	return plain, nil
}

// gone tells a place that has changed, which is looked up again, from a file
// that somebody took away.
func (s *Store) gone(p place) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return errClosed
	}
	if p.open != nil {
		return errGone
	}
	if n, ok := s.index.byName[p.ref.digest]; ok && s.index.packs[n].spooled {
		return fmt.Errorf("%w: %s is missing in the spool", ErrCorrupt, p.ref.digest)
	}
	return errGone
}

func (s *Store) readSpoolFile(p place) ([]byte, error) {
	f, err := s.openSpooled(p.ref.digest)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	buf := make([]byte, p.length)
	_, err = f.ReadAt(buf, int64(p.offset))
	return buf, err
}

// Has tells whether a chunk is in the spool or in an unmarked pack.
func (s *Store) Has(ctx context.Context, kind chunk.Kind, id chunk.ID) (bool, error) {
	s.mu.Lock()
	found := s.index.has(id)
	s.mu.Unlock()
	if found {
		return true, nil
	}
	return s.inRuns(ctx, id)
}

// inRuns tells whether the index on the remote names an unmarked place.
func (s *Store) inRuns(ctx context.Context, id chunk.ID) (bool, error) {
	s.mu.Lock()
	runs, vouched := s.runList(), s.index.vouched
	s.mu.Unlock()
	if !vouched {
		return false, nil
	}
	for _, r := range runs {
		sec, err := s.shardFor(ctx, r, id)
		if errors.Is(err, blob.ErrOffline) || errors.Is(err, ErrCorrupt) || errors.Is(err, fs.ErrNotExist) {
			continue // not known to be there: storing it twice is no harm
		}
		if err != nil {
			return false, err
		}
		if sec == nil {
			continue
		}
		for i, to := sec.find(id); i < to; i++ {
			if !s.isMarked(sec.packs[sec.at(i).pack].digest) {
				return true, nil
			}
		}
	}
	return false, nil
}
