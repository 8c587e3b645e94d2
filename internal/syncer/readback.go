package syncer

import (
	"fmt"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// readBack is the signature that the disk gives a path now. When a program has
// put something else there meanwhile, or written into it, the path waits: that
// must not be taken for what was staged.
func (s *Syncer) readBack(c stagedChange) (disk.Sig, error) {
	st, err := statBelow(s.o.Root, c.Path)
	if err != nil {
		return disk.Sig{}, err
	}
	kind, _ := st.Kind()
	same := kind == c.New.Kind && (kind != versions.File || st.Size == c.New.Size)
	if c.sig != (disk.Sig{}) {
		same = same && st.Ino == c.sig.Ino && st.Size == c.sig.Size
	}
	if c.name != "" { // the step moved the time of change alone
		same = same && st.MTime == c.sig.MTime
	}
	if !same {
		return disk.Sig{}, fmt.Errorf("%s: %w", c.Path, errWait)
	}
	return st.Sig, nil
}

func statBelow(root *disk.Root, path string) (disk.Stat, error) {
	dir, name := parentOf(path), path
	if dir != "" {
		name = path[len(dir)+1:]
	}
	d, err := root.OpenDir(dir)
	if err != nil {
		return disk.Stat{}, err
	}
	defer d.Close()
	if path == "" {
		return d.Self()
	}
	return d.Stat(name)
}
