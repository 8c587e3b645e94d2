//go:build linux

package folder_test

import (
	"cmp"
	"maps"
	"slices"
	"sync"
)

// memRecords is folder.Records in memory.
type memRecords struct {
	mu   sync.Mutex
	recs map[string][]byte
	// failAfter makes an Update stop after so many sets, as a crash would; 0:
	// never.
	failAfter int
	err       error
	gets      int
}

func newRecords() *memRecords { return &memRecords{recs: map[string][]byte{}} }

func (r *memRecords) Get(dir string) ([]byte, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.gets++
	return r.recs[dir], nil
}

func (r *memRecords) Update(fn func(set func(string, []byte) error) error) error {
	next := 0
	return fn(func(dir string, record []byte) error {
		r.mu.Lock()
		defer r.mu.Unlock()
		if next++; r.failAfter > 0 && next > r.failAfter {
			return r.err
		}
		if record == nil {
			delete(r.recs, dir)
		} else {
			r.recs[dir] = slices.Clone(record)
		}
		return nil
	})
}

func (r *memRecords) Each(fn func(string, []byte) error) error {
	r.mu.Lock()
	recs := maps.Clone(r.recs)
	r.mu.Unlock()
	dirs := slices.SortedFunc(maps.Keys(recs), cmp.Compare[string])
	for _, dir := range dirs {
		if err := fn(dir, recs[dir]); err != nil {
			return err
		}
	}
	return nil
}
