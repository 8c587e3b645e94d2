package folder

import (
	"encoding/binary"
	"fmt"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// rootKey is where the record of the root directory itself is kept. No path
// below a root begins with a slash.
const rootKey = "/root"

// markName is the extended attribute that tells a folder's root from an empty
// mount point.
const markName = disk.OwnXattr + "folder"

// rootRecord is what is kept of the root itself: whether the mark could be set,
// its inode, and its entry once it was taken, with the attributes that the disk
// shows where they are others.
type rootRecord struct {
	marked bool
	sig    disk.Sig
	entry  *versions.Entry
	seen   *versions.Entry
}

const rootFormat = 2

func (r rootRecord) encode() []byte {
	flags := byte(0)
	if r.marked {
		flags |= 1
	}
	if r.entry != nil {
		flags |= 2
	}
	if r.seen != nil {
		flags |= 4
	}
	b := []byte{rootFormat, flags}
	b = binary.AppendUvarint(b, r.sig.Dev)
	b = binary.AppendUvarint(b, r.sig.Ino)
	b = binary.AppendUvarint(b, uint64(r.sig.Mode))
	b = binary.AppendVarint(b, r.sig.Size)
	b = binary.AppendVarint(b, r.sig.MTime)
	b = binary.AppendVarint(b, r.sig.CTime)
	if r.entry != nil {
		b = versions.AppendEntry(b, *r.entry)
	}
	if r.seen != nil {
		b = versions.AppendEntry(b, *r.seen)
	}
	return b
}

func parseRoot(b []byte) (r rootRecord, err error) {
	if len(b) < 2 || b[0] != rootFormat {
		return r, errRecord
	}
	flags := b[1]
	r.marked = flags&1 != 0
	b = b[2:]
	var mode uint64
	var ok bool
	for _, v := range []*uint64{&r.sig.Dev, &r.sig.Ino, &mode} {
		if *v, b, ok = uvarint(b); !ok {
			return r, errRecord
		}
	}
	r.sig.Mode = uint32(mode)
	for _, v := range []*int64{&r.sig.Size, &r.sig.MTime, &r.sig.CTime} {
		n := 0
		if *v, n = binary.Varint(b); n <= 0 {
			return r, errRecord
		}
		b = b[n:]
	}
	if flags&2 != 0 {
		e, rest, err := versions.DecodeEntry(b)
		if err != nil {
			return r, errRecord
		}
		r.entry, b = &e, rest
	}
	if flags&4 != 0 {
		e, rest, err := versions.DecodeEntry(b)
		if err != nil {
			return r, errRecord
		}
		r.seen, b = &e, rest
	}
	if flags&6 != 0 && len(b) > 0 {
		return r, errRecord
	}
	return r, nil
}

// rootRecord reads the record of the root; known is false when there is none
// that can be read.
func (f *Folder) rootRecord() (r rootRecord, known bool, err error) {
	data, err := f.o.Records.Get(rootKey)
	if err != nil {
		return r, false, fmt.Errorf("record of the root: %w", err)
	}
	if data == nil {
		return r, false, nil
	}
	r, perr := parseRoot(data)
	return r, perr == nil, nil
}

func (f *Folder) putRoot(r rootRecord) error {
	err := f.updateRecords(func(set func(string, []byte) error) error { return set(rootKey, r.encode()) })
	if err != nil {
		return fmt.Errorf("record of the root: %w", err)
	}
	return nil
}

// markRoot makes the root this folder's.
func (f *Folder) markRoot() error {
	if f.o.ID == "" {
		return nil
	}
	dir, err := f.o.Root.OpenDir("")
	if err != nil {
		return err
	}
	defer dir.Close()
	r, _, err := f.rootRecord()
	if err != nil {
		return err
	}
	merr := dir.SetMark(markName, f.o.ID)
	if merr != nil {
		merr = dir.Touch(markFile(f.o.ID))
	}
	if merr != nil {
		f.o.Logger.Info("the folder's directory cannot be marked; it is known by its inode", "path", f.o.Root.Path(), "err", merr)
	}
	st, err := dir.Self()
	if err != nil {
		return err
	}
	r.marked, r.sig = merr == nil, st.Sig
	return f.putRoot(r)
}

// checkRoot is nil when the root is this folder's: it carries the mark or, on a
// disk that cannot hold one, is the inode that was attached.
func (f *Folder) checkRoot() error {
	if f.o.ID == "" {
		return nil
	}
	dir, err := f.o.Root.OpenDir("")
	if err != nil {
		return fmt.Errorf("%s: %w: %w", f.o.Root.Path(), ErrRootMissing, err)
	}
	defer dir.Close()
	mark, err := dir.Mark(markName)
	if err == nil && mark == f.o.ID {
		return nil
	}
	if err == nil && mark != "" {
		return fmt.Errorf("%s belongs to folder %s: %w", f.o.Root.Path(), mark, ErrRootMissing)
	}
	if marked(dir, f.o.ID) {
		return nil
	}
	r, known, rerr := f.rootRecord()
	if rerr != nil {
		return rerr
	}
	if known && !r.marked {
		if st, serr := dir.Self(); serr == nil && st.Dev == r.sig.Dev && st.Ino == r.sig.Ino {
			return nil
		}
	}
	return fmt.Errorf("%s: %w", f.o.Root.Path(), ErrRootMissing)
}

// RootMarked tells whether a directory carries the mark of the folder id.
func RootMarked(root *disk.Root, id string) bool {
	dir, err := root.OpenDir("")
	if err != nil {
		return false
	}
	defer dir.Close()
	mark, err := dir.Mark(markName)
	return err == nil && mark == id || marked(dir, id)
}

// markFile is the file that marks a root on a disk without extended attributes,
// whose inode numbers are often new at each mount.
func markFile(id string) string { return StagePrefix + "folder-" + id }

func marked(dir *disk.Dir, id string) bool {
	st, err := dir.Stat(markFile(id))
	return err == nil && isFile(st.Sig)
}
