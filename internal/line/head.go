package line

import (
	"bytes"
	"context"
	"fmt"
	"math"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/canon"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// What a head and a record are sealed as.
const (
	kindHead     = "head"
	kindSnapshot = "snapshot"
	kindLog      = "log"
	kindBase     = "base"
)

const (
	headVersion = 1
	maxRecent   = 32
	maxName     = 255 // bytes of a folder's name
	maxKind     = 32
)

// EncodeHead writes what is sealed in a head: all of f but ID, Number and
// Received, which the remote tells (ID and Number are authenticated as the
// sealed object's name).
func EncodeHead(f Folder) []byte {
	b := []byte{headVersion}
	b = canon.String(b, f.Name)
	b = canon.String(b, f.Kind)
	b = canon.Uvarint(b, f.Epoch)
	if f.Snapshot.IsZero() {
		return append(b, 0)
	}
	b = append(b, 1)
	b = append(b, f.Snapshot[:]...)
	b = canon.Int64(b, f.Instant.Sec)
	b = canon.Uvarint(b, uint64(f.Instant.Seq))
	b = versions.AppendEntry(b, f.Root)
	b = canon.Uvarint(b, uint64(len(f.Recent)))
	for _, id := range f.Recent {
		b = append(b, id[:]...)
	}
	return b
}

// DecodeHead reads what EncodeHead wrote.
func DecodeHead(data []byte) (Folder, error) {
	d := canon.NewDecoder(data)
	if v := d.Byte(); d.Err() == nil && v != headVersion {
		return Folder{}, fmt.Errorf("head of format %d, but this program knows %d only: update it", v, headVersion)
	}
	f := Folder{Name: d.String(maxName), Kind: d.String(maxKind), Epoch: d.Uvarint(math.MaxUint64)}
	if d.Bool() {
		copy(f.Snapshot[:], d.Fixed(len(f.Snapshot)))
		f.Instant.Sec = d.Int64()
		f.Instant.Seq = int(d.Uvarint(math.MaxInt32))
		if d.Err() == nil {
			root, rest, err := versions.DecodeEntry(d.Rest())
			if err != nil {
				return Folder{}, fmt.Errorf("decode a head: %w", err)
			}
			f.Root, d = root, canon.NewDecoder(rest)
		}
		for range d.Count(maxRecent, 32) {
			f.Recent = append(f.Recent, chunk.ID(d.Fixed(32)))
		}
		if d.Err() == nil && f.Snapshot.IsZero() {
			d.Fail("a snapshot without an id")
		}
	}
	if err := d.Done(); err != nil {
		return Folder{}, fmt.Errorf("decode a head: %w", err)
	}
	return f, nil
}

func sameHead(a, b Folder) bool {
	return a.ID == b.ID && a.Number == b.Number && bytes.Equal(EncodeHead(a), EncodeHead(b))
}

// headName is what a sealed head is bound to: a remote cannot show an old head
// under a new number, or one folder's as another's.
func headName(folder string, number uint64) string { return fmt.Sprintf("%s/%016x", folder, number) }

func (l *Lines) sealHead(f Folder) ([]byte, error) {
	return l.keys.SealBlob(kindHead, headName(f.ID, f.Number), EncodeHead(f))
}

func (l *Lines) openHead(h blob.Head) (Folder, error) {
	plain, err := l.keys.OpenBlob(kindHead, headName(h.Folder, h.Number), h.Sealed)
	if err != nil {
		return Folder{}, fmt.Errorf("head %d of folder %s: %w: %w", h.Number, h.Folder, ErrDamaged, err)
	}
	f, err := DecodeHead(plain)
	if err != nil {
		return Folder{}, fmt.Errorf("head %d of folder %s: %w: %w", h.Number, h.Folder, ErrDamaged, err)
	}
	f.ID, f.Number, f.Received = h.Folder, h.Number, h.Received
	return f, nil
}

// recordName is what a sealed record is bound to.
func recordName(folder string, number uint64, id chunk.ID) string {
	return fmt.Sprintf("%s/%016x-%s", folder, number, id)
}

func (l *Lines) sealRecord(folder string, number uint64, id chunk.ID, plain []byte) ([]byte, error) {
	return l.keys.SealBlob(kindSnapshot, recordName(folder, number, id), plain)
}

// openRecord opens the record that lies under name.
func (l *Lines) openRecord(name string, sealed []byte) (*Recorded, error) {
	k, err := parseRecord(name)
	if err != nil {
		return nil, err
	}
	plain, err := l.keys.OpenBlob(kindSnapshot, recordName(k.folder, k.number, k.id), sealed)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrDamaged, err)
	}
	r, err := decodeRecord(plain, k.number, k.received, k.id)
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", name, ErrDamaged, err)
	}
	return r, nil
}

func (l *Lines) put(ctx context.Context, name string, data []byte) error {
	return l.remote.Put(ctx, name, bytes.NewReader(data), int64(len(data)))
}
