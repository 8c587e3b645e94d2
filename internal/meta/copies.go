package meta

import (
	"github.com/dgraph-io/badger/v4"

	"github.com/syncfs/syncfs/internal/canon"
	"github.com/syncfs/syncfs/versions"
)

// maxPath bounds a path that is read back.
const maxPath = 1 << 20

// Copies are the conflict copies that were found in the tree of root, so that
// another tree costs only what differs. Nothing known is the zero root.
func (f *Folder) Copies() (root versions.Entry, paths []string, err error) {
	var value []byte
	err = f.db.view(func(txn *badger.Txn) (err error) {
		value, err = get(txn, f.keys.copies())
		return err
	})
	if err != nil || value == nil {
		return versions.Entry{}, nil, err
	}
	root, rest, err := versions.DecodeEntry(value)
	if err != nil {
		return versions.Entry{}, nil, nil // as if nothing were known: it is found again
	}
	d := canon.NewDecoder(rest)
	for d.More() {
		paths = append(paths, d.String(maxPath))
	}
	if d.Err() != nil {
		return versions.Entry{}, nil, nil
	}
	return root, paths, nil
}

// SetCopies notes the conflict copies in the tree of root.
func (f *Folder) SetCopies(root versions.Entry, paths []string) error {
	if err := f.db.enter(); err != nil {
		return err
	}
	defer f.db.leave()
	value := versions.AppendEntry(nil, root)
	for _, p := range paths {
		value = canon.String(value, p)
	}
	return f.write(func(w *writer) error { return w.put(f.keys.copies(), value) })
}
