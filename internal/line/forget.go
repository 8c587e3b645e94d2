package line

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/syncfs/syncfs/internal/chunk"
)

// ErrNewest is the newest snapshot, which a folder's head refers to: it cannot be
// forgotten.
var ErrNewest = errors.New("the newest version cannot be forgotten")

// Forget removes the records of snapshots. Their chunks stay until a prune. It
// may be stopped, and run beside folds, commits and other Forgets: no record is
// gone that nobody wanted to forget, and when it returns those of ids are gone.
// ErrNewest where one of them is the head's.
func (l *Lines) Forget(ctx context.Context, folder string, ids map[chunk.ID]struct{}) error {
	if len(ids) == 0 {
		return nil
	}
	for range maxRestarts {
		head, err := l.Folder(ctx, folder)
		if err != nil {
			return fmt.Errorf("forget: %w", err)
		}
		if _, ok := ids[head.Snapshot]; ok {
			return fmt.Errorf("forget snapshot %v of folder %q: %w", head.Instant, head.Name, ErrNewest)
		}
		left, err := l.forgetOnce(ctx, folder, ids)
		if err != nil {
			return fmt.Errorf("forget snapshots of folder %s: %w", folder, err)
		}
		if !left {
			return nil
		}
		// A fold that ran meanwhile may have carried some of them on: look again.
	}
	return fmt.Errorf("forget snapshots of folder %s: others change its records all the time", folder)
}

// forgetOnce removes what it finds of ids, and tells whether that was anything.
func (l *Lines) forgetOnce(ctx context.Context, folder string, ids map[chunk.ID]struct{}) (found bool, err error) {
	loose, err := l.loose(ctx, folder, 0)
	if err != nil {
		return false, err
	}
	all, err := l.allSegments(ctx, folder)
	if err != nil {
		return false, err
	}
	for _, s := range outermost(all) {
		changed, err := l.thin(ctx, s, all, ids)
		if err != nil {
			return found, err
		}
		found = found || changed
	}
	var gone []recordKey
	for _, k := range loose {
		if _, ok := ids[k.id]; ok {
			gone = append(gone, k)
		}
	}
	err = each(ctx, deletersAtOnce, gone, func(ctx context.Context, k recordKey) error {
		return l.remote.Delete(ctx, k.name())
	})
	return found || len(gone) > 0, err
}

// thin makes a segment anew without the records of ids. What stays is on the
// remote, within the range of the old one and so out of date, before that one is
// removed: whatever of this is cut off, no record is missing.
func (l *Lines) thin(ctx context.Context, s segment, all []segment, ids map[chunk.ID]struct{}) (changed bool, err error) {
	records, err := l.readSegment(ctx, s)
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil // replaced meanwhile
	}
	if err != nil {
		return false, err // also of a damaged record: it would be lost with the segment
	}
	kept := slices.DeleteFunc(slices.Clone(records), func(r Recorded) bool {
		_, drop := ids[r.SnapshotID]
		return drop
	})
	if len(kept) == len(records) {
		return false, nil
	}
	parts, err := l.putParts(ctx, s, kept)
	if err != nil {
		return false, err
	}
	for _, o := range all {
		if o != s && s.holds(o) && !slices.Contains(parts, o) {
			if err := l.remote.Delete(ctx, o.name()); err != nil {
				return false, err
			}
		}
	}
	return true, l.remote.Delete(ctx, s.name())
}

// putParts puts the records that stay of a segment into smaller ones, or, where
// there can be none, beside them.
func (l *Lines) putParts(ctx context.Context, s segment, kept []Recorded) (parts []segment, err error) {
	for _, part := range split(s, kept) {
		p := segment{folder: s.folder, from: part[0].Number, to: part[len(part)-1].Number}
		sealed, err := l.keys.SealBlob(kindLog, p.name(), EncodeSegment(part))
		if err != nil {
			return nil, err
		}
		err = l.put(ctx, p.name(), sealed)
		if errors.Is(err, fs.ErrExist) { // of one that was cut off, or of another machine
			var there []Recorded
			if there, err = l.readSegment(ctx, p); err == nil && !includes(there, part) {
				err = l.putLoose(ctx, s.folder, part)
			}
		}
		if err != nil {
			return nil, err
		}
		parts = append(parts, p)
	}
	if len(parts) == 0 {
		err = l.putLoose(ctx, s.folder, kept)
	}
	return parts, err
}

// split cuts records between numbers so that no part has the range of s; none
// where that cannot be.
func split(s segment, kept []Recorded) [][]Recorded {
	n := len(kept)
	if n == 0 || s.from == s.to {
		return nil
	}
	if kept[0].Number > s.from || kept[n-1].Number < s.to {
		return [][]Recorded{kept}
	}
	at := n / 2
	for at < n && kept[at].Number == kept[at-1].Number {
		at++
	}
	if at == n {
		for at = n / 2; kept[at].Number == kept[at-1].Number; {
			at-- // it ends: the first and the last have other numbers
		}
	}
	return [][]Recorded{kept[:at], kept[at:]}
}

func (l *Lines) putLoose(ctx context.Context, folder string, records []Recorded) error {
	return each(ctx, deletersAtOnce, records, func(ctx context.Context, r Recorded) error {
		sealed, err := l.sealRecord(folder, r.Number, r.SnapshotID, r.Encode())
		if err != nil {
			return err
		}
		if err := l.put(ctx, r.key(folder).name(), sealed); err != nil && !errors.Is(err, fs.ErrExist) {
			return err
		}
		return nil
	})
}

// includes tells whether all of part are among records.
func includes(records, part []Recorded) bool {
	have := map[chunk.ID]struct{}{}
	for _, r := range records {
		have[r.SnapshotID] = struct{}{}
	}
	return !slices.ContainsFunc(part, func(r Recorded) bool {
		_, ok := have[r.SnapshotID]
		return !ok
	})
}

// AllRecords is Records for who must not miss one that is moved from one object
// to another meanwhile: it reads them again until nothing was. fn may see a
// snapshot more than once.
func (l *Lines) AllRecords(ctx context.Context, folder string, fn func(Recorded) error) error {
	before, err := l.allSegments(ctx, folder)
	for range maxRestarts {
		if err != nil {
			return err
		}
		rerr := l.Records(ctx, folder, 0, false, fn)
		if rerr != nil && !errors.Is(rerr, ErrDamaged) {
			return rerr
		}
		var after []segment
		if after, err = l.allSegments(ctx, folder); err == nil && slices.Equal(before, after) {
			return rerr
		}
		before = after
	}
	return fmt.Errorf("read the snapshots of folder %s: others change its records all the time", folder)
}
