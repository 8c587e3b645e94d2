//go:build linux

package fs_test

import (
	"bytes"
	"context"
	"errors"
	iofs "io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/fs"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
	"github.com/syncfs/syncfs/versions/versionstest"
)

// pastSource is the past of a folder in memory.
type pastSource struct {
	chunks   *versionstest.Memory
	trees    *versions.Trees
	contents *versions.Contents

	mu        sync.Mutex // guards what follows
	snapshots []pastSnapshot
	moments   map[string][]fs.Moment
	building  bool          // the list is not complete
	block     chan struct{} // content waits for it, or for its request's end
	fail      error         // content is this error
	calls     map[string]int
}

type pastSnapshot struct {
	at   versions.Instant
	root versions.Entry
	dirs map[string]chunk.ID
}

func newPastSource() *pastSource {
	chunks := versionstest.New()
	return &pastSource{
		chunks:   chunks,
		trees:    versions.NewTrees(chunks, [32]byte{1}),
		contents: versions.NewContents(chunks, [32]byte{2}),
		moments:  map[string][]fs.Moment{},
		calls:    map[string]int{},
	}
}

func (s *pastSource) count(call string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls[call]++
}

func (s *pastSource) called(call string) int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.calls[call]
}

func (s *pastSource) Moments(_ context.Context, dir string) ([]fs.Moment, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls["moments"]++
	return slices.Clone(s.moments[dir]), !s.building, nil
}

func (s *pastSource) Dir(ctx context.Context, dir string, at versions.Instant) (versions.Entry, error) {
	s.mu.Lock()
	i, found := slices.BinarySearchFunc(s.snapshots, at, func(s pastSnapshot, at versions.Instant) int { return s.at.Compare(at) })
	if !found {
		i--
	}
	if i < 0 {
		s.mu.Unlock()
		return versions.Entry{}, iofs.ErrNotExist
	}
	root := s.snapshots[i].root
	s.calls["dir"]++
	s.mu.Unlock()
	return s.trees.Resolve(ctx, root, dir)
}

func (s *pastSource) Read(ctx context.Context, tree chunk.ID) ([]versions.Entry, error) {
	s.count("read")
	return s.trees.Read(ctx, tree)
}

func (s *pastSource) Lookup(ctx context.Context, tree chunk.ID, name string) (versions.Entry, error) {
	s.count("lookup")
	return s.trees.Lookup(ctx, tree, name)
}

func (s *pastSource) Open(ctx context.Context, e versions.Entry) (fs.Content, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls["open"]++
	r, err := s.contents.Open(ctx, e)
	return &pastContent{Reader: r, source: s, block: s.block, fail: s.fail}, err
}

type pastContent struct {
	*versions.Reader
	source *pastSource
	block  chan struct{}
	fail   error
}

func (c *pastContent) ReadAtContext(ctx context.Context, p []byte, off int64) (int, error) {
	if c.block != nil {
		c.source.count("blocked")
		select {
		case <-c.block:
		case <-ctx.Done():
			c.source.count("interrupted")
			return 0, context.Canceled
		}
	}
	if c.fail != nil {
		return 0, c.fail
	}
	return c.Reader.ReadAtContext(ctx, p, off)
}

// land adds a snapshot, and says which directories changed.
func (s *pastSource) land(t testing.TB, at versions.Instant, root versions.Entry) (changed []string) {
	t.Helper()
	dirs := map[string]chunk.ID{}
	err := s.trees.Walk(context.Background(), root, func(path string, e versions.Entry) error {
		if e.Kind == versions.Dir {
			dirs[path] = e.Tree
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	var before map[string]chunk.ID
	if n := len(s.snapshots); n > 0 {
		before = s.snapshots[n-1].dirs
	}
	for path, tree := range dirs {
		if old, ok := before[path]; !ok || old != tree {
			s.moments[path] = append(s.moments[path], fs.Moment{Instant: at, Tree: tree})
			changed = append(changed, path)
		}
	}
	s.snapshots = append(s.snapshots, pastSnapshot{at: at, root: root, dirs: dirs})
	return changed
}

// capture reads a directory of the disk into a tree.
func (s *pastSource) capture(t testing.TB, path string) versions.Entry {
	t.Helper()
	root, err := disk.OpenRoot(path)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	dir, err := root.OpenDir("")
	if err != nil {
		t.Fatal(err)
	}
	defer dir.Close()
	c := capturing{s, disk.NewOwners(), map[uint64][16]byte{}}
	e, err := c.dir(dir)
	if err != nil {
		t.Fatal(err)
	}
	return e
}

type capturing struct {
	source *pastSource
	owners *disk.Owners
	links  map[uint64][16]byte
}

func (c *capturing) dir(d *disk.Dir) (versions.Entry, error) {
	self, _, _, err := d.SelfEntry(c.owners)
	if err != nil {
		return self, err
	}
	list, err := d.List()
	if err != nil {
		return self, err
	}
	var entries []versions.Entry
	for _, name := range list {
		e, err := c.entry(d, name.Name)
		if err != nil {
			return self, err
		}
		entries = append(entries, e)
	}
	slices.SortFunc(entries, func(a, b versions.Entry) int { return strings.Compare(a.Name, b.Name) })
	self.Tree, err = c.source.trees.Write(context.Background(), entries)
	return self, err
}

func (c *capturing) entry(d *disk.Dir, name string) (versions.Entry, error) {
	e, st, _, err := d.Entry(name, c.owners)
	if err != nil {
		return e, err
	}
	switch e.Kind {
	case versions.Dir:
		sub, err := d.OpenDir(name)
		if err != nil {
			return e, err
		}
		defer sub.Close()
		self, err := c.dir(sub)
		e.Tree = self.Tree
		return e, err
	case versions.File:
		f, err := d.Open(name)
		if err != nil {
			return e, err
		}
		defer f.Close()
		if e.Holes, err = f.Holes(e.Size); err != nil {
			return e, err
		}
		content, err := c.source.contents.WriteSparse(context.Background(), f, e.Size, e.Holes)
		if err != nil {
			return e, err
		}
		e.Pieces, e.List = content.Pieces, content.List
		if st.Links > 1 {
			if _, ok := c.links[st.Ino]; !ok {
				c.links[st.Ino] = [16]byte{1, byte(len(c.links))}
			}
			e.Link = c.links[st.Ino]
		}
	}
	return e, nil
}

// file is a file of the past with this content.
func (s *pastSource) file(t testing.TB, name, content string) versions.Entry {
	t.Helper()
	e, err := s.contents.Write(context.Background(), strings.NewReader(content))
	if err != nil {
		t.Fatal(err)
	}
	e.Name, e.Kind, e.Mode, e.Size, e.MTime = name, versions.File, 0o644, int64(len(content)), 1e18+7
	return e
}

// dir is a directory of the past with these entries.
func (s *pastSource) dir(t testing.TB, name string, entries ...versions.Entry) versions.Entry {
	t.Helper()
	slices.SortFunc(entries, func(a, b versions.Entry) int { return strings.Compare(a.Name, b.Name) })
	tree, err := s.trees.Write(context.Background(), entries)
	if err != nil {
		t.Fatal(err)
	}
	return versions.Entry{Name: name, Kind: versions.Dir, Mode: 0o755, MTime: 1e18 + 9, Tree: tree}
}

// instant is n seconds into the first of February 2025.
func instant(n int) versions.Instant {
	return versions.Instant{Sec: time.Date(2025, 2, 1, 0, 0, 0, 0, time.UTC).Unix() + int64(n)}
}

// mountPast mounts a source for the time of the test.
func mountPast(t testing.TB, s *pastSource, change ...func(*fs.HistoryMountOptions)) (string, *fs.HistoryMount) {
	t.Helper()
	o := fs.HistoryMountOptions{
		Source: s, MountPoint: t.TempDir(), Folder: "test",
		AllowOther: true,
	}
	for _, c := range change {
		c(&o)
	}
	m, err := fs.MountHistory(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := m.Unmount(); err != nil {
			t.Error(err)
		}
		m.Wait()
		if stats := m.Stats(); stats.Handles != 0 {
			t.Errorf("%d handles are left", stats.Handles)
		}
	})
	return o.MountPoint, m
}

// sh runs a shell script, which must succeed within a bound, and returns what
// it prints. All looks at a mount are those of other processes: ours serves it.
func sh(t testing.TB, dir, script string, args ...string) string {
	t.Helper()
	out, err := trySh(t, dir, script, args...)
	if err != nil {
		t.Fatalf("%s\n%v\n%s", script, err, out)
	}
	return out
}

func trySh(t testing.TB, dir, script string, args ...string) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 60*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", append([]string{"-c", "cd \"$0\" && " + script, dir}, args...)...)
	cmd.Env = append(os.Environ(), "LC_ALL=C", "TZ=UTC")
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	err := cmd.Run()
	if ctx.Err() != nil {
		err = errors.Join(err, ctx.Err())
	}
	return out.String(), err
}

// original is a directory with everything that is kept of files.
func original(t testing.TB) string {
	t.Helper()
	dir := t.TempDir()
	sh(t, dir, `umask 022
		mkdir -p sub/deep empty "with space"
		echo one >a; echo two >sub/b; echo three >sub/deep/c
		: >zero
		head -c 3000000 /dev/urandom >large
		truncate -s 9M sparse
		printf hello | dd of=sparse bs=1 seek=4194304 conv=notrunc 2>/dev/null
		truncate -s 1M nothing
		ln -s a link; ln -s /nowhere/at/all dangling
		ln a hard; ln a sub/hard
		printf x >"$(printf 'latin\351\377')"
		printf 'y\n' >"$(printf 'new\nline')"
		chmod 4755 zero; chmod 1777 empty; chmod 600 sub/b; chmod 000 sub/deep/c
		chown 1234:5678 sub/b; chown -h 12:34 link
		setfattr -n user.color -v red a; setfattr -n user.empty sub
		setfacl -m u:1234:r sub/b; setfacl -d -m g:5678:rwx sub
		mknod null c 1 3; mknod disk b 259 1048575
		touch -d '1965-03-04 05:06:07.123456789' sub/deep/c
		touch -h -d '2001-02-03 04:05:06.999999999' link
		touch -d '2038-04-05 06:07:08.000000001' "with space"
		touch -d '2020-01-01 00:00:00.5' sub/deep sub empty .`)
	return dir
}

// describe prints all that is kept of every file below a directory but its
// content. Inode numbers become the order in which they first came.
const describe = `all() { find . -mindepth 1 -path ./.versions -prune -o "$@"; }
	all -printf '%p %y %m %U:%G %T@ %l ' \( -type d -printf 'dir' -o -printf '%s' \) -printf '\n' | sort
	all -print0 | xargs -0 getfattr -h -d -m - -e hex 2>/dev/null | sort
	all -type c -exec stat -c '%n %t %T' {} + | sort; all -type b -exec stat -c '%n %t %T' {} + | sort
	all -type f -links +1 -printf '%i %p\n' | sort -k2 | awk '{ if (!($1 in n)) n[$1] = ++k; print n[$1], $2 }'`

const sums = `find . -path ./.versions -prune -o -type f -print0 | sort -z | xargs -0 sha256sum`

func tempFile(t testing.TB, name string) string { return filepath.Join(t.TempDir(), name) }

// holesOf lists where a file has data.
func holesOf(t testing.TB, path string) (list []int64) {
	t.Helper()
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		t.Fatal(err)
	}
	for off := int64(0); off < st.Size; {
		data, err := unix.Seek(fd, off, unix.SEEK_DATA)
		if errors.Is(err, unix.ENXIO) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if off, err = unix.Seek(fd, data, unix.SEEK_HOLE); err != nil {
			t.Fatal(err)
		}
		list = append(list, data, off)
	}
	return list
}
