package containerbackup

import (
	"bytes"
	"cmp"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/syncfs/syncfs/versions"
)

// tree is the snapshot that is being made: entries by path, of which the
// directories between are made at the end.
type tree struct {
	trees    *versions.Trees
	contents *versions.Contents
	sums     *sums
	uid, gid uint32
	mtime    int64
	root     branch
}

// branch is a directory of a tree.
type branch struct {
	names    map[string]*branch
	entry    versions.Entry // what is there, where that is no directory of ours
	complete bool           // entry is whole
}

func newTree(trees *versions.Trees, contents *versions.Contents, now time.Time, uid, gid int) *tree {
	return &tree{trees: trees, contents: contents, sums: newSums(), mtime: now.UnixNano(), uid: uint32(max(uid, 0)), gid: uint32(max(gid, 0))}
}

// put places an entry, which is whole, at a path.
func (t *tree) put(path string, e versions.Entry) {
	at := &t.root
	for name := range strings.SplitSeq(path, "/") {
		if at.names == nil {
			at.names = map[string]*branch{}
		}
		next := at.names[name]
		if next == nil {
			next = &branch{}
			at.names[name] = next
		}
		at = next
	}
	at.entry, at.complete = e, true
}

// write stores what r yields as the file at path, with its checksum.
func (t *tree) write(ctx context.Context, path string, r io.Reader) (versions.Entry, error) {
	hash := sha256.New()
	e, err := t.contents.Write(ctx, io.TeeReader(r, hash))
	if err != nil {
		return versions.Entry{}, err
	}
	t.file(path, &e, [sha256.Size]byte(hash.Sum(nil)))
	return e, nil
}

// file places stored content at path, readable by its owner alone: dumps and
// configurations hold secrets.
func (t *tree) file(path string, e *versions.Entry, sum [sha256.Size]byte) {
	e.Mode, e.UID, e.GID, e.MTime = 0o600, t.uid, t.gid, t.mtime
	t.put(path, *e)
	t.sums.set(path, sum)
}

func (t *tree) writeBytes(ctx context.Context, path string, data []byte) error {
	_, err := t.write(ctx, path, bytes.NewReader(data))
	return err
}

// close writes the manifest and all directories, and returns the root.
func (t *tree) close(ctx context.Context) (versions.Entry, error) {
	e, err := t.contents.Write(ctx, t.sums.reader())
	if err != nil {
		return versions.Entry{}, fmt.Errorf("write the manifest: %w", err)
	}
	e.Mode, e.UID, e.GID, e.MTime = 0o600, t.uid, t.gid, t.mtime
	t.put(manifestName, e)
	return t.dir(ctx, "", &t.root)
}

func (t *tree) dir(ctx context.Context, name string, b *branch) (versions.Entry, error) {
	if b.complete {
		e := b.entry
		e.Name = name
		return e, nil
	}
	e := versions.Entry{Name: name, Kind: versions.Dir, Mode: 0o700, UID: t.uid, GID: t.gid, MTime: t.mtime}
	var list []versions.Entry
	for name, below := range b.names {
		child, err := t.dir(ctx, name, below)
		if err != nil {
			return versions.Entry{}, err
		}
		list = append(list, child)
	}
	if err := listed(ctx, t.trees, &e, list); err != nil {
		return versions.Entry{}, fmt.Errorf("write directory %q: %w", name, err)
	}
	return e, nil
}

// listed stores the listing of a directory and counts what is below it.
func listed(ctx context.Context, trees *versions.Trees, dir *versions.Entry, list []versions.Entry) (err error) {
	slices.SortFunc(list, func(a, b versions.Entry) int { return cmp.Compare(a.Name, b.Name) })
	dir.Size, dir.Count = 0, 0
	for _, e := range list {
		dir.Size += e.Size
		if e.Kind == versions.Dir {
			dir.Count += e.Count
		} else {
			dir.Count++
		}
	}
	dir.Tree, err = trees.Write(ctx, list)
	return err
}

// owned is a directory entry without names of owners: the numbers are those of a
// container, which this machine has other names for.
func owned(e versions.Entry) versions.Entry {
	e.User, e.Group = "", ""
	return e
}

// stored is a file of a snapshot, open for reading in order.
type stored struct {
	*io.SectionReader
	r *versions.Reader
}

func openStored(ctx context.Context, contents *versions.Contents, e versions.Entry) (*stored, error) {
	r, err := contents.Open(ctx, e)
	if err != nil {
		return nil, err
	}
	return &stored{io.NewSectionReader(r, 0, e.Size), r}, nil
}

// Close ends reading ahead.
func (s *stored) Close() error { return s.r.Close() }

// sum is the SHA-256 of all of it.
func (s *stored) sum() ([sha256.Size]byte, error) {
	hash := sha256.New()
	_, err := io.Copy(hash, s.SectionReader)
	return [sha256.Size]byte(hash.Sum(nil)), err
}

// at is what was put at a path.
func (t *tree) at(path string) (versions.Entry, bool) {
	b := &t.root
	for name := range strings.SplitSeq(path, "/") {
		if b = b.names[name]; b == nil {
			return versions.Entry{}, false
		}
	}
	return b.entry, b.complete
}
