package syncer

import (
	"fmt"
	"syscall"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// errWait is a path that cannot be changed just now.
var errWait = fmt.Errorf("changed or in use on this machine: %w", syscall.EBUSY)

// Check is asked inside each visible step, under the lock of the path, whether
// it may go on (fs.Gate): only over what is as we recorded it, with no writer.
func (s *Syncer) Check(op disk.Op, path string) error {
	if s.yields(ownStep{op, path}) {
		return s.checkKeptOut(path)
	}
	if mode, ok := s.ownDir(op, path); ok {
		return s.checkDir(op, mode, path)
	}
	return s.o.Disk.Unchanged(path)
}

// checkDir is the check of a directory: our own steps in it have moved its
// times, so only what they cannot move is compared. One that holds anything is
// never removed: it would be away for a moment.
func (s *Syncer) checkDir(op disk.Op, recordedMode uint32, path string) error {
	st, err := statBelow(s.o.Root, path)
	if err != nil {
		return err
	}
	if op == disk.Remove && st.Type() == disk.TypeDir {
		return s.checkEmpty(path)
	}
	if st.Type() != disk.TypeDir {
		return fmt.Errorf("%s: it is no directory: %w", path, errWait)
	}
	if recordedMode != 0 && st.Mode != recordedMode {
		return fmt.Errorf("%s: its mode has changed: %w", path, errWait)
	}
	return nil
}

func (s *Syncer) checkEmpty(path string) error {
	d, err := s.o.Root.OpenDir(path)
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.List()
	if err == nil && len(names) > 0 {
		err = fmt.Errorf("%s: %s is in it: %w", path, names[0].Name, errWait)
	}
	return err
}

// gateDirs tells the gate which directories the apply under way works in. nil
// ends it.
func (s *Syncer) gateDirs(p *plan) {
	var dirs map[ownStep]uint32
	if p != nil {
		dirs = map[ownStep]uint32{}
		for _, d := range p.dirs {
			dirs[ownStep{disk.SetMeta, d.path}] = s.recordedMode(d.path)
		}
		for _, list := range [][]versions.Change{p.giveWay, p.gone} {
			for _, c := range list {
				if c.Old.Kind == versions.Dir {
					dirs[ownStep{disk.Remove, c.Path}] = 0
				}
			}
		}
	}
	s.gateMu.Lock()
	s.gated = dirs
	s.gateMu.Unlock()
}

// ownStep is a step on a directory that an apply has planned.
type ownStep struct {
	op   disk.Op
	path string
}

// ownDir tells whether a step is one on a directory that the apply under way
// has planned, and the directory's recorded mode.
func (s *Syncer) ownDir(op disk.Op, path string) (uint32, bool) {
	s.gateMu.Lock()
	defer s.gateMu.Unlock()
	mode, ok := s.gated[ownStep{op, path}]
	return mode, ok
}

// recordedMode is the mode that a directory had when it was last recorded, 0
// when it is not recorded.
func (s *Syncer) recordedMode(path string) uint32 {
	_, sig, err := s.o.Disk.Recorded(path)
	if err != nil || sig.Type() != disk.TypeDir {
		return 0
	}
	return sig.Mode
}
