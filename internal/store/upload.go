package store

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"slices"
	"sync"

	"github.com/syncfs/syncfs/internal/blob"
	"golang.org/x/sync/errgroup"
)

const (
	uploadBatch  = 16        // packs, after which their index is sent too
	deltaEntries = 32 << 10  // chunks in one index blob
	spoolKept    = 256 << 20 // uploaded packs stay in the spool until a head has them, while it is below this
)

// Upload puts the pending packs and then their index on the remote, several at
// once, telling progress (bytes sent since the last call). It may run while
// Put goes on: then it sends what is complete so far.
func (s *Store) Upload(ctx context.Context, progress func(bytes int64)) error {
	release, err := turn(ctx, s.uploading)
	if err != nil {
		return err
	}
	defer release()
	if progress == nil {
		progress = func(int64) {}
	}
	for {
		packs, unindexed := s.toUpload()
		if len(packs) == 0 && !unindexed {
			return nil
		}
		if err := s.uploadPacks(ctx, packs, progress); err != nil {
			return err
		}
		if err := s.uploadIndex(ctx, progress); err != nil {
			return err
		}
		if err := s.freeUploaded(); err != nil {
			return err
		}
	}
}

// toUpload returns the next packs that are not on the remote, and whether there
// are any there that no index blob names.
func (s *Store) toUpload() (packs []packState, unindexed bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.index.packs {
		p := &s.index.packs[i]
		if !p.pending || p.open != nil {
			continue
		}
		if p.uploaded {
			unindexed = unindexed || !p.indexed
		} else if len(packs) < uploadBatch {
			packs = append(packs, *p)
		}
	}
	return packs, unindexed
}

func (s *Store) uploadPacks(ctx context.Context, packs []packState, progress func(int64)) error {
	var mu sync.Mutex // progress is called by one goroutine at a time
	tell := func(n int64) {
		mu.Lock()
		defer mu.Unlock()
		progress(n)
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(uploads)
	for _, p := range packs {
		g.Go(func() error {
			if err := s.uploadPack(ctx, p, tell); err != nil {
				return fmt.Errorf("upload %s: %w", packName(p.digest), err)
			}
			s.mu.Lock()
			defer s.mu.Unlock()
			if n, ok := s.index.byName[p.digest]; ok {
				s.index.packs[n].uploaded = true
			}
			return nil
		})
	}
	return g.Wait()
}

func (s *Store) uploadPack(ctx context.Context, p packState, progress func(int64)) error {
	f, err := s.openSpooled(p.digest)
	if err != nil {
		if err = s.leftSpool(p.digest, err); errors.Is(err, errGone) {
			return nil // another folder's commit has carried it
		}
		return err
	}
	defer f.Close()
	// Only what is known to be whole gets its name on the remote.
	d, err := hashFile(f, p.size)
	if err != nil {
		return err
	}
	if d != p.digest {
		if err := s.salvage(ctx, p.digest); !errors.Is(err, errGone) {
			return err
		}
		return nil
	}
	r := &progressReader{r: f, tell: progress}
	if err := s.hook("upload pack"); err != nil {
		return err
	}
	if err := s.remote.Put(ctx, packName(p.digest), r, p.size); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	r.reach(p.size)
	return s.hook("pack uploaded")
}

// leftSpool is errGone, instead of err, where a pack that waited for the remote
// has left the spool since, because it is there.
func (s *Store) leftSpool(d digest, err error) error {
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if n, ok := s.index.byName[d]; !ok || !s.index.packs[n].spooled {
		return errGone
	}
	return err
}

// progressReader tells how far a blob has been read, once for each byte however
// often it is read.
type progressReader struct {
	r    io.ReaderAt
	tell func(int64)

	mu  sync.Mutex // guards far
	far int64
}

func (p *progressReader) ReadAt(b []byte, off int64) (int, error) {
	n, err := p.r.ReadAt(b, off)
	p.reach(off + int64(n))
	return n, err
}

func (p *progressReader) reach(to int64) {
	p.mu.Lock()
	n := to - p.far
	p.far = max(p.far, to)
	p.mu.Unlock()
	if n > 0 {
		p.tell(n)
	}
}

// uploadIndex puts index blobs for the packs on the remote that none names yet.
func (s *Store) uploadIndex(ctx context.Context, progress func(int64)) error {
	for {
		digests := s.toIndex()
		if len(digests) == 0 {
			return nil
		}
		name, sealed, n, err := s.makeDelta(ctx, digests)
		if errors.Is(err, errGone) {
			continue
		}
		if err != nil {
			return err
		}
		if err := s.putIndex(ctx, name, sealed); err != nil {
			return err
		}
		progress(int64(len(sealed)))
		s.mu.Lock()
		for _, d := range digests[:n] {
			if i, ok := s.index.byName[d]; ok {
				s.index.packs[i].addDelta(name)
			}
		}
		s.index.deltas[name] = struct{}{}
		s.mu.Unlock()
		s.cache.put(indexKey(name), sealed)
	}
}

// toIndex returns the packs on the remote that no index blob names.
func (s *Store) toIndex() (digests []digest) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for i := range s.index.packs {
		if p := &s.index.packs[i]; p.pending && p.uploaded && !p.indexed {
			digests = append(digests, p.digest)
		}
	}
	return digests
}

func (s *Store) putIndex(ctx context.Context, name string, sealed []byte) error {
	if err := s.hook("upload index"); err != nil {
		return err
	}
	err := s.remote.Put(ctx, name, bytes.NewReader(sealed), int64(len(sealed)))
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fmt.Errorf("upload %s: %w", name, err)
	}
	return s.hook("index uploaded")
}

// makeDelta makes an index blob for the first n of the packs, all in the spool,
// as many as belong into one; errGone when one has left it meanwhile.
func (s *Store) makeDelta(ctx context.Context, digests []digest) (name string, sealed []byte, n int, err error) {
	var packs []packRef
	var entries []entry
	for _, d := range digests {
		ref, frames, err := s.readSpooled(d)
		if errors.Is(err, ErrCorrupt) {
			return "", nil, 0, s.salvage(ctx, d)
		}
		if err != nil {
			return "", nil, 0, fmt.Errorf("index %s: %w", packName(d), s.leftSpool(d, err))
		}
		if n > 0 && len(entries)+len(frames) > deltaEntries {
			break
		}
		for _, f := range frames {
			entries = append(entries, entry{frame: f, pack: uint32(len(packs))})
		}
		packs = append(packs, ref)
		n++
	}
	name, sealed, err = s.sealSection(deltasPrefix, packs, entries)
	return name, sealed, n, err
}

// sealSection makes an index blob. It sorts entries.
func (s *Store) sealSection(prefix string, packs []packRef, entries []entry) (name string, sealed []byte, err error) {
	sealed, err = s.keys.SealBlob(prefix, "", encodeSection(packs, entries))
	if err != nil {
		return "", nil, err
	}
	return contentName(prefix, sealed), sealed, nil
}

// freeUploaded removes packs that are on the remote, and indexed there, from a
// spool that has grown large: a first backup needs no second copy on this disk.
// They stay pending until a head has them.
func (s *Store) freeUploaded() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	kept := int64(spoolKept)
	if s.o.SpoolLimit > 0 {
		kept = min(kept, s.o.SpoolLimit/2)
	}
	for i := range s.index.packs {
		p := &s.index.packs[i]
		if s.bytes <= kept {
			return nil
		}
		if p.pending && p.spooled && p.uploaded && p.indexed {
			if err := s.unspool(p); err != nil {
				return err
			}
			s.full = false
		}
	}
	return nil
}

// smallIndex is the index blob that Small made for the packs of a small round.
type smallIndex struct {
	name   string
	sealed []byte
	packs  []digest
}

// done tells whether none of its packs is pending any more.
func (si *smallIndex) done(x *index) bool {
	for _, d := range si.packs {
		if n, ok := x.byName[d]; ok && x.packs[n].pending {
			return false
		}
	}
	return true
}

// Small returns the pending packs and index as blobs for a one-request commit
// when together they are at most limit bytes, else nil: then call Upload.
func (s *Store) Small(limit int64) ([]blob.Blob, error) {
	for {
		blobs, damaged, err := s.smallRound(limit)
		if damaged != (digest{}) {
			err = s.salvage(context.Background(), damaged)
		}
		if !errors.Is(err, errGone) { // another folder's commit has carried some
			return blobs, err
		}
	}
}

func (s *Store) smallRound(limit int64) (blobs []blob.Blob, damaged digest, err error) {
	s.mu.Lock()
	var send, index []digest
	total := int64(0)
	for i := range s.index.packs {
		p := &s.index.packs[i]
		if !p.pending || p.open != nil {
			continue
		}
		if !p.uploaded {
			send = append(send, p.digest)
			total += p.size
		}
		if !p.indexed {
			index = append(index, p.digest)
		}
	}
	si := s.small
	s.mu.Unlock()
	if total > limit {
		return nil, digest{}, nil
	}
	if len(index) == 0 {
		return []blob.Blob{}, digest{}, nil
	}
	if si == nil || !slices.Equal(si.packs, index) {
		name, sealed, n, err := s.makeDelta(context.Background(), index)
		if err != nil {
			return nil, digest{}, err
		}
		if n < len(index) {
			return nil, digest{}, nil
		}
		si = &smallIndex{name: name, sealed: sealed, packs: index}
	}
	if total+int64(len(si.sealed)) > limit {
		return nil, digest{}, nil
	}
	for _, d := range send {
		data, err := os.ReadFile(s.spool.path(d))
		if err != nil {
			return nil, digest{}, s.leftSpool(d, err)
		}
		if digest(hashOf(data)) != d {
			return nil, d, nil
		}
		blobs = append(blobs, blob.Blob{Name: packName(d), Data: data})
	}
	s.mu.Lock()
	s.small = si
	s.mu.Unlock()
	return append(blobs, blob.Blob{Name: si.name, Data: si.sealed}), digest{}, nil
}
