//go:build linux

package doctor_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/internal/doctor"
)

// system makes the files of a machine.
func system(t *testing.T, files map[string]string) string {
	t.Helper()
	root := t.TempDir()
	for name, text := range files {
		path := filepath.Join(root, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	return root
}

func find(t *testing.T, all []doctor.Check, name string) doctor.Check {
	t.Helper()
	for _, c := range all {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("no check %q in %+v", name, all)
	return doctor.Check{}
}

func TestEveryLackIsNamedWithWhatToDo(t *testing.T) {
	for _, tc := range []struct {
		name, check string
		uid         int
		files       map[string]string
		level       doctor.Level
		text        string
	}{
		{"no device", "fuse", 1000, nil, doctor.Problem, "no /dev/fuse"},
		{"no fusermount3", "fuse", 1000, map[string]string{"dev/fuse": ""}, doctor.Problem, "fusermount3 is missing"},
		{"all of FUSE", "fuse", 1000, map[string]string{"dev/fuse": "", "bin/fusermount3": ""}, doctor.OK, "fusermount3"},
		{"root needs no fusermount3", "fuse", 0, map[string]string{"dev/fuse": ""}, doctor.OK, "not needed"},
		{"an old kernel", "kernel", 0, map[string]string{"proc/sys/kernel/osrelease": "6.1.0-32-amd64\n"}, doctor.Note, "slower"},
		{"a new kernel", "kernel", 0, map[string]string{"proc/sys/kernel/osrelease": "6.12.3\n"}, doctor.OK, "passes"},
		{"a new kernel and a user", "kernel", 1000, map[string]string{"proc/sys/kernel/osrelease": "7.0.1\n"}, doctor.Note, "root only"},
		{"few watches", "inotify", 1000, map[string]string{"proc/sys/fs/inotify/max_user_watches": "8192\n"}, doctor.Warning, "only 8192"},
		{"many watches", "inotify", 1000, map[string]string{"proc/sys/fs/inotify/max_user_watches": "524288\n"}, doctor.OK, "524288"},
		{"too many mounts", "mounts", 1000, map[string]string{
			"etc/fuse.conf":       "# mount_max = 7\nmount_max = 1\n",
			"proc/self/mountinfo": "1 0 0:30 / /a rw shared:1 - fuse.sshfs x rw\n2 0 0:31 / /b rw - fusectl x rw\n",
		}, doctor.Problem, "1 FUSE mounts"},
		{"others locked out", "other users", 1000, map[string]string{"etc/fuse.conf": "#user_allow_other\n"}, doctor.Note, "nobody but this user"},
		{"others let in", "other users", 1000, map[string]string{"etc/fuse.conf": "user_allow_other\n"}, doctor.OK, "may enter"},
		{"updatedb", "updatedb", 1000, map[string]string{"etc/updatedb.conf": "PRUNEFS=\"nfs\"\n"}, doctor.Note, "every old version"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := find(t, doctor.System(doctor.Options{Root: system(t, tc.files), UID: tc.uid, Path: "/usr/bin:/bin"}), tc.check)
			if c.Level != tc.level || !strings.Contains(c.Text, tc.text) {
				t.Errorf("got %+v, want %s and %q", c, tc.level, tc.text)
			}
			if (c.Level == doctor.Problem || c.Level == doctor.Warning) && c.Do == "" {
				t.Errorf("nothing says what to do: %+v", c)
			}
		})
	}
}

func TestUpdatedbIsPutRight(t *testing.T) {
	for _, tc := range []struct{ name, was, want string }{
		{"as Debian has it", "PRUNE_BIND_MOUNTS=\"yes\"\n# PRUNENAMES=\".git .bzr\"\nPRUNEPATHS=\"/tmp\"\nPRUNEFS=\"NFS afs\"\n",
			"PRUNE_BIND_MOUNTS=\"yes\"\n# PRUNENAMES=\".git .bzr\"\nPRUNEPATHS=\"/tmp\"\nPRUNEFS=\"NFS afs fuse.syncfs\"\nPRUNENAMES=\".versions\"\n"},
		{"both there", "PRUNENAMES = \".git\"\nPRUNEFS=\"\"", "PRUNENAMES = \".git .versions\"\nPRUNEFS=\"fuse.syncfs\""},
		{"empty", "", "PRUNENAMES=\".versions\"\nPRUNEFS=\"fuse.syncfs\"\n"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			root := system(t, map[string]string{"etc/updatedb.conf": tc.was})
			c := find(t, doctor.System(doctor.Options{Root: root}), "updatedb")
			if c.Fix == nil {
				t.Fatalf("nothing puts it right: %+v", c)
			}
			if err := c.Fix(t.Context()); err != nil {
				t.Fatal(err)
			}
			data, err := os.ReadFile(filepath.Join(root, "etc/updatedb.conf"))
			if err != nil || string(data) != tc.want {
				t.Errorf("got %q, %v; want %q", data, err, tc.want)
			}
			if c := find(t, doctor.System(doctor.Options{Root: root}), "updatedb"); c.Level != doctor.OK {
				t.Errorf("afterwards: %+v", c)
			}
		})
	}
}

func TestALimitOfWatchesIsRaisedForGood(t *testing.T) {
	root := system(t, map[string]string{"proc/sys/fs/inotify/max_user_watches": "8192", "etc/sysctl.d/README": ""})
	if err := find(t, doctor.System(doctor.Options{Root: root}), "inotify").Fix(t.Context()); err != nil {
		t.Fatal(err)
	}
	if c := find(t, doctor.System(doctor.Options{Root: root}), "inotify"); c.Level != doctor.OK {
		t.Errorf("afterwards: %+v", c)
	}
	if data, err := os.ReadFile(root + "/etc/sysctl.d/60-syncfs.conf"); err != nil || !strings.Contains(string(data), "max_user_watches=524288") {
		t.Errorf("got %q, %v", data, err)
	}
}
