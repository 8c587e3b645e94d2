package store

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/syncfs/syncfs/internal/blob"
)

// RebuildIndex makes the index anew from the directories of all packs, and
// removes the old one when the new one stands. Packs whose directory is damaged
// are reported; of what the old index says is in them, only what can be read is
// taken over.
func (s *Store) RebuildIndex(ctx context.Context, progress func(done, total int64), report func(Problem)) error {
	old := map[string]struct{}{}
	if err := s.remote.List(ctx, "index/", "", func(i blob.Info) error {
		old[i.Name] = struct{}{}
		return nil
	}); err != nil {
		return fmt.Errorf("rebuild the index: %w", err)
	}
	packs, err := s.listPacks(ctx)
	if err != nil {
		return fmt.Errorf("rebuild the index: %w", err)
	}
	var refs []packRef
	var entries []entry
	kept := map[string]struct{}{}
	flush := func() error {
		if len(refs) == 0 {
			return nil
		}
		name, sealed, err := s.sealSection(deltasPrefix, refs, entries)
		if err != nil {
			return err
		}
		kept[name] = struct{}{}
		refs, entries = nil, nil
		return s.putIndex(ctx, name, sealed)
	}
	for i, info := range packs {
		ref, frames, err := s.remoteDirectory(ctx, info)
		if errors.Is(err, ErrCorrupt) {
			report(Problem{Blob: info.Name, Err: err})
			if ref, frames, err = s.readableFrames(ctx, info); err == nil && len(frames) == 0 {
				continue
			}
		}
		if err != nil {
			return fmt.Errorf("rebuild the index: %w", err)
		}
		if len(entries)+len(frames) > deltaEntries {
			if err := flush(); err != nil {
				return fmt.Errorf("rebuild the index: %w", err)
			}
		}
		for _, f := range frames {
			entries = append(entries, entry{frame: f, pack: uint32(len(refs))})
		}
		refs = append(refs, ref)
		if progress != nil {
			progress(int64(i+1), int64(len(packs)))
		}
	}
	if err := flush(); err != nil {
		return fmt.Errorf("rebuild the index: %w", err)
	}
	// Tables before shards, as names of runs sort before those of shards.
	for _, name := range slices.Sorted(maps.Keys(old)) {
		if _, keep := kept[name]; keep {
			continue
		}
		if err := s.remote.Delete(ctx, name); err != nil {
			return fmt.Errorf("rebuild the index: %w", err)
		}
	}
	return s.Refresh(ctx)
}

// remoteDirectory reads what is in a pack from its directory.
func (s *Store) remoteDirectory(ctx context.Context, info blob.Info) (packRef, []frame, error) {
	d, err := parsePackName(info.Name)
	if err != nil {
		return packRef{}, nil, fmt.Errorf("%w: %w", ErrCorrupt, err)
	}
	return readPack(s.keys, d, info.Size, func(buf []byte, offset int64) error {
		return readFull(ctx, s.remote, info.Name, buf, offset)
	})
}

// readableFrames is what of a pack without a directory the index names and can
// be opened.
func (s *Store) readableFrames(ctx context.Context, info blob.Info) (packRef, []frame, error) {
	d, err := parsePackName(info.Name)
	if err != nil {
		return packRef{}, nil, nil // it is no pack
	}
	data, err := readBlob(ctx, s.remote, info.Name, maxPack)
	if isMissing(err) {
		return packRef{}, nil, nil
	}
	if err != nil {
		return packRef{}, nil, err
	}
	ref, all, err := s.indexedFrames(ctx, d)
	if err != nil {
		return packRef{}, nil, err
	}
	ref.size = int64(len(data))
	slices.SortFunc(all, func(a, b frame) int { return int(a.offset) - int(b.offset) })
	all = slices.Compact(all) // a delta and a run may both name it
	var frames []frame
	for _, f := range all {
		end := int64(f.offset) + int64(f.length)
		if end > ref.size {
			continue
		}
		if _, err := s.open(place{entry: entry{frame: f}, ref: ref}, f.kind, f.id, data[f.offset:end]); err == nil {
			frames = append(frames, f)
		}
	}
	return ref, frames, nil
}
