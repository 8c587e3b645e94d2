package versions_test

import (
	"bytes"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
	"github.com/syncfs/syncfs/versions/versionstest"
)

func goldenSnapshot() *versions.Snapshot {
	return &versions.Snapshot{
		Folder:  "0123456789abcdef0123456789abcdef",
		Instant: versions.Instant{Sec: 1738354530, Seq: 1},
		Parents: []chunk.ID{idOf(1), idOf(2)},
		Root:    versions.Entry{Kind: versions.Dir, Mode: 0o755, MTime: 1738354529_000000001, Size: 10, Count: 2, Tree: idOf(3)},
		Host:    "laptop", User: "anna", Device: "d1", Kind: "sync", Tags: []string{"merge"}, Offline: true,
		Added: 1, Changed: 2, Removed: 300,
		Dirs: []versions.DirChange{{Path: "", Tree: idOf(3)}, {Path: "docs", Tree: idOf(4)}, {Path: "docs/old", Gone: true}, {Path: "empty"}},
	}
}

func TestGoldenSnapshotReadsForEver(t *testing.T) {
	s := goldenSnapshot()
	golden(t, "snapshot", s.Encode())
	golden(t, "snapshot-id", []byte(s.ID().String()+"\n"))
	long := goldenSnapshot()
	long.Dirs, long.DirsList = nil, idOf(5)
	golden(t, "snapshot-long", long.Encode())
	untracking := goldenSnapshot()
	untracking.Untracked = []string{"docs/build", "docs/\xff.o"}
	golden(t, "snapshot-untracked", untracking.Encode())
	for _, want := range []*versions.Snapshot{s, long, untracking, {Root: versions.Entry{Kind: versions.Dir}}} {
		got, err := versions.DecodeSnapshot(want.Encode())
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("read back %+v, want %+v (%v)", got, want, err)
		}
	}
	golden(t, "dirs", versions.EncodeDirs(s.Dirs))
}

func TestEveryTruncationOfASnapshotIsRefused(t *testing.T) {
	b := goldenSnapshot().Encode()
	for n := range b {
		if _, err := versions.DecodeSnapshot(b[:n]); err == nil {
			t.Errorf("%d of %d bytes are a snapshot", n, len(b))
		}
	}
	if _, err := versions.DecodeSnapshot(append(b, 0)); err == nil {
		t.Error("one byte too many is accepted")
	}
}

func TestASnapshotOfALaterFormatSaysSo(t *testing.T) {
	b := goldenSnapshot().Encode()
	b[0] = 3
	if _, err := versions.DecodeSnapshot(b); err == nil || !strings.Contains(err.Error(), "update it") {
		t.Errorf("%v", err)
	}
}

func TestDirectoriesOutOfOrderAreRefused(t *testing.T) {
	for name, dirs := range map[string][]versions.DirChange{
		"unsorted": {{Path: "b"}, {Path: "a"}},
		"twice":    {{Path: "a"}, {Path: "a", Gone: true}},
	} {
		if _, err := versions.DecodeDirs(versions.EncodeDirs(dirs)); err == nil {
			t.Errorf("%s: read", name)
		}
	}
}

func TestManyDirectoriesGoIntoChunks(t *testing.T) {
	for _, n := range []int{0, versions.MaxInlineDirs, versions.MaxInlineDirs + 1, 60_000} {
		m := versionstest.New()
		s := goldenSnapshot()
		s.Dirs = nil
		for i := range n {
			s.Dirs = append(s.Dirs, versions.DirChange{Path: fmt.Sprintf("some/directory/%06d", i), Tree: idOf(uint64(i + 1))})
		}
		want := slices.Clone(s.Dirs)
		if err := s.StoreDirs(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		if s.DirsList.IsZero() != (n <= versions.MaxInlineDirs) || len(s.Encode()) > 20_000 {
			t.Errorf("%d directories: list %v, record of %d bytes", n, s.DirsList, len(s.Encode()))
		}
		got, err := s.ChangedDirs(t.Context(), m)
		if !slices.Equal(must(t, got, err), want) {
			t.Errorf("%d directories are read back as %d", n, len(got))
		}
	}
}

func FuzzDecodeSnapshot(f *testing.F) {
	f.Add(goldenSnapshot().Encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		s, err := versions.DecodeSnapshot(data)
		if err == nil && !bytes.Equal(s.Encode(), data) {
			t.Fatalf("% x is read as a snapshot, which is written as % x", data, s.Encode())
		}
	})
}

func FuzzDecodeDirs(f *testing.F) {
	f.Add(versions.EncodeDirs(goldenSnapshot().Dirs))
	f.Add([]byte{1, 0, 0})
	f.Fuzz(func(t *testing.T, data []byte) {
		dirs, err := versions.DecodeDirs(data)
		if err != nil || data[1] != 0 {
			return
		}
		if again := versions.EncodeDirs(dirs); !bytes.Equal(again, data) {
			t.Fatalf("% x is read as %v, which is written as % x", data, dirs, again)
		}
	})
}
