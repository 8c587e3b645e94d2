package versions

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"github.com/syncfs/syncfs/internal/canon"
	"github.com/syncfs/syncfs/internal/chunk"
)

// The pieces of a file of more than MaxInline are kept in chunks of kind List:
// version, level, and on level 0 the pieces, on the levels above the id of each
// chunk of the level below and how many bytes of content it stands for. A chunk
// of a list ends after an element whose id begins with ten zero bits, once it
// holds minListed elements, or with maxListed: a change inside a large file
// costs one small chunk of its list.
const (
	listVersion = 1
	minListed   = 64
	maxListed   = 4096
	maxList     = 1 << 20 // bytes of a chunk
)

// listed is an element of a list chunk: a piece, or a chunk of the level below.
type listed struct {
	id     chunk.ID
	length int64 // bytes of content
}

type listNode struct {
	level    int
	elements []listed
	length   int64 // of all elements
}

func encodeList(level int, elements []listed) []byte {
	b := make([]byte, 0, 2+len(elements)*37)
	b = append(b, listVersion, byte(level))
	for _, e := range elements {
		b = append(b, e.id[:]...)
		b = canon.Uvarint(b, uint64(e.length))
	}
	return b
}

func decodeList(data []byte) (*listNode, error) {
	if len(data) > maxList {
		return nil, fmt.Errorf("%w: a list of pieces of %d bytes", canon.ErrFormat, len(data))
	}
	d := canon.NewDecoder(data)
	if v := d.Byte(); d.Err() == nil && v != listVersion {
		return nil, fmt.Errorf("list of pieces of format %d, but this program knows %d only: update it", v, listVersion)
	}
	n := &listNode{level: int(d.Byte()), elements: make([]listed, 0, len(data)/33)}
	if n.level > maxLevel {
		d.Fail("level %d", n.level)
	}
	limit := uint64(math.MaxUint32)
	if n.level > 0 {
		limit = math.MaxInt64
	}
	for d.More() {
		var e listed
		copy(e.id[:], d.Fixed(len(e.id)))
		e.length = int64(d.Uvarint(limit))
		if d.Err() == nil && (e.length == 0 || e.id.IsZero() || e.length > math.MaxInt64-n.length) {
			d.Fail("a piece of %d bytes", e.length)
		}
		n.elements = append(n.elements, e)
		n.length += e.length
	}
	if d.Err() == nil && len(n.elements) == 0 {
		d.Fail("no pieces in it")
	}
	if err := d.Done(); err != nil {
		return nil, err
	}
	return n, nil
}

// listWriter stores the list of a file's pieces while they become known, in
// memory that does not grow with the file.
type listWriter struct {
	c      Chunks
	levels [][]listed // of each level what is not stored yet
	count  []int      // of each level how many chunks are stored
}

func (w *listWriter) add(ctx context.Context, level int, e listed) error {
	if len(w.levels) == level {
		w.levels, w.count = append(w.levels, nil), append(w.count, 0)
	}
	w.levels[level] = append(w.levels[level], e)
	n := len(w.levels[level])
	if n >= maxListed || n >= minListed && binary.BigEndian.Uint16(e.id[:])>>6 == 0 {
		return w.flush(ctx, level)
	}
	return nil
}

func (w *listWriter) flush(ctx context.Context, level int) error {
	elements := w.levels[level]
	id, err := w.c.Put(ctx, chunk.List, encodeList(level, elements))
	if err != nil {
		return err
	}
	w.levels[level] = elements[:0]
	w.count[level]++
	up := listed{id: id}
	for _, e := range elements {
		up.length += e.length
	}
	return w.add(ctx, level+1, up)
}

// close stores what is left and returns the top.
func (w *listWriter) close(ctx context.Context) (chunk.ID, error) {
	for level := 0; ; level++ {
		if level > 0 && w.count[level-1] == 1 {
			return w.levels[level][0].id, nil
		}
		if len(w.levels[level]) > 0 {
			if err := w.flush(ctx, level); err != nil {
				return chunk.ID{}, err
			}
		}
	}
}
