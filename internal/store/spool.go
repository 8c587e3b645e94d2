package store

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/seal"
)

// spool is the directory of packs that no head refers to yet. Finished ones are
// called DIGEST.pack; the others have temporary names and go at the next start.
type spool struct {
	dir  string
	lock *spoolLock
}

const (
	packSuffix    = ".pack"
	damagedSuffix = ".damaged" // after packSuffix: set aside
)

// reserveSize is kept free for the directories of open packs, so that what was
// put can still be finished when the disk is full.
const reserveSize = 384 << 10

func openSpool(dir string) (*spool, error) {
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	lock, err := lockSpool(filepath.Join(dir, "lock"))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, err)
	}
	sp := &spool{dir: dir, lock: lock}
	if err := atomicfile.Sweep(dir); err != nil {
		sp.close()
		return nil, err
	}
	sp.reserve()
	return sp, nil
}

func (sp *spool) close() { sp.lock.unlock() }

func (sp *spool) path(d digest) string { return filepath.Join(sp.dir, d.String()+packSuffix) }

func (sp *spool) create() (*atomicfile.File, error) {
	return atomicfile.Create(filepath.Join(sp.dir, "open"+packSuffix), 0o600)
}

// reserve takes the room that release gives back. Where there is none the store
// works without.
func (sp *spool) reserve() {
	path := filepath.Join(sp.dir, "reserve")
	if info, err := os.Lstat(path); err == nil && info.Size() == reserveSize {
		return
	}
	if err := os.WriteFile(path, make([]byte, reserveSize), 0o600); err != nil {
		os.Remove(path)
	}
}

func (sp *spool) release() { os.Remove(filepath.Join(sp.dir, "reserve")) }

// recover makes the packs that lie in the spool pending again.
func (s *Store) recover() error {
	entries, err := os.ReadDir(s.spool.dir)
	if err != nil {
		return err
	}
	for _, e := range entries {
		if strings.HasSuffix(e.Name(), damagedSuffix) {
			s.setAside++ // by an earlier run, which may have ended at that
		}
		base, ok := strings.CutSuffix(e.Name(), packSuffix)
		if !ok {
			continue
		}
		d, err := parseDigest(base)
		if err != nil {
			continue
		}
		ref, frames, err := s.readSpooled(d)
		if errors.Is(err, ErrCorrupt) {
			// It was whole when it got its name: the disk has damaged it. What it
			// held is put again, where it still exists.
			s.log.Error("a pack in the spool is damaged and set aside", "pack", d.String(), "error", err)
			path := s.spool.path(d)
			if err := os.Rename(path, path+damagedSuffix); err != nil {
				return err
			}
			s.setAside++
			continue
		}
		if err != nil {
			return err
		}
		n := s.index.addPack(ref)
		p := &s.index.packs[n]
		p.spooled, p.pending = true, true
		s.bytes += ref.size
		for _, f := range frames {
			s.index.table.add(entry{frame: f, pack: n})
		}
	}
	return nil
}

// readSpooled reads what is in a pack of the spool from its directory.
func (s *Store) readSpooled(d digest) (packRef, []frame, error) {
	f, err := os.Open(s.spool.path(d))
	if err != nil {
		return packRef{}, nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return packRef{}, nil, err
	}
	return readPack(s.keys, d, info.Size(), func(buf []byte, offset int64) error {
		_, err := f.ReadAt(buf, offset)
		return err
	})
}

// readPack reads a pack's header and directory.
func readPack(keys *seal.Keys, d digest, size int64, readAt func([]byte, int64) error) (packRef, []frame, error) {
	ref := packRef{digest: d, size: size}
	if size < int64(seal.PackHeader+packTrailer) {
		return ref, nil, fmt.Errorf("%w: a pack of %d bytes", ErrCorrupt, size)
	}
	trailer := make([]byte, packTrailer)
	if err := readAt(ref.header[:], 0); err != nil {
		return ref, nil, err
	}
	if err := readAt(trailer, size-packTrailer); err != nil {
		return ref, nil, err
	}
	p, err := keys.OpenPack(ref.header[:])
	if err != nil {
		return ref, nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	offset, length, err := directoryAt(trailer, size)
	if err != nil {
		return ref, nil, err
	}
	sealed := make([]byte, length)
	if err := readAt(sealed, offset); err != nil {
		return ref, nil, err
	}
	frames, err := openDirectory(p, offset, sealed)
	if err != nil {
		return ref, nil, err
	}
	ref.tree = len(frames) > 0 && classOf(frames[0].kind) == treeClass
	return ref, frames, nil
}

// unspool removes a pack's file, which the caller has made sure is on the
// remote. It needs Store.mu.
func (s *Store) unspool(p *packState) error {
	if !p.spooled {
		return nil
	}
	if err := os.Remove(s.spool.path(p.digest)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("remove from the spool: %w", err)
	}
	p.spooled = false
	s.bytes -= p.size
	s.spool.reserve()
	return nil
}
