// Package blob stores named, immutable objects and the one mutable thing a
// repository has: numbered heads.
//
// Names are slash-separated relative paths of [a-z0-9._-] and upper-case
// letters, at most 255 bytes; see ValidName. No name may be the directory part
// of another ("a" beside "a/b"), so that a directory can hold them. Absence is io/fs.ErrNotExist, a
// name that is taken io/fs.ErrExist; the other conditions a caller branches on
// are declared here. Every implementation passes blobtest.Run.
package blob

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"
)

// Conditions of a store that a caller may branch on.
var (
	// ErrMoved is a Commit whose Expect is not the head's number any more.
	ErrMoved = errors.New("the head has moved")
	// ErrFull says that the store has no room left; what was acknowledged stays.
	ErrFull = errors.New("no space left in the store")
	// ErrCorrupt says that an object arrived other than it was sent.
	ErrCorrupt = errors.New("object is damaged")
	// ErrOffline says that the store cannot be reached at all just now.
	ErrOffline = errors.New("the store cannot be reached")
	// ErrUnauthorized says that the store does not accept our key.
	ErrUnauthorized = errors.New("the store does not accept this key")
)

// Info describes one object.
type Info struct {
	Name     string
	Size     int64
	Modified time.Time // by the store's clock
}

// Store is a flat space of immutable objects and numbered heads. It may be used
// by many goroutines at once.
type Store interface {
	// Put stores size bytes of r under name and returns when they are durable.
	// It is create-only: where the name is taken it returns io/fs.ErrExist and
	// leaves the old bytes. A failed Put leaves no object. r may be read more
	// than once (retries) and not after Put returned.
	Put(ctx context.Context, name string, r io.ReaderAt, size int64) error

	// Get opens length bytes from offset; length < 0 means to the end. A range
	// that reaches past the end is cut there. The caller closes the reader.
	Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error)

	// Stat describes one object.
	Stat(ctx context.Context, name string) (Info, error)

	// List calls fn for every object whose name begins with prefix and sorts
	// after the name after ("" for all), in byte order of names. fn's error
	// ends the listing and is returned.
	List(ctx context.Context, prefix, after string, fn func(Info) error) error

	// Delete removes an object. Deleting what is not there is no error.
	Delete(ctx context.Context, name string) error

	Heads
}

// Heads are the mutable part: one small sealed blob a folder.
type Heads interface {
	// Head reads a folder's head; io/fs.ErrNotExist where there is none.
	Head(ctx context.Context, folder string) (Head, error)

	// ListHeads returns all heads, sorted by folder. One that is damaged is
	// there as number 1, with nothing sealed.
	ListHeads(ctx context.Context) ([]Head, error)

	// Commit does, in this order and durably: put Blobs (one that exists
	// already is fine), put Record as RecordName(...), replace the head. It is
	// refused with ErrMoved, and nothing but Blobs is left behind, when the
	// head's number is not c.Expect (0: there is none yet). The store numbers
	// the new head c.Expect+1 and stamps it with its own clock, raised above
	// the last head's.
	Commit(ctx context.Context, folder string, c Commit) (Head, error)
}

// Head is what a folder's line of snapshots ends in.
type Head struct {
	Folder   string
	Number   uint64    // 1 for the first; never reused
	Received time.Time // the store's clock, strictly above the head's before
	Record   string    // name of the newest snapshot record; "" when there is none yet
	Sealed   []byte    // what the writer put; the store cannot read it
}

// Commit is one replacement of a head.
type Commit struct {
	Expect uint64 // number of the head that the writer has seen; 0: none
	Sealed []byte // the new head's content
	ID     string // id of the snapshot, 64 hexadecimal digits; "" when no snapshot is added
	Record []byte // the sealed snapshot record; nil when no snapshot is added
	Blobs  []Blob // put before the record: the packs and index of a small round
}

// Blob is an object small enough to be held in memory.
type Blob struct {
	Name string
	Data []byte
}

// Event tells that a folder's head moved.
type Event struct {
	Head  Head
	Entry []byte // the sealed snapshot record, when one was added
	Blobs []Blob // what the commit carried, when small
}

// Watcher is implemented by stores that can tell of moved heads at once.
type Watcher interface {
	// Watch calls ready once the stream stands (heads moved after that are not
	// missed) and fn for every moved head until ctx ends or the stream breaks;
	// the caller then reads the heads again and watches anew.
	Watch(ctx context.Context, ready func(), fn func(Event)) error
}

// RecordName is the name of a snapshot record: names sort by number, and the
// server's time can be read from them without opening anything.
func RecordName(folder string, number uint64, received time.Time, id string) string {
	return fmt.Sprintf("snapshots/%s/%016x-%016x-%s", folder, number, uint64(received.UnixNano()), id)
}

// ParseRecordName takes a name of RecordName apart.
func ParseRecordName(name string) (folder string, number uint64, received time.Time, id string, err error) {
	bad := fmt.Errorf("%q is not the name of a snapshot record", name)
	parts := strings.Split(name, "/")
	if len(parts) != 3 || parts[0] != "snapshots" || len(parts[2]) != 16+1+16+1+64 {
		return "", 0, time.Time{}, "", bad
	}
	number, err1 := strconv.ParseUint(parts[2][:16], 16, 64)
	ns, err2 := strconv.ParseUint(parts[2][17:33], 16, 64)
	folder, received, id = parts[1], time.Unix(0, int64(ns)).UTC(), parts[2][34:]
	if err1 != nil || err2 != nil || !ValidName(name) || RecordName(folder, number, received, id) != name {
		return "", 0, time.Time{}, "", bad
	}
	return folder, number, received, id, nil
}

// ValidName tells whether name may name an object.
func ValidName(name string) bool {
	if name == "" || len(name) > 255 {
		return false
	}
	for _, part := range strings.Split(name, "/") {
		if part == "" || part[0] == '.' {
			return false
		}
		for _, c := range []byte(part) {
			ok := c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '.' || c == '_' || c == '-'
			if !ok {
				return false
			}
		}
	}
	return true
}
