package versions

import (
	"context"
	"fmt"
	"math"

	"github.com/syncfs/syncfs/internal/canon"
	"github.com/syncfs/syncfs/internal/chunk"
)

// DirChange is a directory that changed and the id of its new listing; Gone
// when it is no more.
type DirChange struct {
	Path string // "" is the root
	Tree chunk.ID
	Gone bool
}

// MaxInlineDirs is how many changed directories a snapshot holds itself.
const MaxInlineDirs = 200

// A chunk of kind Dirs: version, level; on level 0 the changed directories, on
// level 1 the ids of such chunks, in order.
const (
	dirsVersion  = 1
	dirsPerChunk = 1 << 20 // bytes
	maxDirsChunk = 4 << 20
)

// How a changed directory goes on.
const (
	dirListed = iota // 32 bytes of the listing's id
	dirEmpty         // it is there, and empty
	dirGone
)

// appendDirs writes their number, and of each how many bytes of the path are
// those of the path before, the rest of it, and what became of it.
func appendDirs(b []byte, dirs []DirChange) []byte {
	b = canon.Uvarint(b, uint64(len(dirs)))
	last := ""
	for _, d := range dirs {
		n := commonPrefix(last, d.Path)
		b = canon.Uvarint(b, uint64(n))
		b = canon.String(b, d.Path[n:])
		switch {
		case d.Gone:
			b = append(b, dirGone)
		case d.Tree.IsZero():
			b = append(b, dirEmpty)
		default:
			b = append(append(b, dirListed), d.Tree[:]...)
		}
		last = d.Path
	}
	return b
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	return n
}

func decodeDirs(d *canon.Decoder) []DirChange {
	n := d.Count(math.MaxInt32, 3)
	if n == 0 {
		return nil
	}
	dirs := make([]DirChange, 0, n)
	last, total := "", 0
	for i := range n {
		same := int(d.Uvarint(uint64(len(last))))
		rest := d.Bytes(math.MaxInt32)
		if d.Err() != nil {
			return nil
		}
		c := DirChange{Path: last[:same] + string(rest)}
		total += len(c.Path)
		if total > maxPaths || i > 0 && c.Path <= last || commonPrefix(last, c.Path) != same {
			d.Fail("directory %.40q is out of order", c.Path)
			return nil
		}
		switch how := d.Byte(); how {
		case dirListed:
			copy(c.Tree[:], d.Fixed(len(c.Tree)))
			if c.Tree.IsZero() {
				d.Fail("a listing without an id")
			}
		case dirEmpty:
		case dirGone:
			c.Gone = true
		default:
			d.Fail("a directory that is %d", how)
		}
		dirs = append(dirs, c)
		last = c.Path
	}
	return dirs
}

// maxPaths bounds all paths of a list together: shared prefixes could otherwise
// make a small chunk into large memory. Writers stay far below.
const maxPaths = 16 << 20

// EncodeDirs writes changed directories, sorted by path, as the content of one
// chunk of kind Dirs.
func EncodeDirs(dirs []DirChange) []byte {
	return appendDirs([]byte{dirsVersion, 0}, dirs)
}

// DecodeDirs reads what EncodeDirs wrote.
func DecodeDirs(data []byte) ([]DirChange, error) {
	dirs, _, err := decodeDirsChunk(data)
	return dirs, err
}

func decodeDirsChunk(data []byte) (dirs []DirChange, below []chunk.ID, err error) {
	if len(data) > maxDirsChunk {
		return nil, nil, fmt.Errorf("decode changed directories: %w: %d bytes are too many", canon.ErrFormat, len(data))
	}
	d := canon.NewDecoder(data)
	if v := d.Byte(); d.Err() == nil && v != dirsVersion {
		return nil, nil, fmt.Errorf("changed directories of format %d, but this program knows %d only: update it", v, dirsVersion)
	}
	switch level := d.Byte(); level {
	case 0:
		dirs = decodeDirs(&d)
	case 1:
		for range d.Count(maxDirsChunk, 32) {
			below = append(below, chunk.ID(d.Fixed(32)))
		}
		if d.Err() == nil && len(below) < 2 {
			d.Fail("%d chunks of directories", len(below))
		}
	default:
		d.Fail("level %d", level)
	}
	if err := d.Done(); err != nil {
		return nil, nil, fmt.Errorf("decode changed directories: %w", err)
	}
	return dirs, below, nil
}

// StoreDirs moves the directories of a snapshot that has many of them into
// chunks, and leaves one that has few as it is. The chunks must be durable
// before the snapshot is.
func (s *Snapshot) StoreDirs(ctx context.Context, c Chunks) error {
	if len(s.Dirs) <= MaxInlineDirs {
		return nil
	}
	top := []byte{dirsVersion, 1}
	var ids []chunk.ID
	for dirs := s.Dirs; len(dirs) > 0; {
		n, size := 0, 0
		for n < len(dirs) && (n == 0 || size < dirsPerChunk) {
			size += len(dirs[n].Path) + 40
			n++
		}
		id, err := c.Put(ctx, chunk.Dirs, EncodeDirs(dirs[:n]))
		if err != nil {
			return fmt.Errorf("store the changed directories of a snapshot: %w", err)
		}
		ids = append(ids, id)
		dirs = dirs[n:]
	}
	list := ids[0]
	if len(ids) > 1 {
		top = canon.Uvarint(top, uint64(len(ids)))
		for _, id := range ids {
			top = append(top, id[:]...)
		}
		var err error
		if list, err = c.Put(ctx, chunk.Dirs, top); err != nil {
			return fmt.Errorf("store the changed directories of a snapshot: %w", err)
		}
	}
	s.Dirs, s.DirsList = nil, list
	return nil
}

// ChangedDirs returns the directories that changed against the first parent,
// from the record or from its chunks.
func (s *Snapshot) ChangedDirs(ctx context.Context, c Chunks) ([]DirChange, error) {
	if s.DirsList.IsZero() {
		return s.Dirs, nil
	}
	data, err := get(ctx, c, chunk.Dirs, s.DirsList)
	if err != nil {
		return nil, fmt.Errorf("changed directories of snapshot %v: %w", s.Instant, err)
	}
	dirs, below, err := decodeDirsChunk(data)
	if err != nil {
		return nil, damaged(chunk.Dirs, s.DirsList, err)
	}
	prefetch(ctx, c, chunk.Dirs, below)
	for _, id := range below {
		data, err := get(ctx, c, chunk.Dirs, id)
		if err != nil {
			return nil, fmt.Errorf("changed directories of snapshot %v: %w", s.Instant, err)
		}
		part, err := DecodeDirs(data)
		if err == nil && (len(part) == 0 || len(dirs) > 0 && part[0].Path <= dirs[len(dirs)-1].Path) {
			err = fmt.Errorf("%w: out of order", canon.ErrFormat)
		}
		if err != nil {
			return nil, damaged(chunk.Dirs, id, err)
		}
		dirs = append(dirs, part...)
	}
	return dirs, nil
}
