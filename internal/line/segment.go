package line

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/canon"
	"github.com/syncfs/syncfs/versions"
)

// A log segment holds many snapshot records in one object,
// log/FOLDER/FROM-TO: those with the numbers FROM to TO that were there when it
// was made.
const (
	segmentVersion  = 1
	segmentRecords  = 10_000
	segmentBytes    = 16 << 20 // plain; one record more may go beyond
	maxSegment      = segmentBytes + maxRecord
	smallSegment    = 1000 // the last segment is made anew together with more records while it has fewer
	deletersAtOnce  = 8
	minFold         = 2 // loose records that are worth a segment
	segmentOverhead = 64
)

type segment struct {
	folder   string
	from, to uint64
}

func (s segment) name() string { return fmt.Sprintf("log/%s/%016x-%016x", s.folder, s.from, s.to) }

func parseSegment(name string) (s segment, ok bool) {
	parts := strings.Split(name, "/")
	if len(parts) != 3 {
		return segment{}, false
	}
	s.folder = parts[1]
	if n, err := fmt.Sscanf(parts[2], "%016x-%016x", &s.from, &s.to); n != 2 || err != nil || s.name() != name || s.to < s.from {
		return segment{}, false
	}
	return s, true
}

// segments lists the segments in order. One that lies within another is left
// out: the other was made from it and more.
func (l *Lines) segments(ctx context.Context, folder string) ([]segment, error) {
	all, err := l.allSegments(ctx, folder)
	if err != nil {
		return nil, err
	}
	return outermost(all), nil
}

// holds tells whether o is within the range of s.
func (s segment) holds(o segment) bool { return s.from <= o.from && s.to >= o.to }

// outermost leaves out segments that lie within others.
func outermost(all []segment) []segment {
	return slices.DeleteFunc(slices.Clone(all), func(s segment) bool {
		return slices.ContainsFunc(all, func(o segment) bool { return o != s && o.holds(s) })
	})
}

func (l *Lines) allSegments(ctx context.Context, folder string) ([]segment, error) {
	var list []segment
	err := l.remote.List(ctx, "log/"+folder+"/", "", func(i blob.Info) error {
		if s, ok := parseSegment(i.Name); ok {
			list = append(list, s)
		}
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("list log segments: %w", err)
	}
	slices.SortFunc(list, func(a, b segment) int { return cmp.Or(cmp.Compare(a.from, b.from), cmp.Compare(a.to, b.to)) })
	return list, nil
}

// EncodeSegment writes the records of a log segment, oldest first.
func EncodeSegment(records []Recorded) []byte {
	b := []byte{segmentVersion}
	b = canon.Uvarint(b, uint64(len(records)))
	for _, r := range records {
		b = canon.Uvarint(b, r.Number)
		b = canon.Int64(b, r.Received.UnixNano())
		b = canon.String(b, r.Encode())
	}
	return b
}

// DecodeSegment reads what EncodeSegment wrote. A record that cannot be read
// does not keep the others from being read: the error names it.
func DecodeSegment(data []byte) ([]Recorded, error) {
	d := canon.NewDecoder(data)
	if v := d.Byte(); d.Err() == nil && v != segmentVersion {
		return nil, fmt.Errorf("log segment of format %d, but this program knows %d only: update it", v, segmentVersion)
	}
	var records []Recorded
	var bad []error
	for range d.Count(math.MaxInt32, 10) {
		number := d.Uvarint(math.MaxUint64)
		received := time.Unix(0, d.Int64()).UTC()
		plain := d.Bytes(maxRecord)
		if d.Err() != nil {
			break
		}
		r, err := decodeRecord(plain, number, received, versions.SnapshotID(plain))
		if err != nil {
			bad = append(bad, fmt.Errorf("snapshot %d: %w", number, err))
			continue
		}
		records = append(records, *r)
	}
	if err := d.Done(); err != nil {
		bad = append(bad, fmt.Errorf("decode a log segment: %w", err))
	}
	return records, errors.Join(bad...)
}

// readSegment reads one segment; ErrDamaged (with what is readable),
// io/fs.ErrNotExist.
func (l *Lines) readSegment(ctx context.Context, s segment) ([]Recorded, error) {
	data, err := l.read(ctx, s.name(), maxSegment)
	if err != nil {
		return nil, err
	}
	plain, err := l.keys.OpenBlob(kindLog, s.name(), data)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", s.name(), ErrDamaged, err)
	}
	records, err := DecodeSegment(plain)
	if err != nil {
		return records, fmt.Errorf("%s: %w: %w", s.name(), ErrDamaged, err)
	}
	return records, nil
}

// Fold moves the records that the remote received before olderThan from objects
// of their own into log segments, so that a new machine reads a long history in
// few requests. It may be stopped, or run twice at once: a record is removed
// only after a segment that holds it is on the remote. A damaged record stays
// where it is and is named in the error (ErrDamaged).
func (l *Lines) Fold(ctx context.Context, id string, olderThan time.Time) error {
	loose, err := l.loose(ctx, id, 0)
	if err != nil {
		return fmt.Errorf("fold folder %s: %w", id, err)
	}
	old := slices.IndexFunc(loose, func(k recordKey) bool { return !k.received.Before(olderThan) })
	if old >= 0 { // a number is folded whole: others of it may follow
		for old > 0 && old < len(loose) && loose[old-1].number == loose[old].number {
			old--
		}
		loose = loose[:old]
	}
	segments, err := l.segments(ctx, id)
	if err != nil {
		return fmt.Errorf("fold folder %s: %w", id, err)
	}
	f := &folder{l: l, id: id, segments: segments}
	if err := f.run(ctx, loose); err != nil {
		return fmt.Errorf("fold folder %s: %w", id, err)
	}
	return errors.Join(f.bad...)
}

// folder makes segments of one folder.
type folder struct {
	l        *Lines
	id       string
	segments []segment
	bad      []error
}

func (f *folder) run(ctx context.Context, loose []recordKey) error {
	// What lies in the range of a segment is left over from a fold that was cut.
	for _, s := range f.segments {
		inside := func(k recordKey) bool { return k.number >= s.from && k.number <= s.to }
		if !slices.ContainsFunc(loose, inside) {
			continue
		}
		records, err := f.l.readSegment(ctx, s)
		if err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
		if err := f.remove(ctx, records); err != nil {
			return err
		}
		loose = slices.DeleteFunc(loose, inside)
	}
	if len(loose) < minFold {
		return nil
	}
	var open []Recorded // of the segment that is being filled
	size := 0
	var replaced []segment
	if n := len(f.segments); n > 0 && f.segments[n-1].to < loose[0].number {
		last := f.segments[n-1]
		records, err := f.l.readSegment(ctx, last)
		if err == nil && len(records) < smallSegment {
			open, replaced = records, []segment{last}
			size = len(EncodeSegment(records))
		} else if err != nil && !errors.Is(err, ErrDamaged) {
			return err
		}
	}
	for len(loose) > 0 {
		n := min(fetchWindow, len(loose))
		for n < len(loose) && loose[n].number == loose[n-1].number {
			n++
		}
		r := &recordReader{l: f.l, folder: f.id}
		records, err := r.fetch(ctx, loose[:n], nil)
		if err != nil {
			if errors.Is(err, errGone) {
				return nil // another machine folds
			}
			return err
		}
		f.bad = append(f.bad, r.bad...)
		loose = loose[n:]
		for i, rec := range records {
			if rec == nil {
				continue
			}
			full := len(open) >= segmentRecords || size >= segmentBytes
			if full && open[len(open)-1].Number != rec.Number {
				if err := f.store(ctx, open, replaced); err != nil {
					return err
				}
				open, replaced, size = nil, nil, 0
			}
			open = append(open, *records[i])
			size += len(rec.Encode()) + segmentOverhead
		}
	}
	if len(open) < minFold {
		return nil
	}
	return f.store(ctx, open, replaced)
}

// store puts a segment and then removes what it stands for.
func (f *folder) store(ctx context.Context, records []Recorded, replaced []segment) error {
	s := segment{folder: f.id, from: records[0].Number, to: records[len(records)-1].Number}
	sealed, err := f.l.keys.SealBlob(kindLog, s.name(), EncodeSegment(records))
	if err != nil {
		return err
	}
	// What was forgotten since it was read must not come back. (In the moment
	// between this look and the put it still may: then it is forgotten again.)
	if same, err := f.undisturbed(ctx, records, replaced); err != nil || !same {
		return err
	}
	err = f.l.put(ctx, s.name(), sealed)
	if errors.Is(err, fs.ErrExist) { // another machine's: only what is in that one may go
		records, err = f.l.readSegment(ctx, s)
		replaced = nil
	}
	if err != nil {
		return err
	}
	if err := f.remove(ctx, records); err != nil {
		return err
	}
	for _, old := range replaced {
		if old == s {
			continue
		}
		if err := f.l.remote.Delete(ctx, old.name()); err != nil {
			return err
		}
	}
	return nil
}

// undisturbed tells whether everything that goes into a segment is still where
// it was read. A Forget that removes some of it later finds the segment.
func (f *folder) undisturbed(ctx context.Context, records []Recorded, replaced []segment) (bool, error) {
	loose, err := f.l.loose(ctx, f.id, 0)
	if err != nil {
		return false, err
	}
	there := map[recordKey]struct{}{}
	for _, k := range loose {
		there[k] = struct{}{}
	}
	for _, old := range replaced {
		if _, err := f.l.remote.Stat(ctx, old.name()); errors.Is(err, fs.ErrNotExist) {
			return false, nil
		} else if err != nil {
			return false, err
		}
	}
	for _, r := range records {
		_, ok := there[r.key(f.id)]
		if !ok && !slices.ContainsFunc(replaced, func(s segment) bool { return r.Number >= s.from && r.Number <= s.to }) {
			return false, nil
		}
	}
	return true, nil
}

// remove deletes the loose objects of records that a segment holds.
func (f *folder) remove(ctx context.Context, records []Recorded) error {
	for part := range slices.Chunk(records, fetchWindow) {
		if err := each(ctx, deletersAtOnce, part, func(ctx context.Context, r Recorded) error {
			return f.l.remote.Delete(ctx, r.key(f.id).name())
		}); err != nil {
			return err
		}
	}
	return nil
}
