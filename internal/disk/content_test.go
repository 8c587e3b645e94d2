//go:build linux

package disk_test

import (
	"context"
	"io"
)

// WriteTo is part of disk.Content.
func (c bytesContent) WriteTo(w io.Writer) (int64, error) { return c.reader().WriteTo(w) }

// ReadAtContext is part of disk.Content.
func (c bytesContent) ReadAtContext(_ context.Context, p []byte, off int64) (int, error) {
	return c.reader().ReadAt(p, off)
}

// pattern is endless content.
type pattern struct{}

// WriteTo is part of disk.Content; a file with holes is never written as a whole.
func (pattern) WriteTo(io.Writer) (int64, error) { panic("holes were written") }

// ReadAtContext is part of disk.Content.
func (pattern) ReadAtContext(_ context.Context, p []byte, off int64) (int, error) {
	for i := range p {
		p[i] = byte(off + int64(i))
	}
	return len(p), nil
}
