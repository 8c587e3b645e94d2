package folder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sort"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// A record is what was last taken of one directory:
//
//	format   1 byte: 2
//	flags    1 byte: bit 0 stale, the tree is not the one of these children
//	tree     32 bytes: the listing that the children make
//	dev      uvarint: device of the directory, 0: that of the root
//	n        uvarint: number of children
//	child    n times, sorted by name:
//	  length uvarint: of what follows
//	  name   uvarint length, bytes
//	  flags  1 byte: see below
//	  ino, mode, size  uvarint each
//	  mtime  varint, nanoseconds
//	  ctime  varint, nanoseconds after mtime
//	  seen   with flag childSeen: uvarint length, versions.AppendEntry of attributes
//	  entry  versions.AppendEntry, without the name
//	index    4 bytes each, big endian: where every 16th child begins
//	entries  4 bytes, big endian: how many the index has
//
// It is local to this machine and can be lost, so no other version reads it:
// one of another format counts as lost.
const (
	recordFormat = 2
	recordHead   = 2 + 32
	indexEvery   = 16

	recordStale = 1 << 0

	childRacy     = 1 << 0 // changed so shortly before it was read that a later change may look the same
	childUnstable = 1 << 1 // read while it was being written
	childLinked   = 1 << 2 // one of a hard-link group
	childFolded   = 1 << 3 // a directory of which nothing is here: its entry stands for all below
	childSeen     = 1 << 4 // the disk shows other attributes than the entry has
	childAbsent   = 1 << 5 // in the tree, but not on this disk, which cannot hold it
)

var errRecord = errors.New("damaged directory record")

// child is one name in a record.
type child struct {
	name  string
	flags byte
	sig   disk.Sig // without Dev
	seen  []byte   // attributes that the disk shows; nil: those of the entry
	raw   []byte   // the entry, encoded without its name
}

func (c *child) isDir() bool { return c.sig.Type() == disk.TypeDir }

func (c *child) folded() bool { return c.flags&childFolded != 0 }

func (c *child) absent() bool { return c != nil && c.flags&childAbsent != 0 }

func (c *child) entry() (versions.Entry, error) {
	e, rest, err := versions.DecodeEntry(c.raw)
	if err == nil && len(rest) > 0 {
		err = errRecord
	}
	if err != nil {
		return versions.Entry{}, fmt.Errorf("record of %q: %w", c.name, err)
	}
	e.Name = c.name
	return e, nil
}

// newChild makes a child from an entry and what the disk says of it; seen is nil
// where it shows all attributes of the entry.
func newChild(e versions.Entry, seen *versions.Entry, sig disk.Sig, flags byte) *child {
	c := &child{name: e.Name, sig: sig, flags: flags}
	if seen != nil {
		c.flags |= childSeen
		c.seen = versions.AppendEntry(make([]byte, 0, 64), *seen)
	}
	if e.Unstable {
		c.flags |= childUnstable
	}
	if e.Link != [16]byte{} {
		c.flags |= childLinked
	}
	e.Name = ""
	c.raw = versions.AppendEntry(make([]byte, 0, 96), e)
	return c
}

// record is a decoded record; its memory is the encoded one.
type record struct {
	stale bool
	tree  chunk.ID
	dev   uint64
	n     int
	body  []byte // the children
	index []byte
}

func parseRecord(data []byte) (*record, error) {
	if len(data) < recordHead+4 || data[0] != recordFormat {
		return nil, errRecord
	}
	r := &record{stale: data[1]&recordStale != 0, tree: chunk.ID(data[2:recordHead])}
	rest := data[recordHead:]
	var ok bool
	if r.dev, rest, ok = uvarint(rest); !ok {
		return nil, errRecord
	}
	n, rest, ok := uvarint(rest)
	if !ok || len(rest) < 4 {
		return nil, errRecord
	}
	entries := int64(binary.BigEndian.Uint32(rest[len(rest)-4:]))
	rest = rest[:len(rest)-4]
	if entries*4 > int64(len(rest)) || n > uint64(len(rest)) || (n+indexEvery-1)/indexEvery != uint64(entries) {
		return nil, errRecord
	}
	r.n = int(n)
	r.body, r.index = rest[:int64(len(rest))-entries*4], rest[int64(len(rest))-entries*4:]
	return r, nil
}

// each calls fn for every child in order; fn may keep it.
func (r *record) each(fn func(c child) error) error {
	rest := r.body
	for range r.n {
		c, next, err := nextChild(rest)
		if err != nil {
			return err
		}
		if err := fn(c); err != nil {
			return err
		}
		rest = next
	}
	if len(rest) > 0 {
		return errRecord
	}
	return nil
}

// find looks one name up.
func (r *record) find(name string) (*child, error) {
	var failed error
	at := func(i int) []byte {
		off := int64(binary.BigEndian.Uint32(r.index[4*i:]))
		if off > int64(len(r.body)) {
			failed = errRecord
			return nil
		}
		return r.body[off:]
	}
	blocks := len(r.index) / 4
	after := sort.Search(blocks, func(i int) bool {
		c, _, err := nextChild(at(i))
		if err != nil {
			failed = errRecord
			return true
		}
		return c.name > name
	})
	if failed != nil || after == 0 {
		return nil, failed
	}
	rest := at(after - 1)
	for i := 0; i < indexEvery && len(rest) > 0; i++ {
		c, next, err := nextChild(rest)
		if err != nil {
			return nil, err
		}
		if c.name == name {
			return &c, nil
		}
		if c.name > name {
			break
		}
		rest = next
	}
	return nil, failed
}

func nextChild(b []byte) (c child, rest []byte, err error) {
	size, b, ok := uvarint(b)
	if !ok || size > uint64(len(b)) {
		return child{}, nil, errRecord
	}
	b, rest = b[:size], b[size:]
	n, b, ok := uvarint(b)
	if !ok || n >= uint64(len(b)) {
		return child{}, nil, errRecord
	}
	c.name, c.flags, b = string(b[:n]), b[n], b[n+1:]
	var mode, length uint64
	var delta int64
	for _, v := range []*uint64{&c.sig.Ino, &mode, &length} {
		if *v, b, ok = uvarint(b); !ok {
			return child{}, nil, errRecord
		}
	}
	for _, v := range []*int64{&c.sig.MTime, &delta} {
		n := 0
		if *v, n = binary.Varint(b); n <= 0 {
			return child{}, nil, errRecord
		}
		b = b[n:]
	}
	c.sig.Mode, c.sig.Size, c.sig.CTime = uint32(mode), int64(length), c.sig.MTime+delta
	if c.flags&childSeen != 0 {
		n, after, ok := uvarint(b)
		if !ok || n > uint64(len(after)) {
			return child{}, nil, errRecord
		}
		c.seen, b = after[:n:n], after[n:]
	}
	c.raw = b
	return c, rest, nil
}

func uvarint(b []byte) (uint64, []byte, bool) {
	v, n := binary.Uvarint(b)
	if n <= 0 {
		return 0, nil, false
	}
	return v, b[n:], true
}

// recordWriter encodes a record, its children in order.
type recordWriter struct {
	n           int
	body, index []byte
	one         []byte
}

func (w *recordWriter) add(c *child) {
	if w.n%indexEvery == 0 {
		w.index = binary.BigEndian.AppendUint32(w.index, uint32(len(w.body)))
	}
	w.n++
	b := w.one[:0]
	b = binary.AppendUvarint(b, uint64(len(c.name)))
	b = append(b, c.name...)
	b = append(b, c.flags)
	b = binary.AppendUvarint(b, c.sig.Ino)
	b = binary.AppendUvarint(b, uint64(c.sig.Mode))
	b = binary.AppendUvarint(b, uint64(c.sig.Size))
	b = binary.AppendVarint(b, c.sig.MTime)
	b = binary.AppendVarint(b, c.sig.CTime-c.sig.MTime)
	if c.flags&childSeen != 0 {
		b = binary.AppendUvarint(b, uint64(len(c.seen)))
		b = append(b, c.seen...)
	}
	b = append(b, c.raw...)
	w.one = b
	w.body = binary.AppendUvarint(w.body, uint64(len(b)))
	w.body = append(w.body, b...)
}

func (w *recordWriter) finish(tree chunk.ID, dev uint64, stale bool) []byte {
	out := make([]byte, 0, recordHead+20+len(w.body)+len(w.index)+4)
	flags := byte(0)
	if stale {
		flags = recordStale
	}
	out = append(out, recordFormat, flags)
	out = append(out, tree[:]...)
	out = binary.AppendUvarint(out, dev)
	out = binary.AppendUvarint(out, uint64(w.n))
	out = append(out, w.body...)
	out = append(out, w.index...)
	return binary.BigEndian.AppendUint32(out, uint32(len(w.index)/4))
}

// edit is a child that is other than before; nil: gone.
type edit struct {
	name string
	to   *child
}

// merge calls fn for every child that r (which may be nil) has after edits,
// which are sorted by name.
func (r *record) merge(edits []edit, fn func(c *child) error) error {
	i := 0
	upTo := func(name string, all bool) error {
		for ; i < len(edits) && (all || edits[i].name < name); i++ {
			if edits[i].to != nil {
				if err := fn(edits[i].to); err != nil {
					return err
				}
			}
		}
		return nil
	}
	if r != nil {
		err := r.each(func(c child) error {
			if err := upTo(c.name, false); err != nil {
				return err
			}
			if i < len(edits) && edits[i].name == c.name {
				return nil // upTo gives the edited one
			}
			return fn(&c)
		})
		if err != nil {
			return err
		}
	}
	return upTo("", true)
}
