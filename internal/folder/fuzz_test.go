package folder

import (
	"bytes"
	"testing"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// sampleRecord has more children than one block of the index.
func sampleRecord() []byte {
	var w recordWriter
	for i := range 40 {
		e := versions.Entry{Name: string([]byte{'a' + byte(i/26), 'a' + byte(i%26)}), Kind: versions.Symlink, Target: "x", Size: 1, MTime: int64(i)}
		var seen *versions.Entry
		if i%7 == 0 {
			seen = &versions.Entry{Kind: versions.File, Mode: 0o777, MTime: int64(i)}
		}
		w.add(newChild(e, seen, disk.Sig{Ino: uint64(i), Mode: disk.TypeLink | 0o777, Size: 1, MTime: int64(i), CTime: -int64(i)}, 0))
	}
	return w.finish([32]byte{1}, 7, true)
}

// FuzzRecord: a record is what was written, or it is refused; nothing else.
func FuzzRecord(f *testing.F) {
	f.Add(sampleRecord(), "ac")
	var empty recordWriter
	f.Add(empty.finish([32]byte{}, 0, false), "")
	f.Fuzz(func(t *testing.T, data []byte, name string) {
		r, err := parseRecord(data)
		if err != nil {
			return
		}
		if _, err := r.find(name); err != nil {
			return
		}
		var w recordWriter
		err = r.each(func(c child) error {
			_, _ = c.entry() // must not panic
			w.add(&c)
			return nil
		})
		if err != nil {
			return
		}
		again, err := parseRecord(w.finish(r.tree, r.dev, r.stale))
		if err != nil {
			t.Fatalf("what was read cannot be written: %v", err)
		}
		if again.n != r.n || again.tree != r.tree || again.stale != r.stale || again.dev != r.dev {
			t.Fatalf("became %+v, was %+v", again, r)
		}
	})
}

// FuzzRoot: the record of a root is what was written, or it is refused.
func FuzzRoot(f *testing.F) {
	f.Add(rootRecord{marked: true, sig: disk.Sig{Dev: 1, Ino: 2, Mode: 3, Size: 4, MTime: -5, CTime: 6}}.encode())
	f.Add(rootRecord{entry: &versions.Entry{Kind: versions.Dir, Mode: 0o755}, seen: &versions.Entry{Kind: versions.File, Mode: 0o777}}.encode())
	f.Add(rootRecord{entry: &versions.Entry{Kind: versions.Dir, Mode: 0o755}}.encode())
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := parseRoot(data)
		if err != nil {
			return
		}
		again, err := parseRoot(r.encode())
		if err != nil || again.marked != r.marked || again.sig != r.sig || !bytes.Equal(again.encode(), r.encode()) {
			t.Fatalf("became %+v %v, was %+v", again, err, r)
		}
	})
}

func TestRecordFindsEveryName(t *testing.T) {
	r, err := parseRecord(sampleRecord())
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	err = r.each(func(c child) error {
		n++
		got, err := r.find(c.name)
		if err != nil || got == nil || got.sig != c.sig {
			t.Errorf("%s: %+v %v", c.name, got, err)
		}
		for _, other := range []string{c.name + "x", c.name[:1]} {
			if got, err := r.find(other); err != nil || got != nil {
				t.Errorf("%s: %+v %v", other, got, err)
			}
		}
		return nil
	})
	if err != nil || n != 40 || !r.stale || r.dev != 7 {
		t.Fatalf("%d children, %v, %+v", n, err, r)
	}
}
