//go:build linux

package fs_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
	"golang.org/x/sys/unix"
)

func TestLiveMountIsPOSIX(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
			if name == "FcntlFlockLocksFile" {
				continue // expects two descriptors of one process to exclude each other: on no disk they do
			}
			if name == "XAttrLarge" {
				continue // see TestLargeAttributesAreKept
			}
			t.Run(name, func(t *testing.T) {
				dir := filepath.Join(m.dir, name)
				must(t, os.Mkdir(dir, 0o755))
				posixtest.All[name](t, dir)
			})
		}
	})
}

// Not every disk holds large attributes: tmpfs does.
func TestLargeAttributesAreKept(t *testing.T) {
	dir := t.TempDir()
	must(t, unix.Mount("tmpfs", dir, "tmpfs", 0, "size=16m"))
	t.Cleanup(func() { unix.Unmount(dir, unix.MNT_DETACH) })
	m := mountAt(t, dir)
	posixtest.All["XAttrLarge"](t, m.dir)
}
