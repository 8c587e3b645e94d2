package disk

import (
	"context"
	"fmt"
	"io"

	"github.com/syncfs/syncfs/versions"
)

// Content is where the bytes of a file come from; *versions.Reader is one.
type Content interface {
	io.WriterTo
	ReadAtContext(ctx context.Context, p []byte, off int64) (int, error)
}

// CreateOptions say how an inode is made from an entry.
type CreateOptions struct {
	Sync   bool    // make a file durable before returning
	Owner  bool    // set the owner
	Owners *Owners // not nil: owners are looked up by name first
}

// MetaOf is what an entry says can be set on an inode.
func MetaOf(e versions.Entry, o CreateOptions) Meta {
	m := Meta{Mode: e.Mode & 0o7777, UID: e.UID, GID: e.GID, MTime: e.MTime, SetOwner: o.Owner}
	if o.Owner && o.Owners != nil {
		m.UID, m.GID = o.Owners.IDs(e.User, e.UID, e.Group, e.GID)
	}
	m.Xattrs = XattrMap(e.Xattrs)
	return m
}

// XattrMap is the form of an entry's attributes that Meta holds; never nil.
func XattrMap(list []versions.Xattr) map[string][]byte {
	m := make(map[string][]byte, len(list))
	for _, x := range list {
		m[x.Name] = x.Value
	}
	return m
}

// writeRanges copies the data ranges of a file that has holes.
func writeRanges(ctx context.Context, w io.WriterAt, e versions.Entry, content Content) error {
	buf := make([]byte, 1<<20)
	for _, r := range e.DataRanges() {
		for off, end := r.Offset, r.Offset+r.Length; off < end; {
			p := buf[:min(int64(len(buf)), end-off)]
			n, err := content.ReadAtContext(ctx, p, off)
			if n < len(p) {
				if err == nil || err == io.EOF { //nolint:errorlint // io.EOF is never wrapped by a Reader
					err = io.ErrUnexpectedEOF
				}
				return fmt.Errorf("content at %d: %w", off, err)
			}
			if _, err := w.WriteAt(p, off); err != nil {
				return err
			}
			off += int64(n)
		}
	}
	return nil
}
