//go:build linux

package fs_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// nobody runs a shell script as another user, with the groups given.
func nobody(t *testing.T, dir, script string, groups ...string) string {
	t.Helper()
	out, err := tryNobody(dir, script, groups...)
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return out
}

func tryNobody(dir, script string, groups ...string) (string, error) {
	args := []string{"--reuid=65534", "--regid=65534", "--clear-groups"}
	if len(groups) > 0 {
		args[2] = "--groups=" + strings.Join(groups, ",")
	}
	cmd := exec.Command("setpriv", append(args, "sh", "-c", script)...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	return string(out), err
}

func owner(t *testing.T, path string) string {
	t.Helper()
	var st unix.Stat_t
	must(t, unix.Lstat(path, &st))
	return fmt.Sprintf("%d:%d %o", st.Uid, st.Gid, st.Mode&0o7777)
}

// same checks an entry through the mount and on the disk below.
func (m *mounted) same(t *testing.T, name, want string) {
	t.Helper()
	if got := owner(t, filepath.Join(m.dir, name)); got != want {
		t.Errorf("%s through the mount is %s, want %s", name, got, want)
	}
	var st unix.Stat_t
	must(t, unix.Fstatat(m.disk.Fd(), name, &st, unix.AT_SYMLINK_NOFOLLOW))
	if got := fmt.Sprintf("%d:%d %o", st.Uid, st.Gid, st.Mode&0o7777); got != want {
		t.Errorf("%s on the disk is %s, want %s", name, got, want)
	}
}

func TestWhatAUserMakesIsTheirs(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		must(t, os.Mkdir(m.dir+"/open", 0o777))
		must(t, os.Chmod(m.dir+"/open", 0o777))
		nobody(t, m.dir+"/open", "umask 027; echo x >file; mkdir dir; ln -s file link; mkfifo fifo; umask 0; echo y >wide; mkdir widedir")
		m.same(t, "open/file", "65534:65534 640")
		m.same(t, "open/dir", "65534:65534 750")
		m.same(t, "open/link", "65534:65534 777")
		m.same(t, "open/fifo", "65534:65534 640")
		m.same(t, "open/wide", "65534:65534 666")
		m.same(t, "open/widedir", "65534:65534 777")

		// A set-gid directory gives its group, and itself to directories.
		must(t, os.Chown(m.dir+"/open", 0, 12345))
		must(t, unix.Chmod(m.dir+"/open", 0o2777))
		nobody(t, m.dir+"/open", "umask 022; echo x >grouped; mkdir groupeddir")
		m.same(t, "open/grouped", "65534:12345 644")
		m.same(t, "open/groupeddir", "65534:12345 2755")

		// Rights by a supplementary group, which a request does not carry.
		must(t, os.Mkdir(m.dir+"/team", 0o770))
		must(t, os.Chown(m.dir+"/team", 0, 777))
		must(t, unix.Chmod(m.dir+"/team", 0o770))
		nobody(t, "/", "umask 022; echo x >"+m.dir+"/team/file", "777")
		m.same(t, "team/file", "65534:65534 644")
		if out, err := tryNobody("/", "cat "+m.dir+"/team/file"); err == nil {
			t.Errorf("who is not in the group reads %q", out)
		}
	})
}

func TestUsersGetNoMoreThanOnDisk(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		write(t, m.dir+"/secret", "secret")
		must(t, os.Chmod(m.dir+"/secret", 0o600))
		must(t, os.Mkdir(m.dir+"/closed", 0o700))
		must(t, os.Mkdir(m.dir+"/sticky", 0o777))
		must(t, unix.Chmod(m.dir+"/sticky", 0o1777))
		write(t, m.dir+"/sticky/mine", "x")
		for _, script := range []string{
			"cat secret", "echo x >>secret", "ls closed", "echo x >new", "mkdir new", "rm secret",
			"rm sticky/mine", "mv sticky/mine sticky/yours", "chmod 777 secret", "chown 65534 secret",
			"ln secret sticky/hard && cat sticky/hard", "touch -d 2020-01-01 secret",
		} {
			if out, err := tryNobody(m.dir, script); err == nil {
				t.Errorf("%q is allowed: %s", script, out)
			}
		}
		if got := read(t, m.dir+"/secret"); got != "secret" {
			t.Errorf("secret is now %q", got)
		}
	})
}

func TestAWriteClearsSetIDBits(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		for _, c := range []struct{ name, script string }{
			{"write", "echo more >>F"},
			{"truncate-open", ": >F"},
			{"truncate", "truncate -s 2 F"},
			{"fallocate", "fallocate -l 8192 F"},
			{"dd-in-the-middle", "dd if=/dev/zero of=F bs=1 count=1 seek=1 conv=notrunc"},
		} {
			t.Run(c.name, func(t *testing.T) {
				f := m.dir + "/" + c.name
				write(t, f, "content")
				must(t, unix.Chmod(f, 0o6777))
				m.same(t, c.name, "0:0 6777")
				nobody(t, m.dir, strings.ReplaceAll(c.script, "F", c.name))
				m.same(t, c.name, "0:0 777")
			})
		}
		t.Run("chown", func(t *testing.T) {
			f := m.dir + "/chowned"
			write(t, f, "content")
			must(t, unix.Chmod(f, 0o6777))
			must(t, os.Chown(f, 65534, 65534))
			m.same(t, "chowned", "65534:65534 777")
		})
	})
}

func TestADefaultACLTakesThePlaceOfTheUmask(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		bare := t.TempDir()
		for _, dir := range []string{bare, m.dir} {
			must(t, os.Mkdir(dir+"/d", 0o777))
			run(t, dir, "setfacl", "-d", "-m", "u::rwx,g::rwx,o::r,u:65534:rw", "d")
			run(t, dir, "sh", "-c", "umask 077; echo x >d/f; mkdir d/sub; umask 022; echo y >d/g; chmod 600 d/g; setfacl -b d/f")
			// Without the ACL, the umask is back.
			run(t, dir, "sh", "-c", "setfacl -k d; umask 027; echo z >d/plain; mkdir d/plaindir")
		}
		want := run(t, bare, "getfacl", "-nR", "d")
		if got := run(t, m.dir, "getfacl", "-nR", "d"); got != want {
			t.Errorf("through the mount:\n%s\non a disk:\n%s", got, want)
		}
		if got := run(t, m.dir, "stat", "-c", "%n %A", "d/f", "d/g", "d/sub", "d/plain", "d/plaindir"); got != run(t, bare, "stat", "-c", "%n %A", "d/f", "d/g", "d/sub", "d/plain", "d/plaindir") {
			t.Errorf("modes differ: %s", got)
		}
	})
}

func TestAnACLLetsAUserIn(t *testing.T) {
	m := mountAt(t, workDir(t))
	write(t, m.dir+"/f", "for one user")
	must(t, os.Chmod(m.dir+"/f", 0o600))
	if out, err := tryNobody(m.dir, "cat f"); err == nil {
		t.Fatalf("read without a right: %s", out)
	}
	run(t, m.dir, "setfacl", "-m", "u:65534:r", "f")
	if got := nobody(t, m.dir, "cat f"); got != "for one user" {
		t.Errorf("got %q", got)
	}
}

func TestSetGIDFallsWithAnACLFromOutsideTheGroup(t *testing.T) {
	m := mountAt(t, workDir(t))
	write(t, m.dir+"/f", "x")
	must(t, os.Chown(m.dir+"/f", 65534, 0))
	must(t, unix.Chmod(m.dir+"/f", 0o2755))
	nobody(t, m.dir, "setfacl -m u:1:r f")
	var st syscall.Stat_t
	must(t, syscall.Stat(m.dir+"/f", &st))
	if st.Mode&unix.S_ISGID != 0 {
		t.Errorf("mode is still %o", st.Mode&0o7777)
	}
}

func run(t *testing.T, dir, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Dir = dir
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %v: %v\n%s", name, args, err, out)
	}
	return string(out)
}
