package line_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/versions"
	"pgregory.net/rapid"
)

func numbers(from, to int) (list []string) {
	for i := from; i <= to; i++ {
		list = append(list, fmt.Sprint(i))
	}
	return list
}

func reversed(list []string) []string {
	list = slices.Clone(list)
	slices.Reverse(list)
	return list
}

var ever = time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)

func TestRecordsComeInOrderFromANumberOn(t *testing.T) {
	l, _ := newLines(t)
	f := grow(t, l, create(t, l, "docs"), 30)
	other := grow(t, l, create(t, l, "other"), 3)
	for _, after := range []int{0, 1, 2, 17, 30, 31, 99} {
		want := numbers(max(after, 1), 30) // snapshot 1 has number 2
		if got, err := notes(t, l, f.ID, uint64(after), false); !slices.Equal(must(t, got, err), want) {
			t.Errorf("after %d: %q", after, got)
		}
		if got, err := notes(t, l, f.ID, uint64(after), true); !slices.Equal(must(t, got, err), reversed(want)) {
			t.Errorf("after %d, newest first: %q", after, got)
		}
	}
	var last uint64
	err := l.Records(t.Context(), f.ID, 0, false, func(r line.Recorded) error {
		if r.Number <= last || r.Received.IsZero() || r.SnapshotID != r.Snapshot.ID() || r.Folder != f.ID {
			t.Errorf("%+v", r)
		}
		last = r.Number
		return nil
	})
	if err != nil || last != f.Number {
		t.Errorf("the last is %d: %v", last, err)
	}
	if got, err := notes(t, l, other.ID, 0, false); len(must(t, got, err)) != 3 {
		t.Errorf("the other folder has %q", got)
	}
	stop := errors.New("enough")
	if err := l.Records(t.Context(), f.ID, 0, false, func(line.Recorded) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("%v", err)
	}
}

func TestADamagedRecordIsNamedAndTheOthersAreRead(t *testing.T) {
	l, f := newLines(t)
	folder := grow(t, l, create(t, l, "docs"), 10)
	names := f.names(t, "snapshots/")
	f.replace(t, names[2], func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	f.replace(t, names[5], func(b []byte) []byte { return b[:20] })
	var other []byte
	f.replace(t, names[7], func(b []byte) []byte { other = b; return b })
	f.replace(t, names[8], func([]byte) []byte { return other }) // whole, but not in its place
	for _, newest := range []bool{false, true} {
		want := []string{"1", "2", "4", "5", "7", "8", "10"}
		if newest {
			want = reversed(want)
		}
		got, err := notes(t, l, folder.ID, 0, newest)
		if !slices.Equal(got, want) || !errors.Is(err, line.ErrDamaged) {
			t.Errorf("%q, %v", got, err)
		}
		for _, i := range []int{2, 5, 8} {
			if !strings.Contains(err.Error(), names[i]) {
				t.Errorf("%s is not named in %v", names[i], err)
			}
		}
	}
	// Folding leaves them where they are.
	if err := l.Fold(t.Context(), folder.ID, ever); !errors.Is(err, line.ErrDamaged) {
		t.Errorf("%v", err)
	}
	if left := f.names(t, "snapshots/"); !slices.Equal(left, []string{names[2], names[5], names[8]}) {
		t.Errorf("after folding %q are left", left)
	}
	if got, err := notes(t, l, folder.ID, 0, false); len(got) != 7 || !errors.Is(err, line.ErrDamaged) {
		t.Errorf("after folding: %q, %v", got, err)
	}
}

func TestFoldedRecordsAreReadFromFewObjects(t *testing.T) {
	l, f := newLines(t)
	folder := grow(t, l, create(t, l, "docs"), 40)
	all, err := collect(l, folder.ID)
	must(t, all, err)
	if err := l.Fold(t.Context(), folder.ID, all[25].Received); err != nil {
		t.Fatal(err)
	}
	if loose, logs := f.names(t, "snapshots/"), f.names(t, "log/"); len(loose) != 15 || len(logs) != 1 {
		t.Errorf("%d loose, segments %q", len(loose), logs)
	}
	f.gets = 0
	for _, after := range []int{0, 5, 26, 27, 35} {
		want := numbers(max(after, 1), 40)
		for _, newest := range []bool{false, true} {
			if newest {
				want = reversed(want)
			}
			if got, err := notes(t, l, folder.ID, uint64(after), newest); !slices.Equal(must(t, got, err), want) {
				t.Errorf("after %d, newest first %v: %q", after, newest, got)
			}
		}
	}
	again, err := collect(l, folder.ID)
	must(t, again, err)
	for i := range all {
		if all[i].SnapshotID != again[i].SnapshotID || all[i].Number != again[i].Number || !all[i].Received.Equal(again[i].Received) {
			t.Fatalf("record %d is %+v, was %+v", i, again[i], all[i])
		}
	}
	// A segment that is short yet takes up what follows.
	if err := l.Fold(t.Context(), folder.ID, ever); err != nil {
		t.Fatal(err)
	}
	f.gets = 0
	if got, err := notes(t, l, folder.ID, 0, false); !slices.Equal(must(t, got, err), numbers(1, 40)) || f.gets != 1 {
		t.Errorf("%d reads for %q", f.gets, got)
	}
	if logs := f.names(t, "log/"); len(logs) != 1 {
		t.Errorf("segments %q", logs)
	}
	f.replace(t, f.names(t, "log/")[0], func(b []byte) []byte { b[len(b)/2] ^= 1; return b })
	folder = commit(t, l, folder, "41")
	if got, err := notes(t, l, folder.ID, 0, false); !errors.Is(err, line.ErrDamaged) || !slices.Equal(got, []string{"41"}) {
		t.Errorf("with a damaged segment: %q, %v", got, err)
	}
}

func collect(l *line.Lines, id string) (list []line.Recorded, err error) {
	err = l.Records(context.Background(), id, 0, false, func(r line.Recorded) error {
		list = append(list, r)
		return nil
	})
	return list, err
}

func TestALongHistoryHasSegmentsOfTenThousand(t *testing.T) {
	l, f := newLines(t)
	folder := create(t, l, "docs")
	// Records beside the line are put without moving the head each time.
	const n = 10_500
	s := next(folder, "x")
	for i := range n {
		folder.Number = uint64(i + 1)
		s.Tags = []string{fmt.Sprint(i + 1)}
		if err := l.PutSide(t.Context(), folder, s); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Fold(t.Context(), folder.ID, ever); err != nil {
		t.Fatal(err)
	}
	if loose, logs := f.names(t, "snapshots/"), f.names(t, "log/"); len(loose) != 0 || len(logs) != 2 {
		t.Errorf("%d loose, segments %q", len(loose), logs)
	}
	if got, err := notes(t, l, folder.ID, 0, false); !slices.Equal(must(t, got, err), numbers(1, n)) {
		t.Errorf("%d records", len(got))
	}
}

func TestAFoldThatIsCutIsHarmless(t *testing.T) {
	for cut := range 12 {
		l, f := newLines(t)
		folder := grow(t, l, create(t, l, "docs"), 10)
		crash := errors.New("crash")
		left := cut
		f.deletes = func() error {
			f.mu.Lock()
			defer f.mu.Unlock()
			if left--; left < 0 {
				return crash
			}
			return nil
		}
		err := l.Fold(t.Context(), folder.ID, ever)
		if errors.Is(err, crash) != (cut < 10) {
			t.Fatalf("cut after %d deletes: %v", cut, err)
		}
		f.deletes = nil
		for _, newest := range []bool{false, true} {
			want := numbers(1, 10)
			if newest {
				want = reversed(want)
			}
			if got, err := notes(t, l, folder.ID, 0, newest); !slices.Equal(must(t, got, err), want) {
				t.Errorf("cut after %d deletes: %q", cut, got)
			}
		}
		folder = grow(t, l, folder, 1)
		if err := l.Fold(t.Context(), folder.ID, ever); err != nil {
			t.Fatal(err)
		}
		if got, err := notes(t, l, folder.ID, 0, false); len(must(t, got, err)) != 11 || len(f.names(t, "snapshots/")) > 1 {
			t.Errorf("cut after %d deletes and folded again: %q, loose %q", cut, got, f.names(t, "snapshots/"))
		}
	}
}

func TestReadingGoesOnWhileOthersFold(t *testing.T) {
	for _, newest := range []bool{false, true} {
		l, f := newLines(t)
		folder := grow(t, l, create(t, l, "docs"), 600) // more than are read at once
		var got []string
		err := l.Records(t.Context(), folder.ID, 0, newest, func(r line.Recorded) error {
			if got = append(got, r.Tags[0]); len(got) == 100 {
				return l.Fold(t.Context(), folder.ID, ever)
			}
			return nil
		})
		want := numbers(1, 600)
		if newest {
			want = reversed(want)
		}
		if err != nil || !slices.Equal(got, want) {
			t.Errorf("newest first %v: %d records, %v", newest, len(got), err)
		}
		if len(f.names(t, "snapshots/")) > 0 {
			t.Error("nothing was folded")
		}
	}
}

func TestSnapshotsBesideTheLineAreReadWithTheNextNumber(t *testing.T) {
	l, _ := newLines(t)
	seen := grow(t, l, create(t, l, "docs"), 2)
	side := next(seen, "side")
	for range 2 { // again after a crash
		if err := l.PutSide(t.Context(), seen, side); err != nil {
			t.Fatal(err)
		}
	}
	merge := next(seen, "merge")
	merge.Parents = append(merge.Parents, side.ID())
	head, err := l.Commit(t.Context(), seen, merge, nil)
	if must(t, head, err).Snapshot != merge.ID() {
		t.Errorf("%+v", head)
	}
	if got, err := notes(t, l, seen.ID, seen.Number, false); !slices.Equal(must(t, got, err), []string{"side", "merge"}) {
		t.Errorf("%q", got)
	}
	if err := l.Fold(t.Context(), seen.ID, ever); err != nil {
		t.Fatal(err)
	}
	if got, err := notes(t, l, seen.ID, 0, true); !slices.Equal(must(t, got, err), []string{"merge", "side", "2", "1"}) {
		t.Errorf("%q", got)
	}
}

// Whatever is committed and folded in whatever order, everything is read once.
func TestEveryRecordIsReadOnce(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, _ := newLines(t)
		f := create(t, l, "docs")
		var want []string
		for i := range rapid.IntRange(1, 12).Draw(rt, "steps") {
			switch rapid.IntRange(0, 3).Draw(rt, "step") {
			case 0:
				all, err := collect(l, f.ID)
				if err != nil {
					rt.Fatal(err)
				}
				upto := ever
				if len(all) > 0 && rapid.Bool().Draw(rt, "part") {
					upto = all[rapid.IntRange(0, len(all)-1).Draw(rt, "at")].Received
				}
				if err := l.Fold(context.Background(), f.ID, upto); err != nil {
					rt.Fatal(err)
				}
			case 1:
				note := fmt.Sprint("side ", i)
				if err := l.PutSide(context.Background(), f, next(f, note)); err != nil {
					rt.Fatal(err)
				}
				want = append(want, note)
			default:
				note := fmt.Sprint(i)
				f = commit(t, l, f, note)
				want = append(want, note)
			}
		}
		got, err := notes(t, l, f.ID, 0, false)
		backwards, err2 := notes(t, l, f.ID, 0, true)
		if err != nil || err2 != nil || !slices.Equal(got, reversed(backwards)) {
			rt.Fatalf("%q and backwards %q, %v, %v", got, backwards, err, err2)
		}
		slices.Sort(got)
		slices.Sort(want)
		if !slices.Equal(got, want) {
			rt.Fatalf("read %q, want %q", got, want)
		}
	})
}

func TestBasesOfMachines(t *testing.T) {
	l, f := newLines(t)
	folder := grow(t, l, create(t, l, "docs"), 1)
	put := func(device string, number uint64) {
		t.Helper()
		if err := l.PutBase(t.Context(), folder.ID, line.Base{Device: device, Host: "host of " + device, Number: number, Snapshot: chunk.ID{byte(number)}}); err != nil {
			t.Fatal(err)
		}
	}
	put("laptop", 2)
	put("laptop-2", 5)
	put("laptop", 300)
	put("laptop", 300)
	list, err := l.ListBases(t.Context(), folder.ID)
	must(t, list, err)
	if len(list) != 2 || list[0].Device != "laptop" || list[0].Number != 300 || list[0].Host != "host of laptop" || list[0].Snapshot != (chunk.ID{44}) || list[0].Put.IsZero() || list[1].Device != "laptop-2" {
		t.Errorf("%+v", list)
	}
	if names := f.names(t, "bases/"); len(names) != 2 {
		t.Errorf("%q", names)
	}
	f.replace(t, f.names(t, "bases/")[0], func(b []byte) []byte { return b[:10] })
	if list, err = l.ListBases(t.Context(), folder.ID); !errors.Is(err, line.ErrDamaged) || len(list) != 1 {
		t.Errorf("%+v, %v", list, err)
	}
	if err := l.PutBase(t.Context(), folder.ID, line.Base{Device: "a/b"}); err == nil {
		t.Error("a machine with a slash in its id is accepted")
	}
}

func TestGoldenSegmentReadsForEver(t *testing.T) {
	s := &versions.Snapshot{Folder: "f", Instant: versions.Instant{Sec: 5}, Root: versions.Entry{Kind: versions.Dir}, Tags: []string{"one"}}
	records := []line.Recorded{{Snapshot: s, SnapshotID: s.ID(), Number: 3, Received: time.Unix(0, 7).UTC()}}
	b := line.EncodeSegment(records)
	golden(t, "log-segment", b)
	got, err := line.DecodeSegment(b)
	if err != nil || len(got) != 1 || got[0].SnapshotID != s.ID() || got[0].Number != 3 || !got[0].Received.Equal(records[0].Received) {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzDecodeSegment(f *testing.F) {
	s := &versions.Snapshot{Folder: "f", Instant: versions.Instant{Sec: 5}, Root: versions.Entry{Kind: versions.Dir}}
	r := line.Recorded{Snapshot: s, SnapshotID: s.ID(), Number: 3, Received: time.Unix(0, 7)}
	f.Add(line.EncodeSegment([]line.Recorded{r, r}))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := line.DecodeSegment(data)
		if err == nil && !bytes.Equal(line.EncodeSegment(list), data) {
			t.Fatalf("% x is read as %+v", data, list)
		}
	})
}

// A remote that answers garbage makes errors, not panics or endless reading.
func TestGarbageFromTheRemoteIsAnError(t *testing.T) {
	l, f := newLines(t)
	folder := grow(t, l, create(t, l, "docs"), 3)
	f.Store = &endless{f.Store}
	if _, err := notes(t, l, folder.ID, 0, false); !errors.Is(err, line.ErrDamaged) {
		t.Errorf("%v", err)
	}
}

type endless struct{ blob.Store }

func (e *endless) Get(context.Context, string, int64, int64) (io.ReadCloser, error) {
	return io.NopCloser(zeros{}), nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }
