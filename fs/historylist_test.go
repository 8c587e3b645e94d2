//go:build linux

package fs

import (
	"context"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

func TestListingsThatNobodyAsksForGo(t *testing.T) {
	var c listings
	c.init(1 << 20)
	use := func() {
		t.Helper()
		for i := range byte(10) {
			if _, err := c.get(t.Context(), chunk.ID{i + 1}, func(context.Context, chunk.ID) ([]versions.Entry, error) {
				return []versions.Entry{{Name: "a"}, {Name: "b"}}, nil
			}); err != nil {
				t.Fatal(err)
			}
		}
	}
	use()
	for range quietSweeps {
		if !c.sweep() {
			t.Fatal("listings were dropped while they were fresh")
		}
	}
	use()
	sweeps := 1
	for c.sweep() {
		if sweeps++; sweeps > 10*quietSweeps {
			t.Fatal("listings are kept for ever")
		}
	}
	if n, bytes := c.size(); n != 0 || bytes != 0 || sweeps <= quietSweeps {
		t.Errorf("after %d sweeps: %d listings, %d bytes", sweeps, n, bytes)
	}
	use()
	if n, _ := c.size(); n != 10 {
		t.Errorf("%d listings of 10 are kept afterwards", n)
	}
}
