package store

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"golang.org/x/sync/errgroup"
)

const (
	maxIndexBlob = 64 << 20
	indexReads   = 8 // index blobs read at once
)

// prefixOf is the directory of an index blob's name, which is also what it is
// sealed as.
func prefixOf(name string) string { return name[:strings.LastIndexByte(name, '/')+1] }

// readBlob reads a whole blob of at most limit bytes.
func readBlob(ctx context.Context, remote blob.Store, name string, limit int64) ([]byte, error) {
	r, err := remote.Get(ctx, name, 0, limit+1)
	if err != nil {
		return nil, remoteError(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		return nil, fmt.Errorf("read %s: %w", name, remoteError(err))
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("%s: %w: longer than %d bytes", name, ErrCorrupt, limit)
	}
	return data, nil
}

// remoteError calls damage what the remote does.
func remoteError(err error) error {
	if errors.Is(err, blob.ErrCorrupt) {
		return fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return err
}

// listNames lists the blobs of a directory.
func listNames(ctx context.Context, remote blob.Store, prefix string) (map[string]struct{}, error) {
	names := map[string]struct{}{}
	err := remote.List(ctx, prefix, "", func(i blob.Info) error {
		names[i.Name] = struct{}{}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list %s: %w", prefix, err)
	}
	return names, nil
}

// Refresh reads index blobs and marks that have come to the remote since. Until
// it was done once, only what lies in the spool counts as stored.
func (s *Store) Refresh(ctx context.Context) error {
	release, err := turn(ctx, s.refreshing)
	if err != nil {
		return err
	}
	defer release()
	return s.refreshNow(ctx)
}

// refreshSince is Refresh unless one has begun after t.
func (s *Store) refreshSince(ctx context.Context, t time.Time) error {
	release, err := turn(ctx, s.refreshing)
	if err != nil {
		return err
	}
	defer release()
	s.mu.Lock()
	done := s.refreshed.After(t)
	s.mu.Unlock()
	if done {
		return nil
	}
	return s.refreshNow(ctx)
}

// refreshNow needs the turn.
func (s *Store) refreshNow(ctx context.Context) error {
	// What a compaction replaces between the listing and the reading is gone
	// then, and what replaced it is in the next listing.
	for attempt := 0; ; attempt++ {
		err := s.refresh(ctx)
		if !errors.Is(err, fs.ErrNotExist) || attempt == 3 {
			return err
		}
	}
}

// listing is the index as it lies on the remote.
type listing struct {
	deltas, runs, marks map[string]struct{}
}

func (s *Store) refresh(ctx context.Context) error {
	var l listing
	var err error
	known, begun := s.knownIndex(), s.o.Now()
	some := len(known) > 0 || len(s.cache.keys("index-")) > 0
	// Deltas before runs: what a compaction moves from the one to the other
	// between the two listings is seen twice or, the old ones being gone, asked
	// for anew.
	if l.deltas, err = listNames(ctx, s.remote, deltasPrefix); err != nil {
		return err
	}
	if l.runs, err = listNames(ctx, s.remote, runsPrefix); err != nil {
		return err
	}
	if l.marks, err = listNames(ctx, s.remote, marksPrefix); err != nil {
		return err
	}
	if some && len(l.deltas)+len(l.runs) == 0 {
		if err := s.stillThere(ctx); err != nil {
			return err
		}
	}
	s.mu.Lock()
	var newRuns, newDeltas, newMarks []string
	for name := range l.runs {
		if _, known := s.index.runs[name]; !known {
			newRuns = append(newRuns, name)
		}
	}
	for name := range l.deltas {
		if _, known := s.index.deltas[name]; !known {
			newDeltas = append(newDeltas, name)
		}
	}
	for name := range l.marks {
		if _, known := s.index.marks[name]; !known {
			newMarks = append(newMarks, name)
		}
	}
	s.mu.Unlock()
	slices.Sort(newDeltas)
	vouched, err := s.readMarks(ctx, newMarks)
	if err != nil {
		return err
	}
	runs, err := s.readRuns(ctx, newRuns)
	if err != nil {
		return err
	}
	if err := s.readDeltas(ctx, newDeltas); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range runs {
		s.index.runs[r.name] = r
	}
	s.forget(known, l)
	s.index.vouched = vouched
	s.refreshed = begun
	return nil
}

// stillThere tells whether a remote that lists no index, of which some is known
// or cached, is to be believed. Where a disk is not mounted, or everything was
// moved away, nothing is listed either, and nothing must be forgotten for that.
func (s *Store) stillThere(ctx context.Context) error {
	_, err := s.remote.Stat(ctx, configName)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: it does not hold the repository any more", blob.ErrOffline)
	}
	return err
}

// knownIndex is the names of the index blobs that were known before a listing:
// what comes meanwhile need not be in it.
func (s *Store) knownIndex() map[string]struct{} {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := maps.Clone(s.index.deltas)
	for name := range s.index.runs {
		known[name] = struct{}{}
	}
	return known
}

// forget drops what was known and is not on the remote any more. It needs mu.
func (s *Store) forget(known map[string]struct{}, l listing) {
	gone := func(names map[string]struct{}) func(string) bool {
		return func(name string) bool {
			_, was := known[name]
			_, is := names[name]
			if was && !is {
				s.cache.drop(indexKey(name))
			}
			return was && !is
		}
	}
	isGone := gone(l.runs)
	for name, r := range s.index.runs {
		if isGone(name) {
			for _, f := range r.fences {
				s.cache.drop(indexKey(shardsPrefix + f.shard.String()))
			}
			delete(s.index.runs, name)
		}
	}
	s.index.dropDeltas(gone(l.deltas))
}

// readRuns reads fence tables. A damaged one is left out: what it names is
// uploaded again when it is needed, and check tells.
func (s *Store) readRuns(ctx context.Context, names []string) ([]*run, error) {
	var runs []*run
	for _, name := range names {
		plain, err := s.readIndex(ctx, name)
		if errors.Is(err, ErrCorrupt) {
			s.log.Error("a part of the index is damaged", "error", err)
			continue
		}
		if err != nil {
			return nil, err
		}
		r, err := decodeRun(name, plain)
		if err != nil {
			s.log.Error("a part of the index is damaged", "blob", name, "error", err)
			continue
		}
		runs = append(runs, r)
	}
	return runs, nil
}

// readDeltas reads deltas, several at once.
func (s *Store) readDeltas(ctx context.Context, names []string) error {
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(indexReads)
	var mu sync.Mutex // one section is added at a time
	for _, name := range names {
		g.Go(func() error {
			sec, err := s.readSection(ctx, name)
			if errors.Is(err, ErrCorrupt) {
				s.log.Error("a part of the index is damaged", "error", err)
				return nil
			}
			if err != nil {
				return err
			}
			mu.Lock()
			defer mu.Unlock()
			s.mu.Lock()
			defer s.mu.Unlock()
			s.index.addSection(name, sec)
			return nil
		})
	}
	return g.Wait()
}

// loadCached takes the index from the cache while the remote is away.
func (s *Store) loadCached() error {
	for _, key := range s.cache.keys("index-delta/") {
		name := strings.Replace(key, "index-", "index/", 1)
		data := s.cache.get(key)
		if data == nil {
			continue
		}
		plain, err := s.openIndex(name, data)
		if err != nil {
			s.cache.drop(key)
			continue
		}
		if sec, err := decodeSection(plain); err == nil {
			s.mu.Lock()
			s.index.addSection(name, sec)
			s.mu.Unlock()
		}
	}
	for _, key := range s.cache.keys("index-run/") {
		name := strings.Replace(key, "index-", "index/", 1)
		data := s.cache.get(key)
		if data == nil {
			continue
		}
		plain, err := s.openIndex(name, data)
		if err != nil {
			s.cache.drop(key)
			continue
		}
		if r, err := decodeRun(name, plain); err == nil {
			s.mu.Lock()
			s.index.runs[name] = r
			s.mu.Unlock()
		}
	}
	return nil
}

// Learn takes the packs and index of another machine's small round out of an
// event, so that reading them needs no request.
func (s *Store) Learn(ctx context.Context, blobs []blob.Blob) error {
	for _, b := range blobs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := s.learn(b); err != nil {
			return fmt.Errorf("learn from an event: %w", err)
		}
	}
	return nil
}

func (s *Store) learn(b blob.Blob) error {
	switch {
	case strings.HasPrefix(b.Name, packsPrefix):
		d, err := parsePackName(b.Name)
		if err != nil {
			return err
		}
		if hashOf(b.Data) != d {
			return fmt.Errorf("%s: %w: its content is not what it is named by", b.Name, ErrCorrupt)
		}
		s.blocks.learn(d, b.Data)
	case strings.HasPrefix(b.Name, deltasPrefix):
		plain, err := s.openIndex(b.Name, b.Data)
		if err != nil {
			return err
		}
		sec, err := decodeSection(plain)
		if err != nil {
			return fmt.Errorf("%s: %w: %w", b.Name, ErrCorrupt, err)
		}
		s.cache.put(indexKey(b.Name), b.Data)
		s.mu.Lock()
		defer s.mu.Unlock()
		if _, known := s.index.deltas[b.Name]; !known {
			s.index.addSection(b.Name, sec)
		}
	}
	return nil
}
