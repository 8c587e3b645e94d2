//go:build linux

package syncer_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/versions"
)

// weakDisk mounts a disk that holds no modes, owners and links, takes a and A for
// one, refuses names that Windows has not, and numbers its inodes anew at each
// mount: exFAT by a program, which needs nothing of the kernel but FUSE.
func weakDisk(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	image, at := filepath.Join(dir, "image"), filepath.Join(dir, "disk")
	run := func(name string, args ...string) string {
		t.Helper()
		out, err := exec.Command(name, args...).Output()
		if err != nil {
			t.Fatalf("%s: %v (apt-get install exfat-fuse exfatprogs mount)", name, err)
		}
		return strings.TrimSpace(string(out))
	}
	if err := os.WriteFile(image, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(image, 64<<20); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir(at, 0o755); err != nil {
		t.Fatal(err)
	}
	run("mkfs.exfat", image)
	device := run("losetup", "-f", "--show", image)
	t.Cleanup(func() { run("losetup", "-d", device) })
	run("mount.exfat-fuse", device, at)
	t.Cleanup(func() { run("umount", "-l", at) })
	return at
}

// weak are a machine on an ordinary disk and one on a weak one.
func weak(t *testing.T) (w *world, strong, feeble *machine) {
	w = newWorld(t)
	strong, feeble = w.machine("strong"), w.machine("feeble")
	feeble.dir = filepath.Join(weakDisk(t), "dir")
	feeble.must(os.Mkdir(feeble.dir, 0o755))
	return w, strong, feeble
}

// shownMeta is what lstat and getxattr show of a path.
type shownMeta struct {
	mode, uid, gid uint32
	mtime          int64
	xattr          string
}

func (m *machine) meta(rel string) shownMeta {
	m.w.t.Helper()
	var st unix.Stat_t
	m.must(unix.Lstat(m.path(rel), &st))
	buf := make([]byte, 100)
	n, err := unix.Lgetxattr(m.path(rel), "user.test", buf)
	if err != nil {
		n = 0
	}
	return shownMeta{st.Mode & 0o7777, st.Uid, st.Gid, st.Mtim.Nano(), string(buf[:n])}
}

// notes are the paths that status tells of.
func (m *machine) notes(word string) (list []string) {
	for _, tr := range m.run.s.Status().Trouble {
		if tr.Note && strings.Contains(tr.Err.Error(), word) {
			list = append(list, tr.Path)
		}
	}
	return list
}

func TestAWeakDiskCarriesWhatItCannotHold(t *testing.T) {
	w, strong, feeble := weak(t)
	strong.start()
	strong.write("bin/tool", "v1")
	strong.write("doc", "v1")
	old := time.Date(2020, 1, 2, 3, 4, 5, 123456789, time.UTC)
	strong.must(os.Chmod(strong.path("bin/tool"), 0o750))
	strong.must(os.Chmod(strong.path("bin"), 0o711))
	strong.must(os.Chown(strong.path("doc"), 1234, 4321))
	strong.must(os.Chmod(strong.path("doc"), 0o604))
	strong.must(unix.Setxattr(strong.path("doc"), "user.test", []byte("kept"), 0))
	strong.must(os.Chtimes(strong.path("doc"), old, old))
	strong.flush()
	before := []shownMeta{strong.meta("bin"), strong.meta("bin/tool"), strong.meta("doc")}
	feeble.start()
	feeble.safe()
	strong.safe()
	// A second round does nothing, nor does looking at all of it again, nor all
	// of it with other inode numbers and lost records.
	number := w.head().Number
	feeble.flush()
	feeble.stop()
	feeble.must(os.RemoveAll(filepath.Join(feeble.home, "db")))
	feeble.start()
	feeble.flush()
	feeble.safe()
	_ = number
	// An edit there keeps what this one has set.
	feeble.write("bin/tool", "v2 is longer")
	feeble.write("doc", "v2 is longer")
	feeble.flush()
	strong.safe()
	eventually(t, "the edits come", func() bool {
		return strong.tree()["doc"] == "v2 is longer" && strong.tree()["bin/tool"] == "v2 is longer"
	})
	after := []shownMeta{strong.meta("bin"), strong.meta("bin/tool"), strong.meta("doc")}
	for i := range after {
		if i > 0 {
			before[i].mtime = after[i].mtime // it follows the content
		}
		if i == 0 {
			before[i].mtime = after[i].mtime
		}
		if after[i] != before[i] {
			t.Errorf("%d: it is %+v, was %+v", i, after[i], before[i])
		}
	}
	number = w.head().Number
	feeble.flush()
	strong.flush()
	feeble.stop()
	feeble.start()
	feeble.flush()
	feeble.safe()
	strong.safe()
	if n := w.head().Number; n != number {
		t.Errorf("there are %d snapshots more", n-number)
		list := w.records()
		for i := len(list) - int(n-number); i < len(list); i++ {
			strong.must(strong.run.trees.Diff(t.Context(), list[i-1].Root, list[i].Root, func(c versions.Change) error {
				t.Errorf("%s of %s: %q %+v, was %+v", list[i].Instant, list[i].Host, c.Path, c.New, c.Old)
				return nil
			}))
		}
	}
}

func TestWhatADiskCannotHoldIsNeverDeleted(t *testing.T) {
	w, strong, feeble := weak(t)
	strong.start()
	want := map[string]string{
		"plain": "1", "a:b": "colon", "end.": "dot", "d": "dir", "d/what?": "question", "d/plain": "2",
		"x:dir": "dir", "x:dir/in": "3", "x:dir/deep": "dir", "x:dir/deep/er": "4",
		"a": "lower", "A": "upper", "Dir": "dir", "Dir/f": "5", "dIR": "dir", "dIR/g": "6", "bad\xff": "7", "link": "-> plain",
	}
	for p, c := range want {
		if c != "dir" && p != "link" {
			strong.write(p, c)
		}
	}
	strong.must(os.Symlink("plain", strong.path("link")))
	strong.flush()
	check := func(what string) {
		t.Helper()
		feeble.flush()
		feeble.safe()
		strong.safe()
		same(t, what+": the line", w.line(strong), want)
		same(t, what+": strong", strong.tree(), want)
		number := w.head().Number
		feeble.flush()
		if n := w.head().Number; n != number {
			t.Errorf("%s: a second round made %d snapshots", what, n-number)
		}
	}
	feeble.start()
	check("first")
	for _, p := range []string{"a:b", "d/what?", "x:dir", "bad\xff", "link"} {
		if !slices.Contains(feeble.notes("cannot hold"), p) {
			t.Errorf("status does not tell of %q: %q", p, feeble.notes("cannot hold"))
		}
	}
	if n := len(feeble.notes("cannot hold")); n != 7 {
		t.Errorf("%d paths are told of: %q", n, feeble.notes("cannot hold"))
	}
	if n := len(strong.notes("differs from")); n != 2 {
		t.Errorf("pairs of names are told of: %q", strong.notes("differs from"))
	}
	tree := feeble.tree()
	if tree["plain"] != "1" || tree["d/plain"] != "2" || tree["a"] == "" && tree["A"] == "" {
		t.Errorf("feeble has %v", tree)
	}
	feeble.stop()
	feeble.start()
	check("after a restart")
	feeble.stop()
	feeble.must(os.RemoveAll(filepath.Join(feeble.home, "db")))
	feeble.start()
	check("after a loss of all records")

	// They change, come and go elsewhere.
	strong.write("a:b", "another")
	strong.write("x:dir/in", "changed")
	strong.write("x:dir/new", "new")
	strong.write("d/more*", "more")
	strong.remove("end.")
	strong.remove("x:dir/deep")
	want["a:b"], want["x:dir/in"], want["x:dir/new"], want["d/more*"] = "another", "changed", "new", "more"
	delete(want, "end.")
	delete(want, "x:dir/deep")
	delete(want, "x:dir/deep/er")
	strong.flush()
	check("after changes elsewhere")
	// And changes here are beside them.
	feeble.write("d/plain", "edited on feeble")
	want["d/plain"] = "edited on feeble"
	check("after changes here")
	strong.remove("x:dir")
	for p := range want {
		if strings.HasPrefix(p, "x:dir") {
			delete(want, p)
		}
	}
	strong.flush()
	check("after the directory went")
	// The one of two spellings that stands there goes: the other has room.
	there, other := "a", "A"
	if feeble.tree()["A"] != "" {
		there, other = other, there
	}
	strong.remove(there)
	delete(want, there)
	strong.flush()
	check("after one spelling went")
	n := 0
	eventually(t, "the other comes", func() bool {
		// The mount remembers for a second what the name led to.
		n++
		want["tick"] = itoa(n)
		strong.write("tick", want["tick"])
		check("after a tick")
		got := feeble.tree()
		return got[other] == want[other] && got[there] == ""
	})
}
