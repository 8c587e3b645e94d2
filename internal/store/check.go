package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"sync"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"golang.org/x/sync/errgroup"
)

// Problem is one thing that Check found.
type Problem struct {
	Blob  string // the pack or index blob
	Chunk chunk.ID
	Err   error
}

// Check verifies that every pack that the index names is there with its size,
// and every byte of those packs that part names (nil: of none). report is called
// for each problem, by one goroutine at a time; the error is about checking
// itself. What a prune has deleted and not yet taken out of the index is no
// problem.
func (s *Store) Check(ctx context.Context, part func(pack string) bool, progress func(done, total int64), report func(Problem)) error {
	if progress == nil {
		progress = func(int64, int64) {}
	}
	if err := s.Refresh(ctx); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	packs, err := s.listPacks(ctx)
	if err != nil {
		return fmt.Errorf("check: %w", err)
	}
	sizes := make(map[string]int64, len(packs))
	for _, p := range packs {
		sizes[p.Name] = p.Size
	}
	if err := s.checkIndex(ctx, sizes, report); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	if part == nil {
		progress(int64(len(packs)), int64(len(packs)))
		return nil
	}
	packs = slices.DeleteFunc(packs, func(i blob.Info) bool {
		d, err := parsePackName(i.Name)
		return !part(i.Name) || err == nil && s.isMarked(d) // what only marked packs have is read by who needs it
	})
	if err := s.checkPacks(ctx, packs, progress, report); err != nil {
		return fmt.Errorf("check: %w", err)
	}
	return nil
}

// checkIndex reads the whole index and compares it with the packs there are.
func (s *Store) checkIndex(ctx context.Context, sizes map[string]int64, report func(Problem)) error {
	told := map[digest]bool{}
	return s.eachSection(ctx, func(name string, sec *section, err error) error {
		if err != nil {
			report(Problem{Blob: name, Err: err})
			return nil
		}
		bad := make([]error, len(sec.packs))
		for i, ref := range sec.packs {
			size, there := sizes[packName(ref.digest)]
			switch {
			case !there && s.isMarked(ref.digest):
			case !there:
				bad[i] = fmt.Errorf("the pack is missing: %w", fs.ErrNotExist)
			case size != ref.size:
				bad[i] = fmt.Errorf("%w: the pack has %d bytes, not %d", ErrCorrupt, size, ref.size)
			}
			if bad[i] != nil && !told[ref.digest] {
				told[ref.digest] = true
				report(Problem{Blob: packName(ref.digest), Err: bad[i]})
			}
		}
		for i := range sec.n {
			e := sec.at(i)
			if ref := sec.packs[e.pack]; bad[e.pack] != nil {
				report(Problem{Blob: packName(ref.digest), Chunk: e.id, Err: bad[e.pack]})
			} else if int64(e.offset)+int64(e.length) > ref.size {
				report(Problem{Blob: name, Chunk: e.id, Err: fmt.Errorf("%w: a place beyond the end of %s", ErrCorrupt, packName(ref.digest))})
			}
		}
		return nil
	})
}

// eachSection calls fn for every delta and shard on the remote, or for what of
// the index cannot be read.
func (s *Store) eachSection(ctx context.Context, fn func(name string, sec *section, err error) error) error {
	visit := func(name string) error {
		sec, err := s.freshSection(ctx, name)
		if err != nil && !isMissing(err) {
			return err
		}
		return fn(name, sec, err)
	}
	deltas, err := listNames(ctx, s.remote, deltasPrefix)
	if err != nil {
		return err
	}
	for name := range deltas {
		if err := visit(name); err != nil {
			return err
		}
	}
	runs, err := listNames(ctx, s.remote, runsPrefix)
	if err != nil {
		return err
	}
	for name := range runs {
		r, err := s.freshRun(ctx, name)
		if err != nil {
			if !isMissing(err) {
				return err
			}
			if err := fn(name, nil, err); err != nil {
				return err
			}
			continue
		}
		for _, f := range r.fences {
			if err := visit(shardsPrefix + f.shard.String()); err != nil {
				return err
			}
		}
	}
	return nil
}

// freshIndex reads an index blob from the remote itself.
func (s *Store) freshIndex(ctx context.Context, name string) ([]byte, error) {
	data, err := readBlob(ctx, s.remote, name, maxIndexBlob)
	if err != nil {
		return nil, err
	}
	return s.openIndex(name, data)
}

func (s *Store) freshSection(ctx context.Context, name string) (*section, error) {
	plain, err := s.freshIndex(ctx, name)
	if err != nil {
		return nil, err
	}
	sec, err := decodeSection(plain)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrCorrupt, err)
	}
	return sec, nil
}

func (s *Store) freshRun(ctx context.Context, name string) (*run, error) {
	plain, err := s.freshIndex(ctx, name)
	if err != nil {
		return nil, err
	}
	r, err := decodeRun(name, plain)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrCorrupt, err)
	}
	return r, nil
}

func (s *Store) checkPacks(ctx context.Context, packs []blob.Info, progress func(done, total int64), report func(Problem)) error {
	var total, done int64
	for _, p := range packs {
		total += p.Size
	}
	var mu sync.Mutex // guards done, progress, report
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(2)
	for _, p := range packs {
		g.Go(func() error {
			problems, err := s.checkPack(ctx, p)
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			for _, problem := range problems {
				report(problem)
			}
			done += p.Size
			progress(done, total)
			return nil
		})
	}
	return g.Wait()
}

// checkPack reads a whole pack: its digest, its directory, every frame, and
// whether the index knows each of them.
func (s *Store) checkPack(ctx context.Context, info blob.Info) (problems []Problem, err error) {
	tell := func(id chunk.ID, err error) {
		problems = append(problems, Problem{Blob: info.Name, Chunk: id, Err: err})
	}
	d, err := parsePackName(info.Name)
	if err != nil {
		tell(chunk.ID{}, err)
		return problems, nil
	}
	data, err := readBlob(ctx, s.remote, info.Name, maxPack)
	if isMissing(err) {
		tell(chunk.ID{}, err)
		return problems, nil
	}
	if err != nil {
		return nil, err
	}
	if hashOf(data) != d {
		tell(chunk.ID{}, fmt.Errorf("%w: its content is not what it is named by", ErrCorrupt))
	}
	ref, frames, err := readPack(s.keys, d, int64(len(data)), func(buf []byte, offset int64) error {
		copy(buf, data[offset:])
		return nil
	})
	if err != nil {
		tell(chunk.ID{}, err)
		// The index may still know what was in it.
		ref, frames, err = s.indexedFrames(ctx, d)
		if err != nil {
			return nil, err
		}
	}
	for _, f := range frames {
		if err := s.checkFrame(ctx, ref, f, data); err != nil {
			if ctx.Err() != nil {
				return nil, ctx.Err()
			}
			tell(f.id, err)
		}
	}
	return problems, nil
}

func (s *Store) checkFrame(ctx context.Context, ref packRef, f frame, data []byte) error {
	end := int64(f.offset) + int64(f.length)
	if end > int64(len(data)) {
		return fmt.Errorf("%w: the pack ends before it", ErrCorrupt)
	}
	p := place{entry: entry{frame: f}, ref: ref}
	if _, err := s.open(p, f.kind, f.id, data[f.offset:end]); err != nil {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	places, err := s.places(ctx, f.id)
	if err != nil {
		return err
	}
	for _, known := range places {
		if known.ref.digest == ref.digest && known.offset == f.offset && known.length == f.length || known.open != nil || known.spooled {
			return nil
		}
	}
	return errors.New("the index does not know it is here")
}

// indexedFrames is what the index says is in a pack, and of it.
func (s *Store) indexedFrames(ctx context.Context, d digest) (ref packRef, frames []frame, err error) {
	ref.digest = d
	err = s.eachSection(ctx, func(_ string, sec *section, err error) error {
		if err != nil {
			return nil // told before
		}
		for i := range sec.n {
			if e := sec.at(i); sec.packs[e.pack].digest == d {
				ref = sec.packs[e.pack]
				frames = append(frames, e.frame)
			}
		}
		return nil
	})
	return ref, frames, err
}

// listPacks lists the packs on the remote.
func (s *Store) listPacks(ctx context.Context) (packs []blob.Info, err error) {
	err = s.remote.List(ctx, packsPrefix, "", func(i blob.Info) error {
		packs = append(packs, i)
		return nil
	})
	return packs, err
}

// readFull fills buf from a blob; ErrCorrupt when that ends before.
func readFull(ctx context.Context, remote blob.Store, name string, buf []byte, offset int64) error {
	r, err := remote.Get(ctx, name, offset, int64(len(buf)))
	if err != nil {
		return remoteError(err)
	}
	defer r.Close()
	if _, err := io.ReadFull(r, buf); err != nil {
		if err == io.EOF || err == io.ErrUnexpectedEOF {
			err = fmt.Errorf("%w: it is cut short", ErrCorrupt)
		}
		return fmt.Errorf("%s: %w", name, remoteError(err))
	}
	return nil
}

// Stats are sizes of a repository as seen from here.
type Stats struct {
	Packs, Chunks                     int64
	PlainBytes, StoredBytes           int64
	SpoolBytes, CacheBytes, SpoolFull int64 // SpoolFull: 1 when Put is refused for want of room
}

// Stats counts. It reads the index as far as this machine does not hold it.
func (s *Store) Stats(ctx context.Context) (Stats, error) {
	var st Stats
	seen := map[digest]struct{}{}
	pack := func(ref packRef) {
		if _, counted := seen[ref.digest]; !counted {
			seen[ref.digest] = struct{}{}
			st.Packs++
			st.StoredBytes += ref.size
		}
	}
	s.mu.Lock()
	st.SpoolBytes = s.bytes
	if s.putRefused(0) != nil {
		st.SpoolFull = 1
	}
	for i := range s.index.packs {
		if p := &s.index.packs[i]; p.open == nil && p.digest != (digest{}) {
			pack(p.packRef)
		}
	}
	s.index.table.all(func(e entry) {
		st.Chunks++
		st.PlainBytes += int64(e.plain)
	})
	runs := s.runList()
	s.mu.Unlock()
	st.CacheBytes = s.cache.size()
	for _, r := range runs {
		for _, f := range r.fences {
			sec, err := s.readSection(ctx, shardsPrefix+f.shard.String())
			if err != nil {
				return st, fmt.Errorf("stats: %w", err)
			}
			for _, ref := range sec.packs {
				pack(ref)
			}
			for i := range sec.n {
				st.Chunks++
				st.PlainBytes += int64(sec.at(i).plain)
			}
		}
	}
	return st, nil
}
