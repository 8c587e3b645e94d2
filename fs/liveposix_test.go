//go:build linux

package fs_test

import (
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"

	"github.com/hanwen/go-fuse/v2/posixtest"
)

func TestLiveMountIsPOSIX(t *testing.T) {
	eachMode(t, func(t *testing.T, m *mounted) {
		for _, name := range slices.Sorted(maps.Keys(posixtest.All)) {
			if name == "FcntlFlockLocksFile" {
				continue // expects two descriptors of one process to exclude each other: on no disk they do
			}
			t.Run(name, func(t *testing.T) {
				dir := filepath.Join(m.dir, name)
				must(t, os.Mkdir(dir, 0o755))
				posixtest.All[name](t, dir)
			})
		}
	})
}
