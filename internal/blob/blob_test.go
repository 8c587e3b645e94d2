package blob_test

import (
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/blob/blobtest"
)

func TestMemKeepsTheContract(t *testing.T) {
	blobtest.Run(t, func(*testing.T) blob.Store { return blob.NewMem(time.Now) })
}

func TestDirKeepsTheContract(t *testing.T) {
	blobtest.Run(t, func(t *testing.T) blob.Store { return openDir(t, t.TempDir(), time.Now) })
}

func openDir(t testing.TB, path string, now func() time.Time) *blob.Dir {
	t.Helper()
	d, err := blob.OpenDir(path, blob.DirOptions{Now: now})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := d.Close(); err != nil {
			t.Error(err)
		}
	})
	return d
}
