package meta

import (
	"encoding/binary"
	"fmt"

	"github.com/dgraph-io/badger/v4"
)

// Records implements folder.Records.
type Records struct {
	db   *DB
	keys keyspace
}

// Get returns nil when there is none.
func (r *Records) Get(dir string) (record []byte, err error) {
	err = r.db.view(func(txn *badger.Txn) (err error) {
		record, err = get(txn, r.keys.record(dir))
		return err
	})
	return record, err
}

// Update sets and (nil) deletes. When fn returns an error, what fits into one
// batch (about 300 KB) is not applied. A crash in the middle keeps what was set
// first; a record is there as it was set, or as it was before, or (one of more
// than 64 KiB) not at all.
func (r *Records) Update(fn func(set func(dir string, record []byte) error) error) error {
	if err := r.db.enter(); err != nil {
		return err
	}
	defer r.db.leave()
	w, err := r.db.newWriter()
	if err != nil {
		return err
	}
	done := false
	defer func() {
		if !done {
			w.cancel()
		}
	}()
	err = fn(func(dir string, record []byte) error {
		if err := w.put(r.keys.record(dir), record); err != nil {
			return fmt.Errorf("record of directory %q: %w", dir, err)
		}
		return nil
	})
	if err != nil {
		return err
	}
	done = true
	if err := w.flush(); err != nil {
		return fmt.Errorf("directory records: %w", err)
	}
	return nil
}

// Each visits every record in order of dir, each in its own memory. fn may use
// the database.
func (r *Records) Each(fn func(dir string, record []byte) error) error {
	if err := r.db.enter(); err != nil {
		return err
	}
	defer r.db.leave()
	prefix := r.keys.prefix(recordKind)
	s, err := r.db.newScan(prefix, prefix, false)
	if err != nil {
		return broken(r.db.dir, err)
	}
	defer s.close()
	var j joiner
	for {
		whole := false
		ok, err := s.next(func(key, value []byte) error {
			cut := len(key) - pieceLen
			whole = j.add(key[:cut], int(binary.BigEndian.Uint16(key[cut:])), value)
			return nil
		})
		if err != nil {
			return broken(r.db.dir, err)
		}
		if !ok {
			return nil
		}
		if whole {
			if err := fn(recordDir(j.key), j.value); err != nil {
				return err
			}
		}
	}
}
