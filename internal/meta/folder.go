package meta

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	iofs "io/fs"

	"github.com/dgraph-io/badger/v4"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// Snapshot is one record as kept here.
type Snapshot struct {
	ID       chunk.ID
	Number   uint64 // 0: only in the spool so far
	Received int64  // nanoseconds, the remote's clock; 0 with Number 0
	Record   *versions.Snapshot
}

// Moment is an instant at which a directory differed from the one before.
type Moment struct {
	Instant versions.Instant
	Tree    chunk.ID
	Gone    bool
}

// Folder is the part of the database that belongs to one folder.
func (db *DB) Folder(id string) *Folder {
	return &Folder{db: db, id: id, keys: newKeyspace(id)}
}

// Folder is safe for use by many goroutines.
type Folder struct {
	db   *DB
	id   string
	keys keyspace
}

// Records are the folder's directory records (folder.Records).
func (f *Folder) Records() *Records { return &Records{db: f.db, keys: f.keys} }

// PutSnapshots adds records with their directories' moments (dirs of each as
// decoded: inline or from the chunk); putting one again replaces it (a spool
// record that got its number).
func (f *Folder) PutSnapshots(list []Snapshot, dirs func(Snapshot) ([]versions.DirChange, error)) error {
	if err := f.db.enter(); err != nil {
		return err
	}
	defer f.db.leave()
	last, _, err := f.numbers()
	if err != nil {
		return err
	}
	highest := last
	err = f.write(func(w *writer) error {
		for _, s := range list {
			changes, err := dirs(s)
			if err != nil {
				return fmt.Errorf("directories of snapshot %s: %w", s.Record.Instant, err)
			}
			if err := f.putSnapshot(w, s, changes); err != nil {
				return fmt.Errorf("snapshot %s: %w", s.Record.Instant, err)
			}
			highest = max(highest, s.Number)
		}
		return nil
	})
	if err != nil || highest == last {
		return err
	}
	if err := guard(f.db.badger.Sync); err != nil {
		return fmt.Errorf("sync the local database: %w", err)
	}
	return f.write(func(w *writer) error {
		return w.set(f.keys.number(), binary.BigEndian.AppendUint64(nil, highest))
	})
}

// putSnapshot writes one record; see keys.go for the order.
func (f *Folder) putSnapshot(w *writer, s Snapshot, changes []versions.DirChange) error {
	at := s.Record.Instant
	hashes := make([]byte, 0, dirLen*len(changes))
	for _, c := range changes {
		h := hashDir(c.Path)
		hashes = append(hashes, h[:]...)
		if err := w.set(f.keys.moment(h, at, s.ID), encodeMoment(c)); err != nil {
			return err
		}
	}
	if err := w.put(f.keys.dirs(s.ID), hashes); err != nil {
		return err
	}
	if err := w.set(f.keys.id(s.ID), appendInstant(nil, at)); err != nil {
		return err
	}
	return w.put(f.keys.snapshot(at, s.ID), encodeSnapshot(s))
}

// write runs fn with a writer and writes what it gathered, in order.
func (f *Folder) write(fn func(w *writer) error) error {
	w, err := f.db.newWriter()
	if err != nil {
		return err
	}
	if err := fn(w); err != nil {
		w.cancel()
		return err
	}
	return w.flush()
}

// Snapshots lists records by instant, ascending.
func (f *Folder) Snapshots() (list []Snapshot, err error) {
	var j joiner
	err = f.db.each(f.keys.prefix(snapshotKind), func(key, value []byte) error {
		cut := len(key) - pieceLen
		if !j.add(key[:cut], int(binary.BigEndian.Uint16(key[cut:])), value) {
			return nil
		}
		s, err := decodeSnapshot(j.key, j.value)
		if err == nil {
			list = append(list, s)
		}
		return err
	})
	return list, err
}

// SnapshotsAfter lists the records after an instant, the newest first.
func (f *Folder) SnapshotsAfter(at versions.Instant) (list []Snapshot, err error) {
	err = f.db.view(func(txn *badger.Txn) error {
		prefix := f.keys.prefix(snapshotKind)
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix, Reverse: true})
		defer it.Close()
		for it.Seek(append(bytes.Clone(prefix), afterAll...)); it.Valid(); it.Next() {
			key := it.Item().KeyCopy(nil)
			if len(key) < pieceLen || binary.BigEndian.Uint16(key[len(key)-pieceLen:]) != 0 {
				continue
			}
			key = key[:len(key)-pieceLen]
			value, err := get(txn, key)
			if err != nil {
				return err
			}
			if value == nil {
				continue // a crash left a part of it
			}
			s, err := decodeSnapshot(key, value)
			if err != nil {
				return err
			}
			if s.Record.Instant.Compare(at) <= 0 {
				return nil
			}
			list = append(list, s)
		}
		return nil
	})
	return list, err
}

// SnapshotAt is the newest snapshot not after at (zero at: the newest);
// io/fs.ErrNotExist.
func (f *Folder) SnapshotAt(at versions.Instant) (s Snapshot, err error) {
	found := false
	err = f.db.view(func(txn *badger.Txn) error {
		prefix := f.keys.prefix(snapshotKind)
		end := prefix
		if !at.IsZero() {
			end = f.keys.snapshotsAt(at)
		}
		it := txn.NewIterator(badger.IteratorOptions{Prefix: prefix, Reverse: true})
		defer it.Close()
		// A value of which a crash left only a part is passed over.
		for it.Seek(append(end, afterAll...)); it.Valid() && !found; it.Next() {
			key := it.Item().KeyCopy(nil)
			if len(key) < pieceLen || binary.BigEndian.Uint16(key[len(key)-pieceLen:]) != 0 {
				continue
			}
			key = key[:len(key)-pieceLen]
			value, err := get(txn, key)
			if err != nil {
				return err
			}
			if value == nil {
				continue
			}
			if s, err = decodeSnapshot(key, value); err != nil {
				return err
			}
			found = true
		}
		return nil
	})
	if err == nil && !found {
		err = fmt.Errorf("folder %s has no snapshot then: %w", f.id, iofs.ErrNotExist)
	}
	return s, err
}

// afterAll sorts after what may follow in a snapshot's key.
var afterAll = bytes.Repeat([]byte{0xff}, instantLen+idLen+pieceLen+1)

// LastNumber is the highest number known, 0 for none; Complete tells whether
// all below it have been read (history is filled newest first).
func (f *Folder) LastNumber() (last uint64, complete bool, err error) {
	if err := f.db.enter(); err != nil {
		return 0, false, err
	}
	defer f.db.leave()
	return f.numbers()
}

func (f *Folder) numbers() (last uint64, complete bool, err error) {
	err = f.db.view(func(txn *badger.Txn) error {
		item, err := txn.Get(f.keys.number())
		if err == nil {
			err = item.Value(func(v []byte) error {
				if len(v) != 8 {
					return errDecode
				}
				last = binary.BigEndian.Uint64(v)
				return nil
			})
		}
		if err != nil && !errors.Is(err, badger.ErrKeyNotFound) {
			return err
		}
		_, err = txn.Get(f.keys.complete())
		complete = err == nil
		if errors.Is(err, badger.ErrKeyNotFound) {
			err = nil
		}
		return err
	})
	return last, complete, err
}

// SetComplete notes that no older record is missing.
func (f *Folder) SetComplete() error {
	if err := f.db.enter(); err != nil {
		return err
	}
	defer f.db.leave()
	if err := guard(f.db.badger.Sync); err != nil {
		return fmt.Errorf("sync the local database: %w", err)
	}
	return f.write(func(w *writer) error { return w.set(f.keys.complete(), []byte{1}) })
}

// Moments lists a directory's moments, ascending, in time proportional to
// their number. A moment that changes nothing against the one before (the
// captured state and the round that then takes it say the same) is left out.
func (f *Folder) Moments(dir string) (list []Moment, err error) {
	prefix := f.keys.moments(hashDir(dir))
	err = f.db.each(prefix, func(key, value []byte) error {
		m, err := decodeMoment(key[len(prefix):], value)
		if err != nil {
			return err
		}
		switch n := len(list); {
		case n == 0 && m.Gone:
		case n > 0 && list[n-1].Tree == m.Tree && list[n-1].Gone == m.Gone:
		case n > 0 && list[n-1].Instant == m.Instant:
			list[n-1] = m
		default:
			list = append(list, m)
		}
		return nil
	})
	return list, err
}

// Forget removes one snapshot and its moments.
func (f *Folder) Forget(id chunk.ID) error {
	if err := f.db.enter(); err != nil {
		return err
	}
	defer f.db.leave()
	var at versions.Instant
	var hashes []byte
	known := false
	err := f.db.view(func(txn *badger.Txn) error {
		item, err := txn.Get(f.keys.id(id))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil
		}
		if err != nil {
			return err
		}
		err = item.Value(func(v []byte) error {
			if len(v) != instantLen {
				return errDecode
			}
			at, known = readInstant(v), true
			return nil
		})
		if err == nil {
			hashes, err = get(txn, f.keys.dirs(id))
		}
		return err
	})
	if err != nil || !known {
		return err
	}
	return f.write(func(w *writer) error {
		if err := w.put(f.keys.snapshot(at, id), nil); err != nil {
			return err
		}
		for ; len(hashes) >= dirLen; hashes = hashes[dirLen:] {
			if err := w.delete(f.keys.moment(dirHash(hashes[:dirLen]), at, id)); err != nil {
				return err
			}
		}
		if err := w.put(f.keys.dirs(id), nil); err != nil {
			return err
		}
		return w.delete(f.keys.id(id)) // last: a crash before can be forgotten again
	})
}

// Drop removes everything of the folder.
func (f *Folder) Drop() error { return f.drop(allKinds) }

// DropHistory removes what is known of the past: the remote's is another.
func (f *Folder) DropHistory() error { return f.drop(historyKinds) }

func (f *Folder) drop(kinds string) error {
	if err := f.db.enter(); err != nil {
		return err
	}
	defer f.db.leave()
	return f.write(func(w *writer) error {
		for _, kind := range []byte(kinds) {
			err := f.db.each(f.keys.prefix(kind), func(key, _ []byte) error {
				return w.batch.Delete(append([]byte(nil), key...))
			})
			if err != nil {
				return err
			}
		}
		return nil
	})
}
