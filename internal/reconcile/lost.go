package reconcile

import (
	"context"

	"github.com/syncfs/syncfs/versions"
)

// Bounds of what is deleted without asking.
const (
	lostShare = 30  // percent of the files that there were
	lostFew   = 100 // fewer are no mass
	lostAll   = 5   // of a folder that small, all may go
)

// TooMany tells whether so many deletions, of a tree of most files, wait for the
// user's word: over 30 % and over 100, or all of more than 5.
func TooMany(deleted, most int64) bool {
	return deleted > lostFew && deleted*100 > most*lostShare || deleted > lostAll && deleted >= most
}

// Differ compares trees; versions.Trees does.
type Differ interface {
	Diff(ctx context.Context, a, b versions.Entry, fn func(versions.Change) error) error
}

// Lost is what went between two trees.
type Lost struct {
	Files int64
	Items []HeldItem // files, and the directories that went, one by one
}

// FindLost finds what before has and after has not. by, if set, tells which of
// the paths count.
//
// A path counts only where its content vanishes as well: a rename is a delete and
// a new file of equal content, and who moves 5,000 files loses none. Every new
// place of a content stands for one old place of it. A file that was replaced by
// another content is edited, not deleted.
func FindLost(ctx context.Context, d Differ, before, after versions.Entry, by func(path string) bool) (Lost, error) {
	var gone []HeldItem
	came := map[[32]byte]int{}
	err := d.Diff(ctx, before, after, func(c versions.Change) error {
		switch {
		case c.New == nil:
			// A directory that held anything counts by what it held.
			if c.Path != "" && (by == nil || c.Old.Kind == versions.Dir && c.Old.Count > 0 || by(c.Path)) {
				gone = append(gone, HeldItem{Path: c.Path, Entry: *c.Old})
			}
		case c.New.Kind != versions.Dir && (c.Old == nil || !versions.SameContent(*c.Old, *c.New)):
			came[contentOf(*c.New)]++
		}
		return nil
	})
	if err != nil {
		return Lost{}, err
	}
	var l Lost
	for _, g := range gone {
		if g.Entry.Kind != versions.Dir {
			if hash := contentOf(g.Entry); came[hash] > 0 {
				came[hash]--
				continue
			}
			l.Files++
		}
		l.Items = append(l.Items, g)
	}
	l.Items = needed(l.Items)
	return l, nil
}

// contentOf tells contents apart. Which parts of a file are holes depends on how
// it was copied.
func contentOf(e versions.Entry) [32]byte {
	e.Holes = nil
	return versions.ContentHash(e)
}

// needed leaves out directories that hold nothing which is lost but did hold
// something: all of it was moved, and the directory with it. Directories come
// before what is in them.
func needed(items []HeldItem) []HeldItem {
	keep := make([]bool, len(items))
	open := map[string]bool{} // directories with something below that is kept
	for i := len(items) - 1; i >= 0; i-- {
		it := items[i]
		keep[i] = it.Entry.Kind != versions.Dir || it.Entry.Count == 0 || open[it.Path]
		if keep[i] {
			open[parent(it.Path)] = true
		}
	}
	out := items[:0]
	for i, it := range items {
		if keep[i] {
			out = append(out, it)
		}
	}
	return out
}

func parent(path string) string {
	for i := len(path) - 1; i >= 0; i-- {
		if path[i] == '/' {
			return path[:i]
		}
	}
	return ""
}
