package syncer

import (
	"context"
	"os"
	"strconv"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
)

// openStage is the staging directory, which may be made by that.
func (s *Syncer) openStage() (stage *os.File) {
	s.ownNames(func() { stage = s.o.Applier.Stage() })
	return stage
}

// tidyStage lets a staging directory that users see go, if nothing is in it.
func (s *Syncer) tidyStage() {
	s.ownNames(func() {
		if err := s.o.Applier.Do(context.Background(), disk.Step{Op: disk.Tidy}); err != nil {
			s.o.Logger.Debug("staging stays for now", "err", err)
		}
	})
}

// ownNames runs what makes or removes names of ours in the root. That is no
// change of the root: neither its time nor its signature may tell of it, since
// nothing is applied below what has changed.
func (s *Syncer) ownNames(run func()) {
	e, recorded, err := s.o.Disk.Recorded("")
	before, serr := statBelow(s.o.Root, "")
	KeepTime(s.o.Root, run)
	if err != nil || serr != nil || !sameRoot(before.Sig, recorded) {
		return // it has other changes, which the next build finds
	}
	after, err := statBelow(s.o.Root, "")
	if err != nil || after.Same(recorded) || !sameRoot(after.Sig, before.Sig) {
		return
	}
	if err := s.o.Disk.Applied([]folder.Applied{{Entry: &e, Sig: after.Sig}}); err != nil {
		s.o.Logger.Warn("the root is looked at again", "err", err)
	}
}

// sameRoot leaves the time of change out: that has moved each time we gave the
// root its own time back. The attributes are read again by the next build.
func sameRoot(a, b disk.Sig) bool {
	return a.Ino == b.Ino && a.Mode == b.Mode && a.MTime == b.MTime
}

// stageName is a new name in the staging directory.
func (s *Syncer) stageName() string { return s.run + "-" + strconv.FormatUint(s.staged.Add(1), 16) }

func (s *Syncer) syncStage(stage *disk.Dir) error { return stage.SyncDisk() }
