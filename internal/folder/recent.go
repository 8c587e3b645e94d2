package folder

import "sync"

// recent keeps the record that was read last, if it is large: steps in one
// directory of many files each look at it, and reading it costs what all of its
// files cost.
type recent struct {
	mu      sync.Mutex // guards all below
	changes uint64     // of any record so far
	dir     string
	data    []byte // nil: none is kept
}

// keptFrom is from which size on a record is worth keeping.
const keptFrom = 64 << 10

// readRecord is Records.Get; the result must not be changed.
func (f *Folder) readRecord(dir string) ([]byte, error) {
	r := &f.recent
	r.mu.Lock()
	before, data := r.changes, r.data
	if r.dir != dir {
		data = nil
	}
	r.mu.Unlock()
	if data != nil {
		return data, nil
	}
	data, err := f.o.Records.Get(dir)
	if err != nil || len(data) < keptFrom {
		return data, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.changes == before {
		r.dir, r.data = dir, data
	}
	return data, nil
}

// updateRecords is Records.Update.
func (f *Folder) updateRecords(fn func(set func(dir string, record []byte) error) error) error {
	err := f.o.Records.Update(fn)
	r := &f.recent
	r.mu.Lock()
	defer r.mu.Unlock()
	r.changes++ // also of an error: some of it may be there
	r.data = nil
	return err
}
