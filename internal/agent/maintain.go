package agent

import (
	"context"
	"errors"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/syncfs/syncfs/internal/oplog"
	"github.com/syncfs/syncfs/internal/syncer"
)

// maintainEvery is how often the remote is put in order, unless Options say
// otherwise.
const maintainEvery = time.Hour

// What is worth merging: blobs that a new machine reads one by one, and chunks
// that every machine holds in memory while no run has them.
const (
	manyIndexBlobs  = 64
	manyIndexChunks = 1 << 16
	foldAge         = time.Hour // by the remote's clock; less where maintenance is more frequent
)

// operationsKept is how long the records of what was done are kept.
const operationsKept = 400 * 24 * time.Hour

// maintain forgets versions by the rules of their folders, and merges what many
// small rounds leave on the remote: index blobs into runs, snapshot records into
// log segments. Any machine may do it at any time,
// also several at once; nothing is lost by it or by its end in the middle.
func (a *Agent) maintain(ctx context.Context) {
	every := a.o.MaintainEvery
	wait := every/12 + rand.N(every/4) // machines that start together do not all do it
	seen := map[string]foldedTo{}      // by folder
	for {
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
		wait = every
		if a.busy() || !a.isOnline() || a.allPaused() {
			wait = every / 12
			continue
		}
		err := a.tidy(ctx, seen)
		switch {
		case ctx.Err() != nil:
			return
		case errors.Is(err, fs.ErrPermission):
			a.log.Info("this machine's key does not allow it to put the remote in order; others do", "err", err)
			return
		case err != nil:
			a.log.Warn("the remote was not put in order", "err", err)
		}
	}
}

func (a *Agent) isOnline() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.online
}

// foldedTo is how far a folder's records were folded last.
type foldedTo struct {
	head   uint64
	all    bool // but for the head's own
	rounds int  // since the rules were applied
}

// tidy does what is due.
func (a *Agent) tidy(ctx context.Context, seen map[string]foldedTo) error {
	if blobs, chunks := a.store.Uncompacted(); blobs >= manyIndexBlobs || blobs > 0 && chunks >= manyIndexChunks {
		if err := a.store.CompactIndex(ctx); err != nil {
			return err
		}
		a.log.Info("index blobs were merged", "blobs", blobs)
	}
	if err := oplog.Forget(ctx, a.repo.Remote, a.o.Now().Add(-operationsKept)); err != nil {
		return err
	}
	heads, err := a.lines.Folders(ctx)
	for _, head := range heads { // also beside a damaged one
		last := seen[head.ID]
		if last.rounds%forgetEvery == 0 {
			if ferr := a.applyRules(ctx, head); ferr != nil {
				return errors.Join(err, ferr)
			}
		}
		last.rounds++
		seen[head.ID] = last
		if last.head == head.Number && last.all {
			continue
		}
		// A head that stands where it stood last time is that old itself.
		now := foldedTo{head: head.Number, all: last.head == head.Number, rounds: last.rounds}
		before := head.Received
		if !now.all {
			before = before.Add(-min(foldAge, a.o.MaintainEvery))
		}
		if ferr := a.lines.Fold(ctx, head.ID, before); ferr != nil {
			return errors.Join(err, ferr)
		}
		seen[head.ID] = now
	}
	return err
}

// busy tells whether any folder has work under way.
func (a *Agent) busy() bool {
	for _, h := range a.allHosts() {
		s := h.running()
		if s == nil {
			continue
		}
		if st := s.Status(); st.State == syncer.Starting || st.State == syncer.Pending || st.Activity.Stage != "" {
			return true
		}
	}
	return false
}
