//go:build linux

package folder_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/versions"
	"github.com/syncfs/syncfs/versions/versionstest"
)

// fataler is what *testing.T and *rapid.T have in common.
type fataler interface {
	Helper()
	Fatalf(format string, args ...any)
	Context() context.Context
}

// bench is one folder on a real disk with all around it.
type bench struct {
	dir      string
	root     *disk.Root
	records  *memRecords
	chunks   *versionstest.Memory
	trees    *versions.Trees
	contents *versions.Contents
	f        *folder.Folder
	options  folder.Options
}

func newBench(t testing.TB, change ...func(*folder.Options)) *bench {
	t.Helper()
	b := &bench{dir: t.TempDir(), records: newRecords(), chunks: versionstest.New()}
	b.trees, b.contents = versions.NewTrees(b.chunks, [32]byte{1}), versions.NewContents(b.chunks, [32]byte{2})
	root, err := disk.OpenRoot(b.dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { root.Close() })
	b.root = root
	b.options = folder.Options{Root: root, Records: b.records, TempDir: t.TempDir()}
	for _, c := range change {
		c(&b.options)
	}
	b.open(t)
	return b
}

// open starts anew, as after a restart.
func (b *bench) open(t fataler) {
	t.Helper()
	f, err := folder.Open(b.options)
	if err != nil {
		t.Fatalf("open: %v", err)
	}
	b.f = f
}

func (b *bench) path(rel string) string { return filepath.Join(b.dir, rel) }

func (b *bench) scan(t fataler) {
	t.Helper()
	if err := b.f.Scan(t.Context(), nil); err != nil {
		t.Fatalf("scan: %v", err)
	}
}

func (b *bench) build(t fataler, o folder.BuildOptions) *folder.Built {
	t.Helper()
	built, err := b.f.Build(t.Context(), b.trees, b.contents, o)
	if err != nil {
		t.Fatalf("build: %v", err)
	}
	return built
}

// take scans, builds and records.
func (b *bench) take(t fataler) *folder.Built {
	t.Helper()
	b.scan(t)
	return b.commit(t)
}

// commit builds and records what is dirty.
func (b *bench) commit(t fataler) *folder.Built {
	t.Helper()
	built := b.build(t, folder.BuildOptions{})
	if built != nil {
		b.record(t, built)
	}
	return built
}

func (b *bench) record(t fataler, built *folder.Built) {
	t.Helper()
	if err := b.f.Record(built); err != nil {
		t.Fatalf("record: %v", err)
	}
}

func (b *bench) recordedRoot(t fataler) versions.Entry {
	t.Helper()
	e, _, err := b.f.Recorded("")
	if err != nil {
		t.Fatalf("recorded root: %v", err)
	}
	return e
}

// lookup resolves a path in a built tree; ok is false when it is not there.
func (b *bench) lookup(t fataler, root versions.Entry, path string) (versions.Entry, bool) {
	t.Helper()
	e, err := b.trees.Resolve(t.Context(), root, path)
	if errors.Is(err, os.ErrNotExist) {
		return e, false
	}
	if err != nil {
		t.Fatalf("resolve %s: %v", path, err)
	}
	return e, true
}

// content reads a file out of a built tree.
func (b *bench) content(t fataler, root versions.Entry, path string) string {
	t.Helper()
	e, ok := b.lookup(t, root, path)
	if !ok {
		t.Fatalf("%s is not in the tree", path)
	}
	return string(b.bytes(t, e))
}

func (b *bench) bytes(t fataler, e versions.Entry) []byte {
	t.Helper()
	r, err := b.contents.Open(t.Context(), e)
	if err != nil {
		t.Fatalf("open %s: %v", e.Name, err)
	}
	defer r.Close()
	var buf bytes.Buffer
	if _, err := r.WriteTo(&buf); err != nil {
		t.Fatalf("read %s: %v", e.Name, err)
	}
	return buf.Bytes()
}

// sameAsDisk fails unless the tree is what lstat, readlink, getxattr and read
// show of the disk.
func (b *bench) sameAsDisk(t fataler, root versions.Entry) {
	t.Helper()
	want := diskTree(t, b.dir)
	got := map[string]string{}
	groups := map[[16]byte]string{}
	err := b.trees.Walk(t.Context(), root, func(path string, e versions.Entry) error {
		group := ""
		if e.Link != [16]byte{} {
			if groups[e.Link] == "" {
				groups[e.Link] = path // paths come in order: the first names the group
			}
			group = groups[e.Link]
		}
		var xattrs []string
		for _, x := range e.Xattrs {
			xattrs = append(xattrs, fmt.Sprintf("%s=%x", x.Name, x.Value))
		}
		data := ""
		switch e.Kind {
		case versions.File:
			data = string(b.bytes(t, e))
		case versions.Symlink:
			data = e.Target
		}
		got[path] = describe(e.Kind, e.Mode, e.UID, e.GID, e.MTime, group, xattrs, data)
		return nil
	})
	if err != nil {
		t.Fatalf("walk: %v", err)
	}
	for path, w := range want {
		if g, ok := got[path]; !ok {
			t.Fatalf("%q is missing in the tree:\n%s", path, w)
		} else if g != w {
			t.Fatalf("%q differs:\n tree %s\n disk %s", path, g, w)
		}
	}
	for path := range got {
		if _, ok := want[path]; !ok {
			t.Fatalf("%q is in the tree, not on the disk", path)
		}
	}
}

func describe(kind versions.Kind, mode, uid, gid uint32, mtime int64, group string, xattrs []string, data string) string {
	if len(data) > 200 {
		data = fmt.Sprintf("%d bytes, %x", len(data), data[:100])
	}
	return fmt.Sprintf("%c %o %d:%d %d group %q %v %q", kind, mode, uid, gid, mtime, group, xattrs, data)
}

func diskTree(t fataler, dir string) map[string]string {
	t.Helper()
	tree := map[string]string{}
	groups := map[uint64]string{}
	var walk func(rel string)
	walk = func(rel string) {
		path := filepath.Join(dir, rel)
		var st unix.Stat_t
		if err := unix.Lstat(path, &st); err != nil {
			t.Fatalf("lstat %s: %v", path, err)
		}
		kind, data, group := versions.File, "", ""
		switch st.Mode & unix.S_IFMT {
		case unix.S_IFDIR:
			kind = versions.Dir
		case unix.S_IFLNK:
			kind = versions.Symlink
			data, _ = os.Readlink(path)
		case unix.S_IFREG:
			read, err := os.ReadFile(path)
			if err != nil {
				t.Fatalf("read: %v", err)
			}
			data = string(read)
		default:
			return
		}
		if kind != versions.Dir && st.Nlink > 1 {
			if groups[st.Ino] == "" {
				groups[st.Ino] = rel
			}
			group = groups[st.Ino]
		}
		tree[rel] = describe(kind, st.Mode&0o7777, st.Uid, st.Gid, st.Mtim.Nano(), group, diskXattrs(path), data)
		if kind == versions.Dir {
			names, err := os.ReadDir(path)
			if err != nil {
				t.Fatalf("readdir: %v", err)
			}
			for _, n := range names {
				if strings.HasPrefix(n.Name(), folder.StagePrefix) {
					continue
				}
				walk(strings.TrimPrefix(rel+"/"+n.Name(), "/"))
			}
		}
	}
	walk("")
	return tree
}

func diskXattrs(path string) []string {
	buf := make([]byte, 4096)
	n, err := unix.Llistxattr(path, buf)
	if err != nil {
		return nil
	}
	var list []string
	for _, name := range strings.Split(strings.TrimSuffix(string(buf[:n]), "\x00"), "\x00") {
		if strings.HasPrefix(name, "user.") && !strings.HasPrefix(name, disk.OwnXattr) || strings.HasPrefix(name, "system.posix_acl") {
			value := make([]byte, 4096)
			n, err := unix.Lgetxattr(path, name, value)
			if err == nil {
				list = append(list, fmt.Sprintf("%s=%x", name, value[:n]))
			}
		}
	}
	slices.Sort(list)
	return list
}

func write(t fataler, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatalf("mkdir: %v", err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatalf("write: %v", err)
	}
}

func must(t fataler, err error) {
	t.Helper()
	if err != nil {
		t.Fatalf("%v", err)
	}
}

// old sets a file's times back by a minute, its time of change excepted.
func backdate(t fataler, path string) {
	t.Helper()
	then := time.Now().Add(-time.Minute)
	must(t, os.Chtimes(path, then, then))
}

func waitFor(t fataler, what string, ok func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !ok(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited for %s in vain", what)
		}
	}
}

// entries are all entries of the recorded tree.
func (b *bench) entries(t fataler) (list []versions.Entry) {
	t.Helper()
	root, _, err := b.f.Recorded("")
	if errors.Is(err, os.ErrNotExist) {
		return nil
	}
	must(t, err)
	must(t, b.trees.Walk(t.Context(), root, func(_ string, e versions.Entry) error {
		list = append(list, e)
		return nil
	}))
	return list
}
