//go:build linux

package disk_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func openDir(t testing.TB, path string) *disk.Dir {
	t.Helper()
	root, err := disk.OpenRoot(path)
	must(t, err)
	t.Cleanup(func() { root.Close() })
	d, err := root.OpenDir("")
	must(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

// acl is user::rw-, user:1000:rwx, group::r--, mask::rwx, other::r--.
var acl = []byte{
	2, 0, 0, 0,
	1, 0, 6, 0, 0xff, 0xff, 0xff, 0xff,
	2, 0, 7, 0, 0xe8, 3, 0, 0,
	4, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
	16, 0, 7, 0, 0xff, 0xff, 0xff, 0xff,
	32, 0, 4, 0, 0xff, 0xff, 0xff, 0xff,
}

// capNetRaw is cap_net_raw=ep.
var capNetRaw = []byte{1, 0, 0, 2, 0, 32, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0}

func TestEntryIsReadAndMadeAgain(t *testing.T) {
	from, to := t.TempDir(), t.TempDir()
	file := filepath.Join(from, "file\xff")
	must(t, os.WriteFile(file, []byte("content"), 0o600))
	must(t, os.Chown(file, 1234, 4321))
	for name, value := range map[string]string{
		"user.b": "2", "user.a": strings.Repeat("x", 2000), "user.empty": "", "trusted.t": "t",
		"user.syncfs.mark": "ours", "system.posix_acl_access": string(acl), "security.capability": string(capNetRaw),
	} {
		if err := unix.Setxattr(file, name, []byte(value), 0); err != nil {
			t.Fatalf("%s: %v", name, err)
		}
	}
	must(t, os.Chmod(file, 0o674|os.ModeSetuid|os.ModeSetgid|os.ModeSticky))
	must(t, unix.Setxattr(file, "security.capability", capNetRaw, 0))
	long := strings.Repeat("/long", 800)
	must(t, os.Symlink(long, filepath.Join(from, "link")))
	must(t, unix.Lsetxattr(filepath.Join(from, "link"), "trusted.t", []byte("on a link"), 0))
	must(t, os.Mkdir(filepath.Join(from, "dir"), 0o755))
	must(t, unix.Setxattr(filepath.Join(from, "dir"), "system.posix_acl_default", acl, 0))
	must(t, os.Chmod(filepath.Join(from, "dir"), 0o555|os.ModeSticky))
	must(t, unix.Mknod(filepath.Join(from, "dev"), unix.S_IFBLK|0o660, int(unix.Mkdev(300, 70000))))
	for i, name := range []string{"file\xff", "link", "dir", "dev"} {
		ts := []unix.Timespec{{Sec: 1}, {Sec: -int64(i) * 1000, Nsec: 123456789}}
		must(t, unix.UtimesNanoAt(unix.AT_FDCWD, filepath.Join(from, name), ts, unix.AT_SYMLINK_NOFOLLOW))
	}
	src, dst := openDir(t, from), openDir(t, to)
	owners := disk.NewOwners()
	for _, name := range []string{"file\xff", "link", "dir", "dev"} {
		e, st, notes, err := src.Entry(name, owners)
		if err != nil || len(notes) > 0 {
			t.Fatalf("%q: %v %v", name, err, notes)
		}
		if kind, _ := st.Kind(); kind != e.Kind || st.Size != e.Size && e.Kind == versions.File {
			t.Errorf("%q: %+v does not fit %+v", name, st, e)
		}
		made, notes, err := dst.Create(t.Context(), name, e, bytesContent("content"), disk.CreateOptions{Owner: true, Sync: true})
		if err != nil || len(notes) > 0 {
			t.Fatalf("make %q: %v %v", name, err, notes)
		}
		again, st, notes, err := dst.Entry(name, owners)
		if err != nil || len(notes) > 0 {
			t.Fatalf("read %q again: %v %v", name, err, notes)
		}
		if !versions.Equal(e, again) {
			t.Errorf("%q became\n%+v\nwant\n%+v", name, again, e)
		}
		if made.Sig != st.Sig {
			t.Errorf("%q: signature told %+v, is %+v", name, made.Sig, st.Sig)
		}
	}
	e, _, _, err := dst.Entry("file\xff", owners)
	must(t, err)
	var names []string
	for _, x := range e.Xattrs {
		names = append(names, x.Name)
	}
	want := []string{"security.capability", "system.posix_acl_access", "trusted.t", "user.a", "user.b", "user.empty"}
	if !slices.Equal(names, want) || e.Mode != 0o7674 || e.UID != 1234 || e.GID != 4321 {
		t.Errorf("attributes %q, mode %o, owner %d:%d", names, e.Mode, e.UID, e.GID)
	}
	if e, _, _, err := dst.Entry("link", owners); err != nil || e.Target != long || len(e.Xattrs) != 1 {
		t.Errorf("the symlink became %+v %v", e, err)
	}
	if e, _, _, err := src.Entry("dev", owners); err != nil || e.Device != unix.Mkdev(300, 70000) || e.User != "root" {
		t.Errorf("the device is %+v %v", e, err)
	}
	if data, err := os.ReadFile(filepath.Join(to, "file\xff")); err != nil || string(data) != "content" {
		t.Errorf("content %q %v", data, err)
	}
}

// bytesContent is disk.Content.
type bytesContent string

func (c bytesContent) reader() *bytes.Reader { return bytes.NewReader([]byte(c)) }

func TestSetMetaMakesTheAttributesExactlyThese(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	must(t, os.WriteFile(path, nil, 0o644))
	must(t, unix.Setxattr(path, "user.old", []byte("x"), 0))
	must(t, unix.Setxattr(path, "user.syncfs.mark", []byte("x"), 0))
	d := openDir(t, dir)
	_, notes, err := d.SetMeta("f", disk.Meta{Mode: 0o400, MTime: 1, Xattrs: map[string][]byte{"user.new": []byte("y")}})
	if err != nil || len(notes) > 0 {
		t.Fatal(err, notes)
	}
	e, _, _, err := d.Entry("f", disk.NewOwners())
	must(t, err)
	if len(e.Xattrs) != 1 || e.Xattrs[0].Name != "user.new" || e.Mode != 0o400 || e.MTime != 1 {
		t.Fatalf("became %+v", e)
	}
	if _, err := unix.Getxattr(path, "user.syncfs.mark", make([]byte, 9)); err != nil {
		t.Fatalf("our own mark is gone: %v", err)
	}
	if _, _, err := d.SetMeta("f", disk.Meta{Mode: 0o600, MTime: 2}); err != nil {
		t.Fatal(err)
	}
	if e, _, _, _ := d.Entry("f", disk.NewOwners()); len(e.Xattrs) != 1 {
		t.Fatalf("nil took attributes away: %+v", e)
	}
}

func TestWhatADiskCannotHoldIsNoted(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mount("none", dir, "ramfs", 0, "")) // knows no attributes of users
	defer func() { must(t, unix.Unmount(dir, 0)) }()
	root, err := disk.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	d, err := root.OpenDir("")
	must(t, err)
	defer d.Close()
	e := versions.Entry{
		Kind: versions.File, Mode: 0o640, MTime: 5_000_000_001, Size: 1,
		Xattrs: []versions.Xattr{{Name: "system.posix_acl_access", Value: acl}, {Name: "user.a", Value: []byte("b")}},
	}
	_, notes, err := d.Create(t.Context(), "f", e, bytesContent("x"), disk.CreateOptions{})
	must(t, err)
	var what []string
	for _, n := range notes {
		what = append(what, n.What)
	}
	if !slices.Equal(what, []string{"access list", "extended attribute"}) {
		t.Fatalf("noted %v", notes)
	}
	if again, _, notes, err := d.Entry("f", disk.NewOwners()); err != nil || len(notes) > 0 || again.Mode != 0o640 || again.MTime != e.MTime {
		t.Fatalf("became %+v %v %v", again, notes, err)
	}
}

func TestCreateLeavesNothingAfterAnError(t *testing.T) {
	d := openDir(t, t.TempDir())
	e := versions.Entry{Kind: versions.File, Size: 10, Mode: 0o644}
	if _, _, err := d.Create(t.Context(), "f", e, bytesContent("short"), disk.CreateOptions{}); err == nil {
		t.Fatal("content that is too short was taken")
	}
	if list, err := d.List(); err != nil || len(list) > 0 {
		t.Fatalf("left: %v %v", list, err)
	}
}

func TestHolesAreFoundAndLeft(t *testing.T) {
	dir := t.TempDir()
	f, err := os.Create(filepath.Join(dir, "f"))
	must(t, err)
	for _, at := range []int64{64 << 10, 1 << 30} {
		_, err = f.WriteAt([]byte("data"), at)
		must(t, err)
	}
	must(t, f.Truncate(2<<30))
	holes, err := disk.Holes(int(f.Fd()), 2<<30)
	must(t, err)
	must(t, f.Close())
	if len(holes) != 3 || holes[0].Offset != 0 || holes[2].Offset+holes[2].Length != 2<<30 {
		t.Fatalf("holes %v", holes)
	}
	d := openDir(t, dir)
	e := versions.Entry{Kind: versions.File, Size: 2 << 30, Mode: 0o644, Holes: holes}
	st, _, err := d.Create(t.Context(), "g", e, pattern{}, disk.CreateOptions{})
	must(t, err)
	if st.Size != 2<<30 || st.Blocks > 1000 {
		t.Fatalf("made with %d blocks", st.Blocks)
	}
	g, err := d.Open("g")
	must(t, err)
	defer g.Close()
	again, err := g.Holes(st.Size)
	must(t, err)
	if !slices.Equal(again, holes) {
		t.Fatalf("holes %v, want %v", again, holes)
	}
}

func TestQuietSeesWritersAndMappings(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	must(t, os.WriteFile(path, make([]byte, 4096), 0o644))
	d := openDir(t, dir)
	ask := func() (quiet, unused bool) {
		t.Helper()
		f, err := d.Open("f")
		must(t, err)
		defer f.Close()
		return f.Quiet(), f.Unused()
	}
	expect := func(when string, quiet, unused bool) {
		t.Helper()
		if q, u := ask(); q != quiet || u != unused {
			t.Errorf("%s: quiet %v, unused %v; want %v, %v", when, q, u, quiet, unused)
		}
	}
	expect("alone", true, true)
	r, err := os.Open(path)
	must(t, err)
	expect("a reader", true, false)
	must(t, r.Close())
	w, err := os.OpenFile(path, os.O_RDWR, 0)
	must(t, err)
	expect("a writer", false, false)
	mem, err := unix.Mmap(int(w.Fd()), 0, 4096, unix.PROT_WRITE, unix.MAP_SHARED)
	must(t, err)
	must(t, w.Close())
	expect("a mapping that outlives its file", false, false)
	must(t, unix.Munmap(mem))
	expect("alone again", true, true)
}

// TestLeasesDoNoHarm asks all the time while others open for writing: the
// signals that the kernel sends must not end the process, nor make opens fail.
func TestLeasesDoNoHarm(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "f")
	must(t, os.WriteFile(path, []byte("x"), 0o644))
	d := openDir(t, dir)
	end := time.Now().Add(300 * time.Millisecond)
	var wg sync.WaitGroup
	for range 2 {
		wg.Go(func() {
			for time.Now().Before(end) {
				f, err := d.Open("f")
				if err != nil {
					t.Error(err)
					return
				}
				f.Quiet()
				f.Close()
			}
		})
		wg.Go(func() {
			for time.Now().Before(end) {
				f, err := os.OpenFile(path, os.O_WRONLY, 0)
				if err != nil {
					t.Error(err)
					return
				}
				f.Close()
			}
		})
	}
	wg.Wait()
}

func TestNothingLeadsOutOfARoot(t *testing.T) {
	outside, dir := t.TempDir(), t.TempDir()
	must(t, os.WriteFile(filepath.Join(outside, "secret"), []byte("x"), 0o644))
	must(t, os.Symlink(outside, filepath.Join(dir, "out")))
	must(t, os.Symlink(filepath.Join(outside, "secret"), filepath.Join(dir, "file")))
	root, err := disk.OpenRoot(dir)
	must(t, err)
	defer root.Close()
	for _, path := range []string{"out", "out/secret", "..", "../" + filepath.Base(outside), outside} {
		if d, err := root.OpenDir(path); err == nil {
			d.Close()
			t.Errorf("%s was opened", path)
		}
	}
	d := openDir(t, dir)
	if f, err := d.Open("file"); err == nil {
		f.Close()
		t.Error("a symlink was followed")
	}
	if err := func() error { _, _, err := d.SetMeta("file", disk.Meta{Mode: 0o600, MTime: 1}); return err }(); err != nil {
		t.Error(err)
	}
	if info, _ := os.Stat(filepath.Join(outside, "secret")); info.Mode() != 0o644 || info.ModTime().UnixNano() == 1 {
		t.Error("metadata went through a symlink")
	}
}

func TestOwnersByName(t *testing.T) {
	o := disk.NewOwners()
	if o.User(0) != "root" || o.Group(0) != "root" || o.User(4_000_000_000) != "" {
		t.Errorf("root is %q:%q, nobody at all is %q", o.User(0), o.Group(0), o.User(4_000_000_000))
	}
	if uid, gid := o.IDs("root", 77, "no-such-group", 88); uid != 0 || gid != 88 {
		t.Errorf("ids %d:%d", uid, gid)
	}
	if uid, gid := o.IDs("", 77, "", 88); uid != 77 || gid != 88 {
		t.Errorf("ids %d:%d", uid, gid)
	}
}

func TestListGivesEveryName(t *testing.T) {
	dir := t.TempDir()
	for i := range 3000 {
		must(t, os.WriteFile(filepath.Join(dir, fmt.Sprintf("%s-%d", strings.Repeat("n", i%200), i)), nil, 0o644))
	}
	d := openDir(t, dir)
	for range 2 {
		list, err := d.List()
		if err != nil || len(list) != 3000 || list[7].Type != disk.TypeFile {
			t.Fatalf("%d names, %v", len(list), err)
		}
	}
}
