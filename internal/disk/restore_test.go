//go:build linux

package disk_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
	"github.com/syncfs/syncfs/versions/versionstest"
)

// stored is a tree of a directory, in memory.
type stored struct {
	chunks   *versionstest.Memory
	trees    *versions.Trees
	contents *versions.Contents
	root     versions.Entry
	links    map[uint64][16]byte
}

func store(t *testing.T, dir string) *stored {
	t.Helper()
	s := &stored{chunks: versionstest.New(), links: map[uint64][16]byte{}}
	s.use(s.chunks)
	root, err := disk.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	s.root = s.dir(t, root, "")
	return s
}

func (s *stored) use(c versions.Chunks) {
	s.trees, s.contents = versions.NewTrees(c, [32]byte{1}), versions.NewContents(c, [32]byte{2})
}

func (s *stored) dir(t *testing.T, root *disk.Root, path string) versions.Entry {
	t.Helper()
	d, err := root.OpenDir(path)
	must(t, err)
	defer d.Close()
	e, _, _, err := d.SelfEntry(disk.NewOwners())
	must(t, err)
	list, err := d.List()
	must(t, err)
	var entries []versions.Entry
	for _, n := range list {
		if n.Type == disk.TypeDir {
			sub := s.dir(t, root, strings.TrimPrefix(path+"/"+n.Name, "/"))
			sub.Name = n.Name
			entries = append(entries, sub)
			continue
		}
		one, st, _, err := d.Entry(n.Name, disk.NewOwners())
		must(t, err)
		if one.Kind == versions.File && st.Size > 0 {
			f, err := d.Open(n.Name)
			must(t, err)
			holes, err := f.Holes(st.Size)
			must(t, err)
			content, err := s.contents.WriteSparse(t.Context(), f, st.Size, holes)
			must(t, err)
			f.Close()
			one.Pieces, one.List, one.Holes = content.Pieces, content.List, content.Holes
		}
		if st.Links > 1 {
			if _, ok := s.links[st.Ino]; !ok {
				s.links[st.Ino] = [16]byte{byte(len(s.links) + 1)}
			}
			one.Link = s.links[st.Ino]
		}
		entries = append(entries, one)
	}
	slices.SortFunc(entries, func(a, b versions.Entry) int { return strings.Compare(a.Name, b.Name) })
	for _, x := range entries {
		e.Size += x.Size
		e.Count += x.Count
		if x.Kind != versions.Dir {
			e.Count++
		}
	}
	e.Tree, err = s.trees.Write(t.Context(), entries)
	must(t, err)
	return e
}

// sample makes one of everything.
func sample(t *testing.T, dir string) {
	t.Helper()
	for path, data := range map[string]string{
		"f": "content", "empty": "", "a/b/c/deep": "deep", "big": strings.Repeat("0123456789abcdef", 1<<18), "a/n\xff": "raw",
	} {
		full := filepath.Join(dir, path)
		must(t, os.MkdirAll(filepath.Dir(full), 0o755))
		must(t, os.WriteFile(full, []byte(data), 0o640))
	}
	must(t, os.Link(filepath.Join(dir, "f"), filepath.Join(dir, "a/hard")))
	must(t, os.Link(filepath.Join(dir, "f"), filepath.Join(dir, "a/b/hard")))
	must(t, os.Symlink("../../etc/passwd", filepath.Join(dir, "a/link")))
	must(t, unix.Mknod(filepath.Join(dir, "a/null"), unix.S_IFCHR|0o666, int(unix.Mkdev(1, 3))))
	must(t, unix.Setxattr(filepath.Join(dir, "a/b"), "user.dir", []byte("x"), 0))
	must(t, os.Mkdir(filepath.Join(dir, "a/void"), 0o711))
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	must(t, err)
	must(t, sparse.Truncate(1<<30))
	_, err = sparse.WriteAt([]byte("data"), 1<<29)
	must(t, err)
	must(t, sparse.Close())
	must(t, os.Chown(filepath.Join(dir, "empty"), 12, 34))
	ts := []unix.Timespec{{Sec: 1}, {Sec: 1_000_000_000, Nsec: 987_654_321}}
	for _, path := range []string{"f", "a/link", "a/b/c", "a/b", "a", "sparse", ""} {
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, path), ts, unix.AT_SYMLINK_NOFOLLOW))
	}
	must(t, os.Chmod(filepath.Join(dir, "a/b/c"), 0o555))
	must(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(dir, "a/b/c"), ts, 0))
}

func TestRestoreGivesTheSameTree(t *testing.T) {
	from := t.TempDir()
	sample(t, from)
	s := store(t, from)
	for name, target := range map[string]string{"new": filepath.Join(t.TempDir(), "x/y"), "empty": t.TempDir()} {
		t.Run(name, func(t *testing.T) {
			rep, err := disk.Restore(t.Context(), s.trees, s.contents, s.root, target, disk.RestoreOptions{Sync: true})
			if err != nil || len(rep.Failed)+len(rep.Refused)+len(rep.Notes) > 0 {
				t.Fatalf("%v %+v", err, rep)
			}
			if rep.Files != 10 || rep.Dirs != 4 {
				t.Errorf("made %d files, %d directories", rep.Files, rep.Dirs)
			}
			again := store(t, target)
			if again.root.Tree != s.root.Tree || !versions.SameAttributes(again.root, s.root) {
				must(t, s.trees.Diff(t.Context(), s.root, mixed(t, s, target), func(c versions.Change) error {
					t.Errorf("%s: %+v became %+v", c.Path, c.Old, c.New)
					return nil
				}))
				t.Fatal("the trees differ")
			}
			rep, err = disk.Restore(t.Context(), s.trees, s.contents, s.root, target, disk.RestoreOptions{})
			if err != nil || rep.Files != 0 || rep.Same != 10 || len(rep.Refused) > 0 {
				t.Fatalf("once more: %v %+v", err, rep)
			}
		})
	}
}

// mixed stores target where s has its tree, to compare both.
func mixed(t *testing.T, s *stored, target string) versions.Entry {
	t.Helper()
	root, err := disk.OpenRoot(target)
	must(t, err)
	defer root.Close()
	return s.dir(t, root, "")
}

func TestRestoreKeepsWhatIsThere(t *testing.T) {
	from, target := t.TempDir(), t.TempDir()
	sample(t, from)
	s := store(t, from)
	outside := t.TempDir()
	must(t, os.WriteFile(filepath.Join(target, "f"), []byte("mine"), 0o600))
	must(t, os.Mkdir(filepath.Join(target, "big"), 0o700))
	must(t, os.Symlink(outside, filepath.Join(target, "a")))
	must(t, os.WriteFile(filepath.Join(target, "other"), []byte("mine"), 0o600))

	rep, err := disk.Restore(t.Context(), s.trees, s.contents, s.root, target, disk.RestoreOptions{})
	must(t, err)
	if !slices.Equal(rep.Refused, []string{"a", "big", "f"}) || len(rep.Failed) > 0 {
		t.Fatalf("refused %q, failed %v", rep.Refused, rep.Failed)
	}
	if data, _ := os.ReadFile(filepath.Join(target, "f")); string(data) != "mine" {
		t.Fatalf("an existing file is %q", data)
	}

	rep, err = disk.Restore(t.Context(), s.trees, s.contents, s.root, target, disk.RestoreOptions{Existing: disk.ReplaceExisting})
	must(t, err)
	if !slices.Equal(rep.Refused, []string{"big"}) || len(rep.Failed) > 0 {
		t.Fatalf("refused %q, failed %v", rep.Refused, rep.Failed)
	}
	for path, want := range map[string]string{"f": "content", "other": "mine", "a/b/c/deep": "deep"} {
		if data, _ := os.ReadFile(filepath.Join(target, path)); string(data) != want {
			t.Errorf("%s is %q, want %q", path, data, want)
		}
	}
	if list, err := os.ReadDir(outside); err != nil || len(list) > 0 {
		t.Fatalf("a symlink led out of the target: %v %v", list, err)
	}
}

func TestRestoreComparesWhatLooksTheSame(t *testing.T) {
	from, target := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(from, "f"), []byte("right"), 0o644))
	s := store(t, from)
	info, err := os.Stat(filepath.Join(from, "f"))
	must(t, err)
	must(t, os.WriteFile(filepath.Join(target, "f"), []byte("wrong"), 0o644))
	must(t, os.Chtimes(filepath.Join(target, "f"), info.ModTime(), info.ModTime()))
	for _, compare := range []bool{false, true} {
		rep, err := disk.Restore(t.Context(), s.trees, s.contents, s.root, target,
			disk.RestoreOptions{Existing: disk.ReplaceExisting, Compare: compare})
		must(t, err)
		data, _ := os.ReadFile(filepath.Join(target, "f"))
		if got, want := string(data), map[bool]string{false: "wrong", true: "right"}[compare]; got != want {
			t.Fatalf("compare %v: %q, %+v", compare, got, rep)
		}
	}
}

func TestRestoreNamesDamagedFilesAndGoesOn(t *testing.T) {
	from, target := t.TempDir(), filepath.Join(t.TempDir(), "x")
	sample(t, from)
	s := store(t, from)
	bad, err := s.trees.Resolve(t.Context(), s.root, "big")
	must(t, err)
	last := bad.Pieces[len(bad.Pieces)-1].ID
	s.use(missing{s.chunks, last})
	rep, err := disk.Restore(t.Context(), s.trees, s.contents, s.root, target, disk.RestoreOptions{})
	must(t, err)
	if len(rep.Failed) != 1 || rep.Failed[0].Path != "big" || rep.Files != 9 {
		t.Fatalf("%+v", rep)
	}
	list, err := os.ReadDir(target)
	must(t, err)
	var names []string
	for _, n := range list {
		names = append(names, n.Name())
	}
	if !slices.Equal(names, []string{"a", "empty", "f", "sparse"}) {
		t.Fatalf("left: %q", names)
	}
}

type missing struct {
	versions.Chunks
	id chunk.ID
}

func (m missing) Get(ctx context.Context, kind chunk.Kind, id chunk.ID) ([]byte, error) {
	if id == m.id {
		return nil, errors.New("lost")
	}
	return m.Chunks.Get(ctx, kind, id)
}

func TestRestoreOfOneFileAndOfAPart(t *testing.T) {
	from := t.TempDir()
	sample(t, from)
	s := store(t, from)
	one, err := s.trees.Resolve(t.Context(), s.root, "a/b/hard")
	must(t, err)
	target := t.TempDir()
	rep, err := disk.Restore(t.Context(), s.trees, s.contents, one, target, disk.RestoreOptions{})
	if data, rerr := os.ReadFile(filepath.Join(target, "hard")); err != nil || rerr != nil || string(data) != "content" {
		t.Fatalf("%q %v %v %+v", data, err, rerr, rep)
	}
	target = filepath.Join(t.TempDir(), "x")
	_, err = disk.Restore(t.Context(), s.trees, s.contents, s.root, target, disk.RestoreOptions{
		Filter: func(path string, e *versions.Entry) bool {
			return path == "a" || strings.HasPrefix(path, "a/b")
		},
	})
	must(t, err)
	var got []string
	must(t, filepath.WalkDir(target, func(p string, _ fs.DirEntry, err error) error {
		got = append(got, strings.TrimPrefix(p, target))
		return err
	}))
	if want := []string{"", "/a", "/a/b", "/a/b/c", "/a/b/c/deep", "/a/b/hard"}; !slices.Equal(got, want) {
		t.Fatalf("got %q", got)
	}
}

func TestRestoreEndsWithItsContext(t *testing.T) {
	from := t.TempDir()
	sample(t, from)
	s := store(t, from)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := disk.Restore(ctx, s.trees, s.contents, s.root, filepath.Join(t.TempDir(), "x"), disk.RestoreOptions{}); !errors.Is(err, context.Canceled) {
		t.Fatalf("ended with %v", err)
	}
}

func TestRestoreReplacesOnlyWhatIsOlder(t *testing.T) {
	from, target := t.TempDir(), t.TempDir()
	then := time.Unix(1_700_000_000, 0)
	for _, name := range []string{"older", "newer", "same", "dir/f"} {
		must(t, os.MkdirAll(filepath.Dir(filepath.Join(from, name)), 0o755))
		must(t, os.WriteFile(filepath.Join(from, name), []byte("saved"), 0o644))
		must(t, os.Chtimes(filepath.Join(from, name), then, then))
	}
	s := store(t, from)
	for name, age := range map[string]time.Duration{"older": -time.Hour, "newer": time.Hour, "dir": time.Hour} {
		must(t, os.WriteFile(filepath.Join(target, name), []byte("of now"), 0o644))
		must(t, os.Chtimes(filepath.Join(target, name), then.Add(age), then.Add(age)))
	}
	must(t, os.WriteFile(filepath.Join(target, "same"), []byte("saved"), 0o600))
	must(t, os.Chtimes(filepath.Join(target, "same"), then, then))

	rep, err := disk.Restore(t.Context(), s.trees, s.contents, s.root, target, disk.RestoreOptions{Existing: disk.ReplaceOlder})
	must(t, err)
	if !slices.Equal(rep.Newer, []string{"newer"}) || !slices.Equal(rep.Refused, []string{"dir"}) || rep.Files != 1 || rep.Same != 1 || len(rep.Failed) > 0 {
		t.Errorf("%+v", rep)
	}
	for name, want := range map[string]string{"older": "saved", "newer": "of now", "dir": "of now"} {
		if data, _ := os.ReadFile(filepath.Join(target, name)); string(data) != want {
			t.Errorf("%s is %q, want %q", name, data, want)
		}
	}
}

// What a restore that was killed has left goes with the next; what another one
// still writes stays.
func TestRestoreSweepsWhatAKilledOneHasLeft(t *testing.T) {
	from, target := t.TempDir(), t.TempDir()
	sample(t, from)
	s := store(t, from)
	child := exec.Command("true")
	must(t, child.Run())
	left := fmt.Sprintf(".syncfs-part-%d-0123456789abcdef-7", child.Process.Pid)
	mine := fmt.Sprintf(".syncfs-part-%d-0123456789abcdef-7", os.Getpid())
	must(t, os.Mkdir(filepath.Join(target, "a"), 0o755))
	for _, name := range []string{left, "a/" + left, mine, ".syncfs-part-x"} {
		must(t, os.WriteFile(filepath.Join(target, name), []byte("half"), 0o600))
	}
	rep, err := disk.Restore(t.Context(), s.trees, s.contents, s.root, target, disk.RestoreOptions{})
	must(t, err)
	if len(rep.Failed)+len(rep.Refused) > 0 {
		t.Errorf("%+v", rep)
	}
	for name, want := range map[string]bool{left: false, "a/" + left: false, mine: true, ".syncfs-part-x": true} {
		if _, err := os.Lstat(filepath.Join(target, name)); (err == nil) != want {
			t.Errorf("%s is there: %v, want %v", name, err == nil, want)
		}
	}
}
