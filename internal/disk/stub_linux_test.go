package disk

import (
	"bytes"
	"encoding/hex"
	"os"
	"path/filepath"
	"reflect"
	"syscall"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

func stubEntry() versions.Entry {
	return versions.Entry{
		Name: "file", Kind: versions.File, Mode: 0o444, MTime: 1_600_000_000_123_456_789, Size: 300_000,
		UID: uint32(os.Geteuid()), GID: uint32(os.Getegid()),
		Pieces: []versions.Piece{{ID: chunk.ID{1, 2, 3}, Length: 300_000}},
	}
}

func openTemp(t *testing.T) (*Root, *Dir) {
	t.Helper()
	root, err := OpenRoot(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	dir, err := root.OpenDir("")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { dir.Close(); root.Close() })
	return root, dir
}

// TestMarksOfEarlierVersionsOpen: a mark on a user's disk is read for ever.
func TestMarksOfEarlierVersionsOpen(t *testing.T) {
	const golden = "01feffffffffffffffff0166000000000000000000000000000a01010203" +
		"00000000000000000000000000000000000000000000000000000000000a"
	want := NewStub(versions.Entry{Kind: versions.File, Size: 10, Pieces: []versions.Piece{{ID: chunk.ID{1, 2, 3}, Length: 10}}})
	want.MTime = 1<<63 - 1
	b, err := want.encode()
	if err != nil {
		t.Fatal(err)
	}
	if got := hex.EncodeToString(b); got != golden {
		t.Fatalf("the mark is\n%s, was\n%s", got, golden)
	}
	got, err := decodeStub(b)
	if err != nil || !reflect.DeepEqual(got, want) {
		t.Errorf("got %+v, %v, want %+v", got, err, want)
	}
}

func FuzzStubMark(f *testing.F) {
	b, err := NewStub(stubEntry()).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{1, 0})
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := decodeStub(b)
		if err != nil {
			return
		}
		again, err := s.encode()
		if err == nil && len(b) <= maxStub {
			if back, err := decodeStub(again); err != nil || !reflect.DeepEqual(back, s) {
				t.Errorf("%x decodes to %+v, and that to %+v, %v", b, s, back, err)
			}
		}
	})
}

func TestAStubLooksLikeItsFileButHoldsNothing(t *testing.T) {
	root, dir := openTemp(t)
	e := stubEntry()
	if _, notes, err := dir.CreateStub("file", e, CreateOptions{}); err != nil || len(notes) > 0 {
		t.Fatal(notes, err)
	}
	var st syscall.Stat_t
	if err := syscall.Lstat(filepath.Join(root.Path(), "file"), &st); err != nil {
		t.Fatal(err)
	}
	if st.Size != e.Size || st.Mode&0o7777 != e.Mode || st.Mtim.Nano() != e.MTime {
		t.Errorf("size %d, mode %o, time %d", st.Size, st.Mode, st.Mtim.Nano())
	}
	if st.Blocks > 8 {
		t.Errorf("it takes %d blocks", st.Blocks)
	}
	f, err := dir.Open("file")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	s, is, err := f.Stub()
	if err != nil || !is || !versions.SameContent(s.Content, NewStub(e).Content) {
		t.Fatalf("the mark says %+v, %v, %v", s, is, err)
	}
	if got, _, _, err := f.Entry(NewOwners()); err != nil || len(got.Xattrs) > 0 {
		t.Errorf("the mark is taken for an attribute of the file: %v, %v", got.Xattrs, err)
	}
	// Content comes in place, and moves no time.
	w, err := OpenWritable(f.Fd())
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(w)
	data := bytes.Repeat([]byte("x"), 8192)
	if err := Fill(w, data, 4096, e.MTime); err != nil {
		t.Fatal(err)
	}
	if after, err := StatFD(w); err != nil || after.MTime != e.MTime || after.Mode&0o7777 != e.Mode {
		t.Errorf("filling moved time or mode: %+v, %v", after, err)
	}
	got := make([]byte, 8192)
	if _, err := f.ReadAt(got, 4096); err != nil || !bytes.Equal(got, data) {
		t.Errorf("what was filled in reads otherwise: %v", err)
	}
	if err := Free(w, e.Size, e.MTime); err != nil {
		t.Fatal(err)
	}
	if after, err := StatFD(w); err != nil || after.Size != e.Size || after.MTime != e.MTime || after.Blocks > 8 {
		t.Errorf("after it was freed: %+v, %v", after, err)
	}
	if err := ClearStub(f.Fd()); err != nil {
		t.Fatal(err)
	}
	if _, is, err := f.Stub(); err != nil || is {
		t.Errorf("without its mark it is a stub: %v, %v", is, err)
	}
}

func TestADirectoryStandsForAllBelow(t *testing.T) {
	_, dir := openTemp(t)
	e := versions.Entry{Name: "d", Kind: versions.Dir, Mode: 0o500, MTime: 5, Size: 1 << 40, Count: 1_000_000, Tree: chunk.ID{9}}
	if _, _, err := dir.CreateStub("d", e, CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	sub, err := dir.OpenDir("d")
	if err != nil {
		t.Fatal(err)
	}
	defer sub.Close()
	s, is, err := sub.Stub()
	got := versions.Entry{Kind: versions.Dir, MTime: 5}
	s.Fill(&got)
	if err != nil || !is || got.Tree != e.Tree || got.Size != e.Size || got.Count != e.Count || got.MTime != 5 {
		t.Errorf("it stands for %+v, %v, %v", got, is, err)
	}
	if err := SetPinned(sub.Fd(), true); err != nil || !Pinned(sub.Fd()) {
		t.Errorf("it cannot be pinned: %v", err)
	}
	if err := SetPinned(sub.Fd(), false); err != nil || Pinned(sub.Fd()) {
		t.Errorf("it cannot be unpinned: %v", err)
	}
}

func TestAFileOfVeryManyHolesIsNoStub(t *testing.T) {
	_, dir := openTemp(t)
	e := versions.Entry{Name: "f", Kind: versions.File, Mode: 0o644, Size: 4096 * 4096}
	for i := range int64(2000) {
		e.Holes = append(e.Holes, versions.Range{Offset: i * 8192, Length: 4096})
	}
	if _, _, err := dir.CreateStub("f", e, CreateOptions{}); err == nil {
		t.Error("its mark was set")
	}
	if _, err := dir.Stat("f"); err == nil {
		t.Error("something is left of it")
	}
}
