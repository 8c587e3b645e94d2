package store

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"

	"github.com/syncfs/syncfs/internal/blob"
)

// A mark names packs that a prune may delete once every head has its number:
// "marks/" and 16 hexadecimal digits, sealed, a list of digests. What is marked
// stays marked for ever; a chunk that lies only in marked packs counts as
// absent and is uploaded again.

const markKind = "mark"

func markName(n uint64) string { return fmt.Sprintf("%s%016x", marksPrefix, n) }

func encodeMark(packs []digest) []byte {
	b := binary.LittleEndian.AppendUint32([]byte{1}, uint32(len(packs)))
	for _, d := range packs {
		b = append(b, d[:]...)
	}
	return b
}

func decodeMark(b []byte) ([]digest, error) {
	r := reader{b: b}
	if v := r.byte(); v != 1 {
		return nil, fmt.Errorf("a mark of version %d", v)
	}
	n := int64(r.uint32())
	if n*32 != int64(len(r.b)) {
		return nil, errShort
	}
	packs := make([]digest, n)
	for i := range packs {
		copy(packs[i][:], r.bytes(32))
	}
	return packs, r.done()
}

// readMarks takes new marks and tells whether there are none but those that were
// read. While one is damaged nothing on the remote counts as stored: it might be
// about to be deleted.
func (s *Store) readMarks(ctx context.Context, names []string) (all bool, err error) {
	all = true
	for _, name := range names {
		packs, err := s.readMark(ctx, name)
		if errors.Is(err, ErrCorrupt) {
			s.log.Error("a mark is damaged: what is on the remote is not relied on", "error", err)
			all = false
			continue
		}
		if err != nil {
			return false, err
		}
		s.mu.Lock()
		s.index.marks[name] = struct{}{}
		for _, d := range packs {
			s.index.marked[d] = struct{}{}
		}
		s.mu.Unlock()
	}
	return all, nil
}

func (s *Store) readMark(ctx context.Context, name string) ([]digest, error) {
	data, err := readBlob(ctx, s.remote, name, maxIndexBlob)
	if err != nil {
		return nil, err
	}
	plain, err := s.keys.OpenBlob(markKind, name, data)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	packs, err := decodeMark(plain)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrCorrupt, err)
	}
	return packs, nil
}

// Mark puts the next mark, which names packs that no root refers to, and returns
// its number. It is the first step of a prune, and harmless alone: chunks in
// marked packs are only stored a second time.
func (s *Store) Mark(ctx context.Context, packs []string) (uint64, error) {
	digests := make([]digest, len(packs))
	for i, name := range packs {
		d, err := parsePackName(name)
		if err != nil {
			return 0, err
		}
		digests[i] = d
	}
	for n := uint64(1); ; n++ {
		last, err := s.lastMark(ctx)
		if err != nil {
			return 0, err
		}
		n = max(n, last+1)
		name := markName(n)
		sealed, err := s.keys.SealBlob(markKind, name, encodeMark(digests))
		if err != nil {
			return 0, err
		}
		err = s.remote.Put(ctx, name, bytes.NewReader(sealed), int64(len(sealed)))
		if errors.Is(err, fs.ErrExist) {
			continue // another prune was first
		}
		if err != nil {
			return 0, fmt.Errorf("put %s: %w", name, err)
		}
		return n, s.Refresh(ctx)
	}
}

// LastMark is the greatest number of the marks that were read.
func (s *Store) LastMark() (last uint64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name := range s.index.marks {
		var n uint64
		if _, err := fmt.Sscanf(name, marksPrefix+"%016x", &n); err == nil {
			last = max(last, n)
		}
	}
	return last
}

func (s *Store) lastMark(ctx context.Context) (last uint64, err error) {
	err = s.remote.List(ctx, marksPrefix, "", func(i blob.Info) error {
		var n uint64
		if _, err := fmt.Sscanf(i.Name, marksPrefix+"%016x", &n); err == nil {
			last = max(last, n)
		}
		return nil
	})
	return last, err
}
