package versions_test

import (
	"bytes"
	"encoding/hex"
	"flag"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
	"pgregory.net/rapid"
)

var update = flag.Bool("update", false, "write golden files anew")

// golden compares data with a file that every later version must read.
func golden(t *testing.T, name string, data []byte) {
	t.Helper()
	path := filepath.Join("..", "tests", "formats", "v1", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(data, want) {
		t.Errorf("%s: encoded now as\n%s, in the file\n%s", name, hex.Dump(data), hex.Dump(want))
	}
}

// goldenEntries is one entry of each shape.
func goldenEntries() []versions.Entry {
	piece := func(n uint64, length uint32) versions.Piece { return versions.Piece{ID: idOf(n), Length: length} }
	return []versions.Entry{
		{Name: "", Kind: versions.Dir, Mode: 0o755},
		{Name: "bin", Kind: versions.Dir, Mode: 0o1777, UID: 1000, GID: 1000, User: "anna", Group: "users", MTime: 1738353330_123456789, Size: 7, Count: 2, Tree: idOf(7)},
		{Name: "block", Kind: versions.BlkDev, Mode: 0o660, Device: 0x800},
		{Name: "char", Kind: versions.CharDev, Mode: 0o666, Device: 0x103},
		{Name: "empty", Kind: versions.File, Mode: 0o644, MTime: -1},
		{Name: "huge", Kind: versions.File, Mode: 0o600, Size: 100 << 30, List: idOf(9)},
		{Name: "link", Kind: versions.Symlink, Mode: 0o777, Size: 9, Target: "../target"},
		{Name: "linked", Kind: versions.File, Mode: 0o4755, Size: 3, Pieces: []versions.Piece{piece(1, 3)}, Link: [16]byte{15: 1}, Unstable: true},
		{Name: "name\xff\n", Kind: versions.File, Mode: 0o644, Size: 1 << 21, Pieces: []versions.Piece{piece(1, 1<<20), piece(2, 1<<20)}},
		{Name: "sparse", Kind: versions.File, Mode: 0o644, Size: 1 << 40, Pieces: []versions.Piece{piece(3, 4096)}, Holes: []versions.Range{{Offset: 4096, Length: 1<<40 - 4096}}},
		{Name: "xattrs", Kind: versions.File, Mode: 0o644, Xattrs: []versions.Xattr{{Name: "system.posix_acl_access", Value: []byte{2, 0, 0, 0}}, {Name: "user.empty"}}},
	}
}

func TestGoldenEntriesReadForEver(t *testing.T) {
	var b []byte
	for _, e := range goldenEntries() {
		if err := e.Validate(); err != nil {
			t.Error(err)
		}
		b = versions.AppendEntry(b, e)
	}
	golden(t, "entries", b)
	rest := b
	for _, want := range goldenEntries() {
		var got versions.Entry
		var err error
		got, rest, err = versions.DecodeEntry(rest)
		if err != nil {
			t.Fatalf("%q: %v", want.Name, err)
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("read back\n%+v, want\n%+v", got, want)
		}
	}
	if len(rest) > 0 {
		t.Errorf("%d bytes are left over", len(rest))
	}
}

func TestEveryTruncationOfAnEntryIsRefused(t *testing.T) {
	for _, e := range goldenEntries() {
		b := versions.AppendEntry(nil, e)
		for n := range b {
			if _, _, err := versions.DecodeEntry(b[:n]); err == nil {
				t.Errorf("%q: %d of %d bytes are an entry", e.Name, n, len(b))
			}
		}
	}
}

func TestInvalidEntriesAreNamedAndNeverRead(t *testing.T) {
	good := func(change func(*versions.Entry)) versions.Entry {
		e := file("f", 5)
		change(&e)
		return e
	}
	tests := map[string]versions.Entry{
		"no kind":             good(func(e *versions.Entry) { e.Kind = 'x' }),
		"slash":               good(func(e *versions.Entry) { e.Name = "a/b" }),
		"zero byte":           good(func(e *versions.Entry) { e.Name = "a\x00" }),
		"dots":                good(func(e *versions.Entry) { e.Name = ".." }),
		"long name":           good(func(e *versions.Entry) { e.Name = strings.Repeat("n", versions.MaxName+1) }),
		"mode":                good(func(e *versions.Entry) { e.Mode = 0o100644 }),
		"size and pieces":     good(func(e *versions.Entry) { e.Size++ }),
		"negative size":       good(func(e *versions.Entry) { e.Size = -1 }),
		"empty piece":         good(func(e *versions.Entry) { e.Pieces = append(e.Pieces, versions.Piece{ID: idOf(1)}) }),
		"piece without an id": good(func(e *versions.Entry) { e.Pieces[0].ID = chunk.ID{} }),
		"list and pieces":     good(func(e *versions.Entry) { e.List = idOf(3) }),
		"target of a file":    good(func(e *versions.Entry) { e.Target = "x" }),
		"tree of a file":      good(func(e *versions.Entry) { e.Tree = idOf(1) }),
		"device of a file":    good(func(e *versions.Entry) { e.Device = 1 }),
		"hole beyond the end": good(func(e *versions.Entry) { e.Size, e.Holes = 20, []versions.Range{{Offset: 6, Length: 15}} }),
		"holes that touch": good(func(e *versions.Entry) {
			e.Size, e.Holes = 10, []versions.Range{{Offset: 6, Length: 2}, {Offset: 8, Length: 2}}
		}),
		"empty hole":          good(func(e *versions.Entry) { e.Holes = []versions.Range{{Offset: 1}} }),
		"xattrs out of order": good(func(e *versions.Entry) { e.Xattrs = []versions.Xattr{{Name: "b"}, {Name: "a"}} }),
		"xattr twice":         good(func(e *versions.Entry) { e.Xattrs = []versions.Xattr{{Name: "a"}, {Name: "a"}} }),
		"huge xattrs": good(func(e *versions.Entry) {
			e.Xattrs = []versions.Xattr{{Name: "a", Value: make([]byte, versions.MaxEntry)}}
		}),
		"empty dir with a size": {Name: "d", Kind: versions.Dir, Size: 1},
		"symlink of wrong size": {Name: "l", Kind: versions.Symlink, Target: "abc", Size: 2},
		"more pieces than there": good(func(e *versions.Entry) {
			e.Pieces = slices.Repeat([]versions.Piece{{ID: idOf(1), Length: 1}}, 9)
			e.Size = 9
		}),
	}
	for name, e := range tests {
		t.Run(name, func(t *testing.T) {
			if err := e.Validate(); err == nil {
				t.Fatalf("%+v is valid", e)
			}
			if e.Size < 0 || e.Kind == versions.Symlink {
				return // has no encoding of its own
			}
			got, _, err := versions.DecodeEntry(versions.AppendEntry(nil, e))
			if err == nil && reflect.DeepEqual(got, e) {
				t.Errorf("%+v is read", got)
			}
		})
	}
}

func drawEntry(t *rapid.T) versions.Entry {
	bytesOf := func(label string, most int) []byte { return rapid.SliceOfN(rapid.Byte(), 1, most).Draw(t, label) }
	name := strings.Map(func(r rune) rune {
		if r == '/' || r == 0 {
			return 'x'
		}
		return r
	}, rapid.StringN(1, 30, 200).Draw(t, "name"))
	if name == "." || name == ".." {
		name = "dots"
	}
	e := versions.Entry{
		Name: name, Kind: rapid.SampledFrom([]versions.Kind{versions.File, versions.Dir, versions.Symlink, versions.CharDev, versions.BlkDev}).Draw(t, "kind"),
		Mode: rapid.Uint32Range(0, 0o7777).Draw(t, "mode"), UID: rapid.Uint32().Draw(t, "uid"), GID: rapid.Uint32().Draw(t, "gid"),
		User: rapid.StringN(0, 8, 40).Draw(t, "user"), Group: rapid.StringN(0, 8, 40).Draw(t, "group"),
		MTime: rapid.Int64().Draw(t, "mtime"), Unstable: rapid.Bool().Draw(t, "unstable"),
	}
	if rapid.Bool().Draw(t, "linked") {
		copy(e.Link[:], bytesOf("link", 16))
	}
	for _, n := range rapid.SliceOfDistinct(rapid.StringN(1, 10, 40), rapid.ID[string]).Draw(t, "xattrs") {
		e.Xattrs = append(e.Xattrs, versions.Xattr{Name: n, Value: bytesOf("value", 20)})
	}
	slices.SortFunc(e.Xattrs, func(a, b versions.Xattr) int { return strings.Compare(a.Name, b.Name) })
	switch e.Kind {
	case versions.Dir:
		if rapid.Bool().Draw(t, "listed") {
			e.Tree, e.Size, e.Count = idOf(rapid.Uint64().Draw(t, "tree")), rapid.Int64Min(0).Draw(t, "size"), rapid.Int64Min(0).Draw(t, "count")
		}
	case versions.Symlink:
		e.Target = string(bytesOf("target", 50))
		e.Size = int64(len(e.Target))
	case versions.CharDev, versions.BlkDev:
		e.Device = rapid.Uint64().Draw(t, "device")
	case versions.File:
		for range rapid.IntRange(0, 4).Draw(t, "ranges") {
			n := rapid.Uint32Min(1).Draw(t, "length")
			e.Pieces = append(e.Pieces, versions.Piece{ID: idOf(rapid.Uint64().Draw(t, "piece")), Length: n})
			e.Size += int64(n)
			if rapid.Bool().Draw(t, "hole") {
				h := versions.Range{Offset: e.Size, Length: rapid.Int64Range(1, 1<<40).Draw(t, "hole length")}
				e.Holes = append(e.Holes, h)
				e.Size += h.Length
			}
		}
	}
	return e
}

func TestAnyValidEntryIsReadBack(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		e := drawEntry(t)
		if err := e.Validate(); err != nil {
			t.Fatal(err)
		}
		b := versions.AppendEntry(nil, e)
		got, rest, err := versions.DecodeEntry(append(b, "tail"...))
		if err != nil || string(rest) != "tail" {
			t.Fatalf("rest %q, %v", rest, err)
		}
		if !versions.Equal(got, e) || !bytes.Equal(versions.AppendEntry(nil, got), b) {
			t.Fatalf("read back\n%+v, want\n%+v", got, e)
		}
	})
}

func FuzzDecodeEntry(f *testing.F) {
	for _, e := range goldenEntries() {
		f.Add(versions.AppendEntry(nil, e))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		e, rest, err := versions.DecodeEntry(data)
		if err != nil {
			return
		}
		if again := versions.AppendEntry(nil, e); !bytes.Equal(again, data[:len(data)-len(rest)]) {
			t.Fatalf("% x is read as an entry, which is written as % x", data, again)
		}
		if err := e.Validate(); err != nil {
			t.Fatalf("read but invalid: %v", err)
		}
	})
}
