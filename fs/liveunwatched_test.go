//go:build linux

package fs_test

import (
	"errors"
	iofs "io/fs"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/fs"
	"golang.org/x/sys/unix"
)

// What lies in an ignored directory is watched by nobody, and the kernel keeps
// what it knows of it for a moment only.
func TestWhatChangesBelowInAnUnwatchedDirectoryIsSeenSoon(t *testing.T) {
	for _, pass := range []bool{true, false} {
		dir := workDir(t)
		must(t, os.MkdirAll(dir+"/build/deep", 0o755))
		must(t, os.WriteFile(dir+"/build/deep/f", []byte("one"), 0o644))
		m := mountAt(t, dir, passthrough(pass), func(o *fs.LiveOptions) {
			o.Unwatched = func(path func() (string, bool)) bool {
				p, ok := path()
				return ok && (p == "build" || strings.HasPrefix(p, "build/"))
			}
		})
		look := func() string {
			names, err := os.ReadDir(m.dir + "/build/deep")
			must(t, err)
			_, err = os.Stat(m.dir + "/build/deep/new")
			data, rerr := os.ReadFile(m.dir + "/build/deep/f")
			must(t, rerr)
			st, serr := os.Stat(m.dir + "/build/deep/f")
			must(t, serr)
			there := "not there"
			if !errors.Is(err, iofs.ErrNotExist) {
				there = "there"
			}
			return strings.Join([]string{string(data), st.Mode().String(), there, names[len(names)-1].Name()}, " ")
		}
		if got := look(); got != "one -rw-r--r-- not there f" {
			t.Fatalf("it is %q", got)
		}
		m.below(t, "build/deep/new", "new")
		m.below(t, "build/deep/f", "another")
		must(t, unix.Fchmodat(m.disk.Fd(), "build/deep/f", 0o600, 0))
		begun := time.Now()
		eventually(t, "the changes are seen", func() bool { return look() == "another -rw------- there new" })
		t.Logf("seen after %v", time.Since(begun).Round(time.Millisecond))
	}
}
