package meta

import (
	"encoding/binary"
	"errors"
	"hash/crc32"
	"slices"

	"github.com/dgraph-io/badger/v4"
)

// A value in pieces lies under KEY n, n = 0, 1, 2 …: Badger keeps only small
// values in its tree. The first piece begins with the number of pieces and the
// CRC-32C of the whole, so that a value of which a crash left only a part is
// known for none.
const (
	pieceSize = 64 << 10
	pieceLen  = 2 // n
	headLen   = 2 + 4
	maxValue  = pieceSize * 0xffff
)

var errTooLarge = errors.New("value is too large for the local database")

func pieceKey(key []byte, n int) []byte {
	b := make([]byte, 0, len(key)+pieceLen)
	return binary.BigEndian.AppendUint16(append(b, key...), uint16(n))
}

func castagnoli(data []byte) uint32 {
	return crc32.Checksum(data, crc32.MakeTable(crc32.Castagnoli))
}

// pieces cuts a value.
func pieces(value []byte) ([][]byte, error) {
	if len(value) > maxValue {
		return nil, errTooLarge
	}
	n := max(1, (len(value)+pieceSize-1)/pieceSize)
	first := value[:min(len(value), pieceSize)]
	head := make([]byte, 0, headLen+len(first))
	head = binary.BigEndian.AppendUint16(head, uint16(n))
	head = binary.BigEndian.AppendUint32(head, castagnoli(value))
	list := append(make([][]byte, 0, n), append(head, first...))
	for rest := value[len(first):]; len(rest) > 0; rest = rest[len(list[len(list)-1]):] {
		list = append(list, slices.Clone(rest[:min(len(rest), pieceSize)]))
	}
	return list, nil
}

// joiner puts one value together from its pieces, which come in order.
type joiner struct {
	key   []byte // without n; nil before the first
	want  int    // pieces still to come
	sum   uint32
	value []byte
}

// add takes the piece n of key; whole when it was the last of an intact value.
// data is not kept.
func (j *joiner) add(key []byte, n int, data []byte) (whole bool) {
	if n == 0 {
		if len(data) < headLen {
			j.key = nil
			return false
		}
		j.key = append(j.key[:0], key...)
		j.want = int(binary.BigEndian.Uint16(data))
		j.sum = binary.BigEndian.Uint32(data[2:])
		j.value = slices.Clone(data[headLen:])
	} else {
		if j.want == 0 || string(j.key) != string(key) {
			return false
		}
		j.value = append(j.value, data...)
	}
	j.want--
	return j.want == 0 && castagnoli(j.value) == j.sum
}

// get reads a value in pieces; nil when there is none, or not all of it.
func get(txn *badger.Txn, key []byte) ([]byte, error) {
	var j joiner
	for n := 0; ; n++ {
		item, err := txn.Get(pieceKey(key, n))
		if errors.Is(err, badger.ErrKeyNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		var whole bool
		err = item.Value(func(v []byte) error {
			whole = j.add(key, n, v)
			return nil
		})
		switch {
		case err != nil:
			return nil, err
		case whole:
			return j.value, nil
		case j.want <= 0:
			return nil, nil
		}
	}
}

// count is how many pieces key has now, as its first one tells.
func count(txn *badger.Txn, key []byte) (n int, err error) {
	item, err := txn.Get(pieceKey(key, 0))
	if errors.Is(err, badger.ErrKeyNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	err = item.Value(func(v []byte) error {
		if len(v) >= headLen {
			n = int(binary.BigEndian.Uint16(v))
		}
		return nil
	})
	return n, err
}

// writer gathers changes into batches that Badger writes in order.
type writer struct {
	db    *DB
	batch *badger.WriteBatch
	view  *badger.Txn    // the state before
	sizes map[string]int // pieces of the keys that this writer has set or deleted itself
}

func (db *DB) newWriter() (w *writer, err error) {
	if err := roomFor(db.dir); err != nil {
		return nil, err
	}
	err = guard(func() error {
		w = &writer{
			db: db, sizes: map[string]int{},
			batch: db.badger.NewWriteBatch(), view: db.badger.NewTransaction(false),
		}
		w.batch.SetMaxPendingTxns(4)
		return nil
	})
	return w, err
}

// set keeps a small value under key itself. The writer owns both.
func (w *writer) set(key, value []byte) error {
	w.db.merge.written()
	return guard(func() error { return w.batch.Set(key, value) })
}

func (w *writer) delete(key []byte) error {
	return guard(func() error { return w.batch.Delete(key) })
}

// put keeps a value in pieces; nil deletes.
func (w *writer) put(key, value []byte) error {
	w.db.merge.written()
	var list [][]byte
	if value != nil {
		var err error
		if list, err = pieces(value); err != nil {
			return err
		}
	}
	return guard(func() error {
		old, known := w.sizes[string(key)]
		if !known {
			var err error
			if old, err = count(w.view, key); err != nil {
				return err
			}
		}
		if value == nil {
			old = max(old, 1) // this writer may have set one that view does not have
		}
		if old > 1 || len(list) > 1 || known {
			w.sizes[string(key)] = len(list)
		}
		for n, piece := range list {
			if err := w.batch.Set(pieceKey(key, n), piece); err != nil {
				return err
			}
		}
		for n := len(list); n < old; n++ {
			if err := w.batch.Delete(pieceKey(key, n)); err != nil {
				return err
			}
		}
		return nil
	})
}

// flush writes all; cancel forgets what is not written yet. One of them must
// be called.
func (w *writer) flush() error {
	defer w.db.merge.written()
	return guard(func() error {
		w.view.Discard()
		return w.batch.Flush()
	})
}

func (w *writer) cancel() {
	_ = guard(func() error {
		w.view.Discard()
		w.batch.Cancel()
		return nil
	})
}

// scan visits keys with a prefix in order, or backwards.
type scan struct {
	txn *badger.Txn
	it  *badger.Iterator
}

func (db *DB) newScan(prefix, from []byte, reverse bool) (s *scan, err error) {
	err = guard(func() error {
		o := badger.IteratorOptions{Prefix: prefix, Reverse: reverse}
		s = &scan{txn: db.badger.NewTransaction(false)}
		s.it = s.txn.NewIterator(o)
		s.it.Seek(from)
		return nil
	})
	return s, err
}

// next calls fn with the next key and value, valid only until fn returns;
// false at the end. fn is Badger's side of the work: it must not be a caller's.
func (s *scan) next(fn func(key, value []byte) error) (ok bool, err error) {
	err = guard(func() error {
		if !s.it.Valid() {
			return nil
		}
		ok = true
		item := s.it.Item()
		if err := item.Value(func(v []byte) error { return fn(item.Key(), v) }); err != nil {
			return err
		}
		s.it.Next()
		return nil
	})
	return ok && err == nil, err
}

func (s *scan) close() {
	_ = guard(func() error {
		if s.it != nil {
			s.it.Close()
		}
		s.txn.Discard()
		return nil
	})
}

// view reads in one consistent state.
func (db *DB) view(fn func(txn *badger.Txn) error) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	return broken(db.dir, guard(func() error { return db.badger.View(fn) }))
}

// each visits all values with a prefix in order.
func (db *DB) each(prefix []byte, fn func(key, value []byte) error) error {
	if err := db.enter(); err != nil {
		return err
	}
	defer db.leave()
	s, err := db.newScan(prefix, prefix, false)
	if err != nil {
		return broken(db.dir, err)
	}
	defer s.close()
	for {
		ok, err := s.next(fn)
		if err != nil {
			return broken(db.dir, err)
		}
		if !ok {
			return nil
		}
	}
}
