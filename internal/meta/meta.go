// Package meta keeps, in Badger, what can be rebuilt from the remote and the
// disk: snapshot records, the moments of every directory, directory records.
// Deleting the database loses nothing but time.
//
// After kill -9 everything written is there. After a power cut the newest
// writes may be gone, but only from the end: what is there was written before
// what is missing.
package meta

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/dgraph-io/badger/v4"
	"github.com/dgraph-io/badger/v4/options"
)

// Conditions that a caller may branch on. Absence is io/fs.ErrNotExist.
var (
	// ErrBroken is a database that cannot be opened or read; the caller moves
	// it away and builds a new one.
	ErrBroken = errors.New("the local database is broken")
	// ErrLocked is a database that another process has open; the error's text
	// names the process.
	ErrLocked = errors.New("the local database is in use")
	// ErrClosed is a call after Close.
	ErrClosed = errors.New("the local database is closed")
)

// formatVersion is raised when the key schema changes; a database of another
// version is broken, and so is built anew.
const formatVersion = 1

// DB is the database of one machine. It is safe for use by many goroutines.
type DB struct {
	dir    string
	log    *slog.Logger
	badger *badger.DB
	lock   io.Closer
	merge  compactor

	mu      sync.Mutex
	idle    sync.Cond // signals that calls became 0
	calls   int       // guarded by mu: calls under way
	closing bool      // guarded by mu
}

// Open opens or makes the database, with a small memory budget. log may be nil.
//
// Everything is verified first: Badger ends the process when it meets some
// kinds of damage, and passes over others in silence.
func Open(dir string, log *slog.Logger) (*DB, error) {
	if log == nil {
		log = slog.New(slog.DiscardHandler)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("local database: %w", err)
	}
	lock, err := lockDir(dir)
	if err != nil {
		return nil, err
	}
	db := &DB{dir: dir, log: log, lock: lock}
	db.idle.L = &db.mu
	if err := db.open(); err != nil {
		lock.Close()
		return nil, err
	}
	db.merge.start(db)
	return db, nil
}

func (db *DB) open() error {
	o := badgerOptions(db.dir, db.log)
	if err := verify(db.dir, o); err != nil {
		return err
	}
	if err := removeEmptyLogs(db.dir); err != nil {
		return err
	}
	if err := roomFor(db.dir); err != nil {
		return err
	}
	attempt, err := beginOpening(db.dir)
	if err != nil {
		return err
	}
	err = guard(func() (err error) {
		db.badger, err = badger.Open(o)
		return err
	})
	return errors.Join(broken(db.dir, err), attempt.done())
}

// badgerOptions ask for little memory: values are in the tree (large ones in
// pieces, see value.go), blocks and indexes are read where the kernel mapped
// them, and nothing is cached twice.
func badgerOptions(dir string, log *slog.Logger) badger.Options {
	o := badger.DefaultOptions(dir)
	o.Logger = quiet{log}
	o.MetricsEnabled = false
	o.DetectConflicts = false
	o.BypassLockGuard = true // ours covers verification too
	o.ExternalMagicVersion = formatVersion
	o.Compression = options.None
	o.ChecksumVerificationMode = options.OnBlockRead
	o.BlockCacheSize = 0
	o.IndexCacheSize = 0
	o.MemTableSize = 1 << 20
	o.NumMemtables = 2
	o.NumLevelZeroTables = freshTables
	o.NumLevelZeroTablesStall = stallTables
	o.NumCompactors = 0 // see compactor
	o.BaseTableSize = 2 << 20
	o.BaseLevelSize = 16 << 20
	o.ValueThreshold = 2 * pieceSize
	o.ValueLogFileSize = 1 << 20
	o.NumGoroutines = 1
	return o
}

// closeLimit is how long Close waits for the disk.
const closeLimit = 10 * time.Second

// Close waits for the calls under way, syncs and closes.
func (db *DB) Close() error {
	db.mu.Lock()
	if db.closing {
		db.mu.Unlock()
		return nil
	}
	db.closing = true
	for db.calls > 0 {
		db.idle.Wait()
	}
	db.mu.Unlock()
	closed := make(chan error, 1)
	go func() {
		db.merge.close()
		closed <- guard(db.badger.Close)
	}()
	var err error
	select {
	case err = <-closed:
	case <-time.After(closeLimit):
		// Badger tries for ever to write its last table to a disk that is full
		// or gone. What it holds can be rebuilt: nobody should wait for it.
		err = fmt.Errorf("not within %v", closeLimit)
	}
	if err != nil {
		err = fmt.Errorf("local database %s: close: %w", db.dir, err)
	}
	return errors.Join(err, db.lock.Close())
}

// enter begins a call and leave ends it, so that Close never takes the
// database away from under one. A call within a call (from a callback) is
// refused once Close has begun, which ends the outer one.
func (db *DB) enter() error {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.closing {
		return ErrClosed
	}
	db.calls++
	return nil
}

func (db *DB) leave() {
	db.mu.Lock()
	defer db.mu.Unlock()
	if db.calls--; db.calls == 0 {
		db.idle.Broadcast()
	}
}
