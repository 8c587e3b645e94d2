package blob

import (
	"context"
	"encoding/hex"
	"fmt"
	"io"
	"strings"
	"time"
)

// checkName refuses what cannot name an object.
func checkName(name string) error {
	if !ValidName(name) {
		return fmt.Errorf("%q cannot name an object", name)
	}
	return nil
}

// checkCommit refuses a commit that no store could keep to, before anything of
// it is stored.
func checkCommit(folder string, c Commit) error {
	if !ValidFolder(folder) {
		return fmt.Errorf("%q cannot name a folder", folder)
	}
	if (c.ID == "") != (c.Record == nil) {
		return fmt.Errorf("commit to %s: a snapshot needs both an id and a record", folder)
	}
	if c.ID != "" {
		if _, err := hex.DecodeString(c.ID); err != nil || len(c.ID) != 64 || strings.ToLower(c.ID) != c.ID {
			return fmt.Errorf("commit to %s: %q is not the id of a snapshot", folder, c.ID)
		}
	}
	for _, b := range c.Blobs {
		if err := checkName(b.Name); err != nil {
			return fmt.Errorf("commit to %s: %w", folder, err)
		}
	}
	return nil
}

// ValidFolder tells whether folder may have a head: one part of a name, short
// enough for the names of its records.
func ValidFolder(folder string) bool {
	return len(folder) <= 128 && !strings.Contains(folder, "/") && ValidName(folder)
}

// nextReceived is the time at which a head is taken: the store's clock, raised
// above the head's before.
func nextReceived(now, last time.Time) time.Time {
	now = now.UTC().Round(0)
	if !now.After(last) {
		return last.Add(1)
	}
	return now
}

// nextHead is the head that a commit makes of the one before (the zero Head
// when there is none); ErrMoved when the writer has seen another.
func nextHead(folder string, last Head, c Commit, now time.Time) (Head, error) {
	if last.Number != c.Expect {
		return Head{}, fmt.Errorf("head of %s is number %d, not %d: %w", folder, last.Number, c.Expect, ErrMoved)
	}
	next := Head{
		Folder:   folder,
		Number:   c.Expect + 1,
		Received: nextReceived(now, last.Received),
		Record:   last.Record,
		Sealed:   c.Sealed,
	}
	if c.ID != "" {
		next.Record = RecordName(folder, next.Number, next.Received, c.ID)
	}
	return next, nil
}

// copyRange copies size bytes of r to w in pieces, so that ctx can end it.
func copyRange(ctx context.Context, w io.Writer, r io.ReaderAt, size int64) error {
	buf := make([]byte, min(size, 256<<10))
	for off := int64(0); off < size; {
		if err := ctx.Err(); err != nil {
			return err
		}
		part := buf[:min(size-off, int64(len(buf)))]
		n, err := r.ReadAt(part, off)
		if n < len(part) {
			if err == nil || err == io.EOF {
				err = io.ErrUnexpectedEOF
			}
			return err
		}
		if _, err := w.Write(part); err != nil {
			return err
		}
		off += int64(n)
	}
	return nil
}

// clip turns a range into one that lies within size.
func clip(offset, length, size int64) (from, n int64) {
	from = min(max(offset, 0), size)
	n = size - from
	if length >= 0 {
		n = min(n, length)
	}
	return from, n
}
