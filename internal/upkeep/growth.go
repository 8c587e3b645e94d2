package upkeep

import (
	"context"
	"fmt"
	"maps"
	"slices"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/line"
)

// Size is how much a repository holds, from four sides.
type Size struct {
	Restored int64   // every version of every folder, written out
	Versions int64   // so many of them
	Months   []Month // oldest first
}

// Month is what came in one month, by the remote's clock.
type Month struct {
	Month    string // 2006-01
	Versions int64  // that are still there
	Stored   int64  // bytes of packs that are still there
}

// Measure adds up versions and packs. Packs that a prune merged count in the
// month of the merge.
func Measure(ctx context.Context, remote blob.Store, lines *line.Lines) (Size, error) {
	var s Size
	months := map[string]*Month{}
	month := func(name string) *Month {
		m := months[name]
		if m == nil {
			m = &Month{Month: name}
			months[name] = m
		}
		return m
	}
	heads, err := lines.Folders(ctx)
	if err != nil {
		return s, err
	}
	for _, h := range heads {
		err := lines.Records(ctx, h.ID, 0, false, func(r line.Recorded) error {
			s.Versions++
			s.Restored += r.Root.Size
			month(r.Received.UTC().Format("2006-01")).Versions++
			return nil
		})
		if err != nil {
			return s, err
		}
	}
	err = remote.List(ctx, "packs/", "", func(i blob.Info) error {
		month(i.Modified.UTC().Format("2006-01")).Stored += i.Size
		return nil
	})
	if err != nil {
		return s, fmt.Errorf("list packs: %w", err)
	}
	for _, name := range slices.Sorted(maps.Keys(months)) {
		s.Months = append(s.Months, *months[name])
	}
	return s, nil
}
