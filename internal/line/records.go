package line

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"slices"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
	"golang.org/x/sync/errgroup"
)

// Recorded is a snapshot as the remote took it.
type Recorded struct {
	*versions.Snapshot
	SnapshotID chunk.ID
	Number     uint64 // of the head that took it; snapshots beside the line have the number of the head after
	Received   time.Time
}

func decodeRecord(plain []byte, number uint64, received time.Time, id chunk.ID) (*Recorded, error) {
	s, err := versions.DecodeSnapshot(plain)
	if err != nil {
		return nil, err
	}
	if s.ID() != id {
		return nil, fmt.Errorf("it is snapshot %s, not %s", s.ID().Short(), id.Short())
	}
	return &Recorded{Snapshot: s, SnapshotID: id, Number: number, Received: received}, nil
}

// recordKey is what a record's name tells.
type recordKey struct {
	folder   string
	number   uint64
	received time.Time
	id       chunk.ID
}

func parseRecord(name string) (recordKey, error) {
	folder, number, received, id, err := blob.ParseRecordName(name)
	k := recordKey{folder: folder, number: number, received: received}
	if err == nil {
		k.id, err = chunk.ParseID(id)
	}
	return k, err
}

func (k recordKey) name() string {
	return blob.RecordName(k.folder, k.number, k.received, k.id.String())
}

func (k recordKey) compare(o recordKey) int {
	return cmp.Or(cmp.Compare(k.number, o.number), k.received.Compare(o.received), slices.Compare(k.id[:], o.id[:]))
}

func (r *Recorded) key(folder string) recordKey {
	return recordKey{folder: folder, number: r.Number, received: r.Received, id: r.SnapshotID}
}

const (
	fetchers    = 8   // records that are read at once
	fetchWindow = 256 // records held in memory at most, but for a segment
	maxRestarts = 20  // of a listing that maintenance changes meanwhile
	maxRecord   = 8 << 20
)

// Records calls fn for the folder's snapshots with numbers above after, oldest
// first, or newest first when newestFirst. A record that is damaged is left out
// and named in the error, which then is ErrDamaged and comes after all others
// were given. Snapshots that are forgotten meanwhile may be missing.
func (l *Lines) Records(ctx context.Context, id string, after uint64, newestFirst bool, fn func(Recorded) error) error {
	r := &recordReader{l: l, folder: id, after: after, newest: newestFirst, fn: fn}
	for range maxRestarts {
		err := r.run(ctx)
		switch {
		case errors.Is(err, errGone):
			continue // folded since it was listed: list again, and go on where we are
		case err != nil:
			return fmt.Errorf("read the snapshots of folder %s: %w", id, err)
		}
		return errors.Join(r.bad...)
	}
	return fmt.Errorf("read the snapshots of folder %s: the remote lists records that are not there", id)
}

var errGone = errors.New("a record that was listed is gone")

// recordReader gives records in order; last is the one given last.
type recordReader struct {
	l      *Lines
	folder string
	after  uint64
	newest bool
	fn     func(Recorded) error

	last recordKey // zero: none yet
	bad  []error
	told map[string]bool // names in bad
}

// wanted tells whether a record comes after those that were given.
func (r *recordReader) wanted(k recordKey) bool {
	switch {
	case k.number <= r.after:
		return false
	case r.last.number == 0:
		return true
	case r.newest:
		return k.compare(r.last) < 0
	}
	return k.compare(r.last) > 0
}

// run lists what there is and gives what was not given yet. Loose records are
// listed before segments: what a fold removes meanwhile from the one is then
// found in the other.
func (r *recordReader) run(ctx context.Context) error {
	loose, err := r.l.loose(ctx, r.folder, r.after)
	if err != nil {
		return err
	}
	segments, err := r.l.segments(ctx, r.folder)
	if err != nil {
		return err
	}
	if r.newest {
		slices.Reverse(segments)
		slices.Reverse(loose)
	}
	for _, s := range segments {
		if s.to <= r.after {
			continue
		}
		// What lies before this segment, then the segment with what lies in
		// its range but not in it.
		n := 0
		for n < len(loose) && (!r.newest && loose[n].number < s.from || r.newest && loose[n].number > s.to) {
			n++
		}
		if err := r.give(ctx, loose[:n], nil); err != nil {
			return err
		}
		loose = loose[n:]
		n = 0
		for n < len(loose) && loose[n].number >= s.from && loose[n].number <= s.to {
			n++
		}
		records, err := r.l.readSegment(ctx, s)
		if errors.Is(err, fs.ErrNotExist) {
			return errGone
		}
		if errors.Is(err, ErrDamaged) {
			r.damaged(s.name(), err)
		} else if err != nil {
			return err
		}
		if err := r.give(ctx, loose[:n], records); err != nil {
			return err
		}
		loose = loose[n:]
	}
	return r.give(ctx, loose, nil)
}

func (r *recordReader) damaged(name string, err error) {
	if r.told == nil {
		r.told = map[string]bool{}
	}
	if !r.told[name] {
		r.told[name] = true
		r.bad = append(r.bad, err)
	}
}

// give hands on loose records and those of a segment, in order, each once.
func (r *recordReader) give(ctx context.Context, loose []recordKey, folded []Recorded) error {
	have := map[recordKey]*Recorded{}
	keys := make([]recordKey, 0, len(loose)+len(folded))
	for i := range folded {
		k := folded[i].key(r.folder)
		have[k] = &folded[i]
		keys = append(keys, k)
	}
	for _, k := range loose {
		if _, ok := have[k]; !ok {
			keys = append(keys, k)
		}
	}
	keys = slices.DeleteFunc(keys, func(k recordKey) bool { return !r.wanted(k) })
	slices.SortFunc(keys, func(a, b recordKey) int {
		if r.newest {
			return b.compare(a)
		}
		return a.compare(b)
	})
	for part := range slices.Chunk(keys, fetchWindow) {
		records, err := r.fetch(ctx, part, have)
		if err != nil {
			return err
		}
		for i, k := range part {
			if records[i] != nil {
				if err := r.fn(*records[i]); err != nil {
					return err
				}
			}
			r.last = k
		}
	}
	return nil
}

// fetch reads records at once; nil for a damaged one.
func (r *recordReader) fetch(ctx context.Context, keys []recordKey, have map[recordKey]*Recorded) ([]*Recorded, error) {
	out := make([]*Recorded, len(keys))
	bad := make([]error, len(keys))
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(fetchers)
	for i, k := range keys {
		if out[i] = have[k]; out[i] != nil {
			continue
		}
		g.Go(func() error {
			rec, err := r.l.readRecord(ctx, k)
			switch {
			case errors.Is(err, fs.ErrNotExist):
				return errGone
			case errors.Is(err, ErrDamaged):
				bad[i] = err
				return nil
			}
			out[i] = rec
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	for i, err := range bad {
		if err != nil {
			r.damaged(keys[i].name(), err)
		}
	}
	return out, nil
}

// readRecord reads one loose record; ErrDamaged, io/fs.ErrNotExist.
func (l *Lines) readRecord(ctx context.Context, k recordKey) (*Recorded, error) {
	data, err := l.read(ctx, k.name(), maxRecord)
	if err != nil {
		return nil, err
	}
	return l.openRecord(k.name(), data)
}

// read reads a whole object; ErrDamaged where it is longer than it can be, or
// arrives other than it was sent.
func (l *Lines) read(ctx context.Context, name string, limit int64) ([]byte, error) {
	r, err := l.remote.Get(ctx, name, 0, -1)
	var data []byte
	if err == nil {
		data, err = io.ReadAll(io.LimitReader(r, limit+1))
		err = errors.Join(err, r.Close())
	}
	switch {
	case errors.Is(err, blob.ErrCorrupt):
		return nil, fmt.Errorf("%s: %w: %w", name, ErrDamaged, err)
	case err != nil:
		return nil, fmt.Errorf("%s: %w", name, err)
	case int64(len(data)) > limit:
		return nil, fmt.Errorf("%s: %w: longer than %d bytes", name, ErrDamaged, limit)
	}
	return data, nil
}

// loose lists the records that are objects of their own, oldest first.
func (l *Lines) loose(ctx context.Context, folder string, after uint64) ([]recordKey, error) {
	prefix := "snapshots/" + folder + "/"
	from := ""
	if after > 0 {
		from = fmt.Sprintf("%s%016x.", prefix, after) // "." sorts after "-"
	}
	var keys []recordKey
	err := l.remote.List(ctx, prefix, from, func(i blob.Info) error {
		k, err := parseRecord(i.Name)
		if err != nil {
			return nil // not ours: nothing that a program of this format puts there
		}
		keys = append(keys, k)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list snapshots: %w", err)
	}
	return keys, nil
}
