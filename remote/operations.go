package remote

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"
)

const (
	operationsKept = 10000    // in memory, for queries
	operationsFile = 64 << 20 // bytes of the file until it is put aside
)

// Operation is one change that somebody made, or was refused.
type Operation struct {
	Number  uint64    `json:"number"`
	Time    time.Time `json:"time"`
	Token   string    `json:"token"`
	Action  string    `json:"action"` // put, delete, commit, turn, refused
	Object  string    `json:"object"` // an object's name, or a folder
	Bytes   int64     `json:"bytes,omitempty"`
	Request string    `json:"request,omitempty"`
}

// Operations is the log of what was done with a server: JSON lines, appended.
// The newest can be asked for. It is a record, not a journal: it is not synced.
type Operations struct {
	path string // "": in memory only
	now  func() time.Time
	log  *slog.Logger

	mu     sync.Mutex // guards all below
	file   *os.File
	size   int64
	number uint64 // of the newest
	kept   []Operation
}

func newOperations(now func() time.Time) *Operations {
	return &Operations{now: now, log: slog.New(slog.DiscardHandler)}
}

// OpenOperations opens the log at path, which may not exist yet.
func OpenOperations(path string, now func() time.Time, log *slog.Logger) (*Operations, error) {
	o := newOperations(now)
	o.path = path
	if log != nil {
		o.log = log
	}
	for _, old := range []string{path + ".1", path} {
		if err := o.load(old); err != nil {
			return nil, fmt.Errorf("operations log: %w", err)
		}
	}
	if err := o.open(); err != nil {
		return nil, fmt.Errorf("operations log: %w", err)
	}
	return o, nil
}

// load keeps the newest lines of a file. A line that a crash cut is passed over.
func (o *Operations) load(path string) error {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	for lines.Scan() {
		var op Operation
		if json.Unmarshal(lines.Bytes(), &op) == nil {
			o.keep(op)
		}
	}
	if errors.Is(lines.Err(), bufio.ErrTooLong) {
		return nil
	}
	return lines.Err()
}

func (o *Operations) open() error {
	f, err := os.OpenFile(o.path, os.O_CREATE|os.O_RDWR|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	info, err := f.Stat()
	if err != nil {
		f.Close()
		return err
	}
	o.file, o.size = f, info.Size()
	// What a crash cut in the middle must not take the next line with it.
	last := make([]byte, 1)
	if o.size > 0 {
		if _, err := f.ReadAt(last, o.size-1); err == nil && last[0] != '\n' {
			f.Write([]byte("\n")) // fails again, and is told, with the next line
		}
	}
	return nil
}

func (o *Operations) keep(op Operation) {
	o.number = max(o.number, op.Number)
	if len(o.kept) >= 2*operationsKept {
		o.kept = slices.Delete(o.kept, 0, operationsKept)
	}
	o.kept = append(o.kept, op)
}

// add writes an operation down. A log that cannot be written stops nobody's
// work; the server's own log says so.
func (o *Operations) add(op Operation) {
	o.mu.Lock()
	defer o.mu.Unlock()
	op.Number, op.Time = o.number+1, o.now().UTC()
	o.keep(op)
	if o.file == nil {
		return
	}
	line, err := json.Marshal(op)
	if err == nil {
		var n int
		n, err = o.file.Write(append(line, '\n'))
		o.size += int64(n)
	}
	if err == nil && o.size > operationsFile {
		err = o.putAside()
	}
	if err != nil {
		o.log.Error("operations log", "error", err)
	}
}

// putAside begins a new file and keeps one old one.
func (o *Operations) putAside() error {
	err := os.Rename(o.path, o.path+".1")
	if err != nil {
		return err
	}
	old := o.file
	if err := o.open(); err != nil {
		return err
	}
	return old.Close()
}

// list returns the newest operations with numbers above after, oldest first.
func (o *Operations) list(after uint64, limit int) []Operation {
	o.mu.Lock()
	defer o.mu.Unlock()
	from := max(0, len(o.kept)-limit)
	for from < len(o.kept) && o.kept[from].Number <= after {
		from++
	}
	return append([]Operation{}, o.kept[from:]...)
}

// Close closes the file.
func (o *Operations) Close() error {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.file == nil {
		return nil
	}
	err := o.file.Close()
	o.file = nil
	return err
}
