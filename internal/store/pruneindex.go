package store

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"time"
)

// errIndexMoved is a pass over the index that a compaction has disturbed.
var errIndexMoved = errors.New("the index is being compacted by others all the time")

// passes calls fn for every place that the index on the remote tells of, after
// begin; from the beginning where the index was compacted meanwhile, so that
// nothing is missed. A part that cannot be read is an error: of what is not
// known nothing may be deleted.
func (p *pruner) passes(ctx context.Context, begin func(), fn func(packRef, entry) error) error {
	for try := range pruneTries {
		begin()
		err := p.pass(ctx, fn)
		if !errors.Is(err, errIndexMoved) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(time.Duration(try) * 10 * time.Millisecond):
		}
	}
	return errIndexMoved
}

func (p *pruner) pass(ctx context.Context, fn func(packRef, entry) error) error {
	s := p.s
	// Deltas before runs: what moves from the one to the other meanwhile is seen
	// twice, or missed when it is read.
	deltas, err := listNames(ctx, s.remote, deltasPrefix)
	if err != nil {
		return err
	}
	runs, err := listNames(ctx, s.remote, runsPrefix)
	if err != nil {
		return err
	}
	done, total := int64(0), int64(len(deltas))
	section := func(name string) error {
		sec, err := s.readSection(ctx, name)
		if err != nil {
			return err
		}
		for i := range sec.n {
			e := sec.at(i)
			if err := fn(sec.packs[e.pack], e); err != nil {
				return err
			}
		}
		done++
		p.o.Progress("reading the index", done, total)
		return nil
	}
	for name := range deltas {
		if err := section(name); err != nil {
			return err
		}
	}
	for name := range runs {
		plain, err := s.readIndex(ctx, name)
		if err != nil {
			return err
		}
		r, err := decodeRun(name, plain)
		if err != nil {
			return fmt.Errorf("%s: %w: %w", name, ErrCorrupt, err)
		}
		total += int64(len(r.fences))
		for _, f := range r.fences {
			if err := section(shardsPrefix + f.shard.String()); err != nil {
				return err
			}
		}
	}
	// The lists may have been made while a compaction was between its steps.
	after, err := listNames(ctx, s.remote, runsPrefix)
	if err != nil {
		return err
	}
	if !maps.Equal(runs, after) {
		return errIndexMoved
	}
	return nil
}

// tidyIndex takes out of the index what was deleted, by this prune or by one
// that was cut off. Until then it names packs that are gone, which are marked:
// no writer relies on them.
func (p *pruner) tidyIndex(ctx context.Context) error {
	if !p.stale {
		return nil
	}
	for i := range p.packs {
		if k := &p.packs[i]; k.doomed && !k.rescued {
			p.extra[k.digest] = false
			delete(p.byName, k.digest)
		}
	}
	for range pruneTries {
		err := p.rewriteIndex(ctx)
		if !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil // others compact it; the next prune looks again
}

func (p *pruner) rewriteIndex(ctx context.Context) error {
	s := p.s
	p.o.Progress("writing the index", 0, 0)
	if err := p.refresh(ctx); err != nil {
		return err
	}
	sources, replaces, err := s.wholeIndex(ctx)
	if err != nil {
		return err
	}
	gone := func(ref packRef) (bool, error) {
		if _, listed := p.byName[ref.digest]; listed || !p.isMarked(ref.digest) {
			return false, nil
		}
		there, err := p.exists(ctx, ref.digest)
		return !there, err
	}
	if err := s.mergeIndex(ctx, sources, replaces, gone); err != nil {
		return err
	}
	return s.Refresh(ctx)
}

// wholeIndex is all deltas and runs, to be merged.
func (s *Store) wholeIndex(ctx context.Context) (sources sourceHeap, replaces []string, err error) {
	s.mu.Lock()
	deltas := slices.Sorted(maps.Keys(s.index.deltas))
	runs := s.runList()
	s.mu.Unlock()
	for _, name := range deltas {
		sec, err := s.readSection(ctx, name)
		if err != nil {
			return nil, nil, err
		}
		sources, replaces = append(sources, &source{sec: sec}), append(replaces, name)
	}
	for _, r := range runs {
		sources, replaces = append(sources, s.runSource(ctx, r)), append(replaces, r.name)
	}
	return sources, replaces, nil
}
