package reconcile

import (
	"context"
	"time"

	"github.com/syncfs/syncfs/versions"
)

// Window is how far back deletions are counted together.
const Window = 10 * time.Minute

// Round is a tree of this machine in which something was deleted.
type Round struct {
	At            time.Time
	Before, After versions.Entry // roots
	Removed       int64          // at most so many files were deleted
}

// Rounds are those of a window, oldest first.
type Rounds []Round

// Until leaves out what is older than the window that ends now, and what a clock
// that was set back has put into the future.
func (w Rounds) Until(now time.Time) Rounds {
	var out Rounds
	for _, r := range w {
		if age := now.Sub(r.At); age <= Window && age >= -Window {
			out = append(out, r)
		}
	}
	return out
}

// Judgement is what was found of the deletions of a window.
type Judgement struct {
	Lost
	Most versions.Entry // root of the tree of the window that had most files
	Hold bool
}

// Judge counts what this machine deleted in the window against the tree that had
// most files in it; now is the tree without what was deleted last. free, if set,
// tells paths that do not count.
//
// Counted is what that largest tree had, what now has not, and what a round of
// this machine took away: so files that came and went within the window do not
// add up (compilers make them by the thousand), a branch that was checked out
// and left again is nothing, and what others deleted meanwhile is not ours. The
// items are what was there last, not what the largest tree had.
func (w Rounds) Judge(ctx context.Context, d Differ, now versions.Entry, free func(path string) bool) (Judgement, error) {
	var most versions.Entry
	sum := int64(0)
	for _, r := range w {
		sum += r.Removed
		if most.IsZero() || r.Before.Count > most.Count {
			most = r.Before
		}
	}
	j := Judgement{Most: most}
	tooMany := func(deleted int64) bool { // or all that others have left
		return TooMany(deleted, most.Count) || deleted > lostAll && now.Count == 0
	}
	if !tooMany(sum) {
		return j, nil // whatever is looked at, it does not become more
	}
	ours := map[string]*versions.Entry{} // as they were when they were deleted last
	for _, r := range w {
		err := d.Diff(ctx, r.Before, r.After, func(c versions.Change) error {
			if c.New == nil {
				ours[c.Path] = c.Old
			}
			return nil
		})
		if err != nil {
			return j, err
		}
	}
	var err error
	j.Lost, err = FindLost(ctx, d, most, now, func(path string) bool {
		return ours[path] != nil && (free == nil || !free(path))
	})
	for i, it := range j.Items {
		if last := ours[it.Path]; last != nil && last.Kind != versions.Dir && it.Entry.Kind != versions.Dir {
			j.Items[i].Entry = *last // edited since the fullest tree
		}
	}
	j.Hold = err == nil && tooMany(j.Files)
	return j, err
}
