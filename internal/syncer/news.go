package syncer

import (
	"context"
	"errors"
	"path"

	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/versions"
)

// Bounds of what an Operation tells of a round.
const (
	newsListed  = 100    // paths that are named
	newsCounted = 10_000 // paths that are counted one by one
)

// FileChange is one path that arrived or left.
type FileChange struct {
	Path   string
	Change string // "created", "modified", "deleted", "metadata"
	Kind   versions.Kind
	Size   int64 // afterwards; of what was deleted, before
}

// news gathers what a round has brought.
type news struct {
	files  []FileChange // the first of them
	total  int64
	copies []string // conflict copies among them
}

// add takes one change. A directory whose time moved because of what is in it is
// no news.
func (n *news) add(c versions.Change) {
	f := FileChange{Path: c.Path}
	switch {
	case c.Path == "":
		return
	case c.New == nil:
		f.Change, f.Kind, f.Size = "deleted", c.Old.Kind, c.Old.Size
	case c.Old == nil:
		f.Change, f.Kind, f.Size = "created", c.New.Kind, c.New.Size
		if _, ok := reconcile.ParseCopy(path.Base(c.Path)); ok && len(n.copies) < newsListed {
			n.copies = append(n.copies, c.Path)
		}
	case c.New.Kind == versions.Dir && c.Old.Kind == versions.Dir:
		old, now := *c.Old, *c.New
		old.MTime, now.MTime = 0, 0
		if versions.SameAttributes(old, now) {
			return
		}
		f.Change, f.Kind = "metadata", versions.Dir
	case c.Old.Kind == c.New.Kind && versions.SameContent(*c.Old, *c.New):
		f.Change, f.Kind, f.Size = "metadata", c.New.Kind, c.New.Size
	default:
		f.Change, f.Kind, f.Size = "modified", c.New.Kind, c.New.Size
	}
	if f.Kind == versions.Dir {
		f.Size = 0 // what is in it is told by itself
	}
	n.total++
	if len(n.files) < newsListed {
		n.files = append(n.files, f)
	}
}

// tellArrived writes into the operations log what an apply has made visible, and
// the conflicts among it that this machine has not told of already.
func (s *Syncer) tellArrived(n news, at versions.Instant) {
	if n.total == 0 {
		return
	}
	s.o.Note(Operation{What: "arrived", Instant: at, Files: n.files, Total: n.total})
	for _, p := range n.copies {
		if s.told[p] {
			delete(s.told, p)
			continue
		}
		s.o.Note(Operation{What: "conflict", Instant: at, Path: p, Text: p})
	}
}

var errEnough = errors.New("enough is known")

// tellPushed writes into the operations log what the line has got with snap: how
// that differs from the tree before.
func (s *Syncer) tellPushed(ctx context.Context, before versions.Entry, snap *versions.Snapshot) {
	n := s.between(ctx, before, snap.Root)
	if n.total >= newsCounted {
		n.total = max(n.total, snap.Added+snap.Changed+snap.Removed)
	}
	s.o.Note(Operation{What: "pushed", Instant: snap.Instant, Files: n.files, Total: n.total})
}

// between tells how two trees of the line differ.
func (s *Syncer) between(ctx context.Context, old, new versions.Entry) news {
	var n news
	err := s.o.Trees.Diff(ctx, old, new, func(c versions.Change) error {
		if n.add(c); n.total >= newsCounted {
			return errEnough
		}
		return nil
	})
	if err != nil && !errors.Is(err, errEnough) {
		s.o.Logger.Debug("it is not known what has been sent", "err", err)
	}
	return n
}

// tellTrouble writes into the operations log which paths have begun to make
// trouble, and of which that is over.
func (s *Syncer) tellTrouble() {
	now := map[string]string{}
	for _, t := range s.o.Disk.Trouble() {
		if !t.Note {
			now[t.Path] = t.Err.Error()
		}
	}
	s.mu.Lock()
	before := s.trouble
	s.trouble = now
	s.mu.Unlock()
	for p, text := range now {
		if before[p] != text {
			s.o.Note(Operation{What: "problem", Path: p, Text: text})
		}
	}
	for p := range before {
		if _, still := now[p]; !still {
			s.o.Note(Operation{What: "solved", Path: p, Text: p})
		}
	}
}
