package syncer

import (
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
)

// State is how safe a folder is.
type State int

// The states of a folder.
const (
	Starting State = iota
	Safe
	Pending
	Offline
	Unprotected // the spool is full
	Problem     // something goes wrong, and is tried again
	Held        // deletions wait for the user's word; all else goes on
	Refused     // the remote is not ours any more, or another thing only the user can decide
)

// Status is what is known of a folder without asking anybody.
type Status struct {
	State        State
	PendingFiles int64
	PendingBytes int64
	Queued       int
	LastSnapshot time.Time
	LastSync     time.Time // when the remote last had everything
	Err          error     // the last error, if it still holds
	Trouble      []folder.Trouble
	Activity     Activity
	Holds        []Hold // deletions that wait for the user's word
	Refused      bool   // the remote is not as this machine left it: Accept takes it as it is
	Waiting      int    // changes of others that wait for files in use here

	buildErr, remoteErr error
	damaged             error            // part of the history
	unapplied           []folder.Trouble // paths that could not be put here
	full, refused       bool
	partial             bool // the last capture left something new for the next
	ready               bool
	buildFailures       int    // in a row
	noted               string // the last error in the operations log
}

// Activity is long work under way; the zero value is none.
type Activity struct {
	Stage             string // "scan", "read", "upload", "fetch", "apply"
	Files, TotalFiles int64
	Bytes, TotalBytes int64
}

// Status of the folder.
func (s *Syncer) Status() Status {
	files, bytes := s.o.Disk.Pending()
	trouble := s.o.Disk.Trouble()
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.status
	if st.damaged != nil {
		trouble = append(trouble, folder.Trouble{Err: fmt.Errorf("a part of the history cannot be read: %w", st.damaged)})
	}
	trouble = append(trouble, st.unapplied...)
	st.PendingFiles, st.PendingBytes, st.Trouble = files, bytes, trouble
	st.Queued = len(s.queue.entries)
	st.Holds = s.holdsLocked()
	st.Refused = st.refused && !errors.Is(st.remoteErr, ErrForeign)
	st.Err = st.remoteErr
	if st.buildErr != nil {
		st.Err = st.buildErr
	}
	if _, instant, _ := s.tip(); !instant.IsZero() {
		st.LastSnapshot = instant.Time()
	}
	st.State = s.stateLocked(st)
	return st
}

func (s *Syncer) stateLocked(st Status) State {
	// What others have committed and is not here yet is on its way as well.
	ahead := s.head != nil && !s.head.Snapshot.IsZero() && s.head.Snapshot != s.base.Snapshot
	behind := st.PendingFiles > 0 || st.Queued > 0 || st.Waiting > 0 || st.Activity.Stage != "" || !s.attached || ahead
	switch {
	case !st.ready:
		return Starting
	case st.refused:
		return Refused
	case st.full:
		return Unprotected
	case offline(st.remoteErr):
		return Offline
	case st.remoteErr != nil:
		return Problem
	case len(st.Holds) > 0:
		return Held
	case behind || st.buildErr != nil:
		return Pending
	}
	return Safe
}

// activity sets what is going on; the zero Activity ends it.
func (s *Syncer) activity(a Activity) {
	s.mu.Lock()
	s.status.Activity = a
	s.mu.Unlock()
}

// noted keeps what a disk could not hold, for the log.
func (s *Syncer) noted(path string, notes []disk.Note) {
	for _, n := range notes {
		s.o.Logger.Info("not everything of an entry can be kept on this disk", "path", path, "what", n.What, "err", n.Err)
	}
}

// counter adds up the progress of parallel work.
type counter struct {
	s  *Syncer
	mu sync.Mutex // guards a
	a  Activity
}

func newCounter(s *Syncer, a Activity) *counter {
	s.activity(a)
	return &counter{s: s, a: a}
}

func (c *counter) add(files, bytes int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.a.Files += files
	c.a.Bytes += bytes
	c.s.activity(c.a)
}
