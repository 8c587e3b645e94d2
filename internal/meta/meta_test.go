package meta_test

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	iofs "io/fs"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/versions"
)

func open(t testing.TB, dir string) *meta.DB {
	t.Helper()
	db, err := meta.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	return db
}

func treeID(n int) (id chunk.ID) {
	binary.BigEndian.PutUint64(id[8:], uint64(n))
	id[0] = 0xff // ids may begin with any byte
	return id
}

func at(sec int64) versions.Instant { return versions.Instant{Sec: sec} }

// snap makes a record; its directories are inline.
func snap(number uint64, instant versions.Instant, dirs ...versions.DirChange) meta.Snapshot {
	record := &versions.Snapshot{
		Folder:  "f0123456789abcdef",
		Instant: instant,
		Root:    versions.Entry{Kind: versions.Dir, Mode: 0o755, Tree: treeID(int(instant.Sec))},
		Host:    "host", User: "user", Device: "device", Kind: "sync",
		Dirs: dirs,
	}
	s := meta.Snapshot{ID: record.ID(), Number: number, Record: record}
	if number > 0 {
		s.Received = instant.Sec * 1e9
	}
	return s
}

func inline(s meta.Snapshot) ([]versions.DirChange, error) { return s.Record.Dirs, nil }

func put(t testing.TB, f *meta.Folder, list ...meta.Snapshot) {
	t.Helper()
	if err := f.PutSnapshots(list, inline); err != nil {
		t.Fatal(err)
	}
}

func change(path string, tree int) versions.DirChange {
	return versions.DirChange{Path: path, Tree: treeID(tree)}
}

func gone(path string) versions.DirChange { return versions.DirChange{Path: path, Gone: true} }

func moments(t testing.TB, f *meta.Folder, dir string) (got []string) {
	t.Helper()
	list, err := f.Moments(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		s := fmt.Sprintf("%d:%d", m.Instant.Sec, binary.BigEndian.Uint64(m.Tree[8:]))
		if m.Gone {
			s = fmt.Sprintf("%d:gone", m.Instant.Sec)
		}
		got = append(got, s)
	}
	return got
}

func TestMomentsOfADirectoryAscend(t *testing.T) {
	dir := t.TempDir()
	long := strings.Repeat("d\xff/", 1300) + "end"
	db, err := meta.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	f := db.Folder("one")
	// Newest first, as history is filled.
	put(t, f, snap(4, at(40), change("", 4), gone("a")))
	put(t, f,
		snap(3, at(30), change("", 3), change("a", 31), change(long, 32)),
		snap(1, at(-10), change("", 1), change("a", 11)),
		snap(2, versions.Instant{Sec: 30, Seq: -0}, change("b", 21)))
	put(t, db.Folder("two"), snap(9, at(35), change("a", 99)))

	want := map[string][]string{
		"":        {"-10:1", "30:3", "40:4"},
		"a":       {"-10:11", "30:31", "40:gone"},
		"b":       {"30:21"},
		long:      {"30:32"},
		"missing": nil,
	}
	check := func(f *meta.Folder) {
		t.Helper()
		for path, w := range want {
			if got := moments(t, f, path); !slices.Equal(got, w) {
				t.Errorf("moments of %.20q: %v, want %v", path, got, w)
			}
		}
		last, complete, err := f.LastNumber()
		if last != 4 || complete || err != nil {
			t.Errorf("LastNumber: %d, %v, %v", last, complete, err)
		}
	}
	check(f)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
	db = open(t, dir)
	check(db.Folder("one"))
	if got := moments(t, db.Folder("two"), "a"); !slices.Equal(got, []string{"35:99"}) {
		t.Errorf("the other folder: %v", got)
	}
}

func TestACapturedStateAndItsRoundAreOneMoment(t *testing.T) {
	f := open(t, t.TempDir()).Folder("one")
	put(t, f, snap(0, at(10), change("a", 1)), snap(1, at(11), change("a", 1)), snap(2, at(12), change("a", 2)))
	if got, want := moments(t, f, "a"), []string{"10:1", "12:2"}; !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}

func TestASpooledSnapshotGetsItsNumber(t *testing.T) {
	f := open(t, t.TempDir()).Folder("one")
	s := snap(0, at(10), change("a", 1))
	put(t, f, s)
	s.Number, s.Received = 7, 12345
	put(t, f, s)
	list, err := f.Snapshots()
	if err != nil || len(list) != 1 {
		t.Fatalf("%d snapshots, %v", len(list), err)
	}
	if list[0].Number != 7 || list[0].Received != 12345 || list[0].ID != s.ID {
		t.Errorf("got %+v", list[0])
	}
	if last, _, _ := f.LastNumber(); last != 7 {
		t.Errorf("last number %d", last)
	}
}

func TestSnapshotsByInstant(t *testing.T) {
	f := open(t, t.TempDir()).Folder("one")
	if _, err := f.SnapshotAt(versions.Instant{}); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("empty folder: %v", err)
	}
	var want []chunk.ID
	for i := range 300 { // ids begin with every byte
		s := snap(uint64(i+1), versions.Instant{Sec: int64(10 + 10*(i/3)), Seq: i % 3})
		want = append(want, s.ID)
		put(t, f, s)
	}
	list, err := f.Snapshots()
	if err != nil {
		t.Fatal(err)
	}
	var got []chunk.ID
	for _, s := range list {
		got = append(got, s.ID)
		if s.Record.ID() != s.ID {
			t.Errorf("record of %s is another", s.ID.Short())
		}
	}
	if !slices.Equal(got, want) {
		t.Error("snapshots are not in order of instant")
	}
	for i, id := range want {
		s, err := f.SnapshotAt(versions.Instant{Sec: int64(10 + 10*(i/3)), Seq: i % 3})
		if err != nil || s.ID != id {
			t.Errorf("snapshot %d: %s, %v", i, s.ID.Short(), err)
		}
	}
	for _, c := range []struct {
		at   versions.Instant
		want int
	}{{versions.Instant{}, 300}, {versions.Instant{Sec: 10}, 299}, {versions.Instant{Sec: 1000, Seq: 0}, 2}, {at(1 << 40), 0}} {
		after, err := f.SnapshotsAfter(c.at)
		if err != nil || len(after) != c.want || len(after) > 0 && after[0].ID != want[299] {
			t.Errorf("after %v there are %d snapshots, want %d (%v)", c.at, len(after), c.want, err)
		}
	}
	for _, c := range []struct {
		at   versions.Instant
		want int
	}{
		{versions.Instant{}, 299},
		{at(1 << 40), 299},
		{at(15), 2},
		{versions.Instant{Sec: 20, Seq: 1}, 4},
	} {
		if s, err := f.SnapshotAt(c.at); err != nil || s.ID != want[c.want] {
			t.Errorf("at %v: %v, %v", c.at, s.Number, err)
		}
	}
	if _, err := f.SnapshotAt(at(9)); !errors.Is(err, iofs.ErrNotExist) {
		t.Errorf("before the first: %v", err)
	}
}

func TestForgetRemovesOneSnapshotAndItsMoments(t *testing.T) {
	f := open(t, t.TempDir()).Folder("one")
	var many []versions.DirChange
	for i := range 9000 { // their hashes are more than one piece
		many = append(many, change(fmt.Sprintf("m/%d", i), i+1))
	}
	a, b := snap(1, at(10), change("a", 1), change("b", 1)), snap(2, at(20), append(many, change("a", 2))...)
	put(t, f, a, b)
	if err := f.Forget(b.ID); err != nil {
		t.Fatal(err)
	}
	if err := f.Forget(b.ID); err != nil {
		t.Errorf("twice: %v", err)
	}
	if got := moments(t, f, "a"); !slices.Equal(got, []string{"10:1"}) {
		t.Errorf("moments: %v", got)
	}
	for i := range 9000 {
		if got := moments(t, f, fmt.Sprintf("m/%d", i)); got != nil {
			t.Fatalf("m/%d: %v", i, got)
		}
	}
	list, err := f.Snapshots()
	if err != nil || len(list) != 1 || list[0].ID != a.ID {
		t.Errorf("%v, %v", list, err)
	}
}

func TestCompleteIsKept(t *testing.T) {
	f := open(t, t.TempDir()).Folder("one")
	if err := f.SetComplete(); err != nil {
		t.Fatal(err)
	}
	if _, complete, err := f.LastNumber(); !complete || err != nil {
		t.Errorf("complete %v, %v", complete, err)
	}
}

func TestDirsThatCannotBeReadPutNothing(t *testing.T) {
	f := open(t, t.TempDir()).Folder("one")
	want := errors.New("no network")
	err := f.PutSnapshots([]meta.Snapshot{snap(3, at(1))}, func(meta.Snapshot) ([]versions.DirChange, error) { return nil, want })
	if !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	if last, _, _ := f.LastNumber(); last != 0 {
		t.Errorf("last number %d", last)
	}
	if list, _ := f.Snapshots(); len(list) != 0 {
		t.Errorf("%d snapshots", len(list))
	}
}

// TestRecordsAgainstAModel sets, deletes and reads records of all sizes.
func TestRecordsAgainstAModel(t *testing.T) {
	dir := t.TempDir()
	db, err := meta.Open(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	rng := rand.New(rand.NewPCG(1, 2))
	names := []string{"", "a", "a/b", "a\x01", "a b", "\xff\xfe", strings.Repeat("x/", 2000), "z"}
	sizes := []int{0, 1, 100, 65535, 65536, 65537, 131072, 131073, 400_000}
	model := map[string][]byte{}
	check := func(r *meta.Records) {
		t.Helper()
		for _, name := range names {
			got, err := r.Get(name)
			want, have := model[name]
			if err != nil || !bytes.Equal(got, want) || have != (got != nil) {
				t.Fatalf("record of %.20q: %d bytes (nil %v), %v, want %d", name, len(got), got == nil, err, len(want))
			}
		}
		var order []string
		err := r.Each(func(dir string, record []byte) error {
			order = append(order, dir)
			if !bytes.Equal(record, model[dir]) {
				t.Errorf("each: record of %.20q differs", dir)
			}
			_, err := r.Get(dir)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
		if len(order) != len(model) || !slices.IsSorted(order) {
			t.Fatalf("each visits %d of %d, sorted %v", len(order), len(model), slices.IsSorted(order))
		}
	}
	for round := range 60 {
		r := db.Folder("one").Records()
		err := r.Update(func(set func(string, []byte) error) error {
			for range 1 + rng.IntN(6) {
				name := names[rng.IntN(len(names))]
				if rng.IntN(3) == 0 {
					delete(model, name)
					if err := set(name, nil); err != nil {
						return err
					}
					continue
				}
				value := make([]byte, sizes[rng.IntN(len(sizes))])
				for i := range value {
					value[i] = byte(rng.Uint32())
				}
				model[name] = value
				if err := set(name, value); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		check(r)
		if round%20 == 19 {
			if err := db.Close(); err != nil {
				t.Fatal(err)
			}
			if db, err = meta.Open(dir, nil); err != nil {
				t.Fatal(err)
			}
			check(db.Folder("one").Records())
		}
	}
	if err := db.Folder("one").Drop(); err != nil {
		t.Fatal(err)
	}
	clear(model)
	check(db.Folder("one").Records())
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func TestAnUpdateThatFailsAppliesNothing(t *testing.T) {
	r := open(t, t.TempDir()).Folder("one").Records()
	want := errors.New("no")
	err := r.Update(func(set func(string, []byte) error) error {
		if err := set("a", []byte("x")); err != nil {
			return err
		}
		return want
	})
	if !errors.Is(err, want) {
		t.Errorf("got %v", err)
	}
	if got, err := r.Get("a"); got != nil || err != nil {
		t.Errorf("record %q, %v", got, err)
	}
}

func TestDropLeavesOtherFolders(t *testing.T) {
	db := open(t, t.TempDir())
	for _, id := range []string{"one", "two"} {
		f := db.Folder(id)
		put(t, f, snap(1, at(10), change("a", 1)))
		if err := f.SetComplete(); err != nil {
			t.Fatal(err)
		}
	}
	if err := db.Folder("one").Drop(); err != nil {
		t.Fatal(err)
	}
	for id, want := range map[string]int{"one": 0, "two": 1} {
		f := db.Folder(id)
		list, err := f.Snapshots()
		last, complete, err2 := f.LastNumber()
		if err != nil || err2 != nil || len(list) != want || len(moments(t, f, "a")) != want ||
			last != uint64(want) || complete != (want == 1) {
			t.Errorf("%s: %d snapshots, last %d, complete %v, %v, %v", id, len(list), last, complete, err, err2)
		}
	}
}

func TestCloseWaitsForCallsAndRefusesLaterOnes(t *testing.T) {
	db, err := meta.Open(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	r := db.Folder("one").Records()
	err = r.Update(func(set func(string, []byte) error) error {
		return errors.Join(set("a", []byte("1")), set("b", []byte("2")))
	})
	if err != nil {
		t.Fatal(err)
	}
	var wg sync.WaitGroup
	err = r.Each(func(dir string, record []byte) error {
		if dir == "a" {
			began := make(chan struct{})
			wg.Go(func() {
				close(began)
				if err := db.Close(); err != nil {
					t.Error(err)
				}
			})
			<-began
			for { // until Close has begun; it cannot end while we are here
				if _, err := r.Get("a"); err != nil {
					return err
				}
			}
		}
		return nil
	})
	wg.Wait()
	if !errors.Is(err, meta.ErrClosed) {
		t.Errorf("got %v", err)
	}
	if err := r.Update(func(func(string, []byte) error) error { return nil }); !errors.Is(err, meta.ErrClosed) {
		t.Errorf("update after close: %v", err)
	}
	if err := db.Close(); err != nil {
		t.Errorf("closing twice: %v", err)
	}
}
