package syncer

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/versions"
)

// displaced is a file that one of our steps has moved, or will move, out of the
// folder into staging. It stays there until nobody has it open; if it has
// changed by then, it comes back as a conflict copy.
type displaced struct {
	Stage  string   `json:"stage"` // name of the staging directory
	Staged string   `json:"staged"`
	Path   string   `json:"-"`
	Raw    []byte   `json:"path"` // Path, whose bytes need not be UTF-8
	Sig    disk.Sig `json:"sig"`  // when it was taken or placed
	Ours   disk.Sig `json:"ours"` // what we had staged under this name, if anything
}

func displacedPath(dir string) string { return filepath.Join(dir, "displaced.jsonl") }

// displacing notes, durably and before the steps, what changes may move into
// staging, and under which names.
func (s *Syncer) displacing(stage string, changes []stagedChange) error {
	var list []displaced
	for _, c := range changes {
		if c.Old == nil || c.Path == "" || c.name == "" {
			continue
		}
		_, sig, err := s.o.Disk.Recorded(c.Path)
		if err != nil && !missing(err) {
			return err
		}
		d := displaced{Stage: stage, Staged: c.name, Path: c.Path, Sig: sig, Ours: c.sig}
		if c.link {
			d.Ours = disk.Sig{Size: c.New.Size, MTime: c.New.MTime}
		}
		list = append(list, d)
	}
	if len(list) == 0 {
		return nil
	}
	if err := s.noteDisplaced(list); err != nil {
		return err
	}
	s.mu.Lock()
	s.displaced = append(s.displaced, list...)
	s.mu.Unlock()
	return nil
}

func (s *Syncer) noteDisplaced(list []displaced) error {
	if err := appendSynced(displacedPath(s.o.StateDir), encodeDisplaced(list)); err != nil {
		return fmt.Errorf("note what is displaced: %w", err)
	}
	return nil
}

func encodeDisplaced(list []displaced) []byte {
	var out bytes.Buffer
	for _, d := range list {
		d.Raw = []byte(d.Path)
		line, err := json.Marshal(d)
		if err != nil {
			panic(err) // cannot happen: only strings, numbers and bytes
		}
		out.Write(append(line, '\n'))
	}
	return out.Bytes()
}

// appendSynced adds to a file of lines; a line that a crash cut is passed over
// by the reader.
func appendSynced(path string, data []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err == nil {
		err = f.Sync()
	}
	if err = errors.Join(err, f.Close()); err != nil {
		return err
	}
	return atomicfile.SyncDir(filepath.Dir(path))
}

// readDisplaced reads what earlier runs have noted.
func readDisplaced(dir string) ([]displaced, error) {
	data, err := os.ReadFile(displacedPath(dir))
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var list []displaced
	sc := bufio.NewScanner(bytes.NewReader(data))
	sc.Buffer(nil, 1<<20)
	for sc.Scan() {
		var d displaced
		if json.Unmarshal(sc.Bytes(), &d) != nil {
			continue // cut by a crash before the step that it is about
		}
		d.Path = string(d.Raw)
		list = append(list, d)
		if d.Sig.Type() != disk.TypeDir {
			// Where a disk cannot exchange it is there for a moment.
			d.Staged, d.Ours = d.Staged+disk.Aside, disk.Sig{}
			list = append(list, d)
		}
	}
	return list, sc.Err()
}

// runSweeper looks after displaced files until nobody uses them any more.
func (s *Syncer) runSweeper(ctx context.Context) error {
	for {
		if sleep(ctx, s.o.Interval) != nil {
			return nil
		}
		s.mu.Lock()
		idle := len(s.displaced) == 0
		s.mu.Unlock()
		if idle {
			continue
		}
		if err := s.sweep(ctx); err != nil && ctx.Err() == nil {
			s.o.Logger.Warn("displaced files stay for now", "err", err)
		}
	}
}

// sweep removes displaced files that are as they were and that nobody has open,
// and brings those back that were changed.
func (s *Syncer) sweep(ctx context.Context) error {
	s.tree.Lock() // an apply notes before it moves
	defer s.tree.Unlock()
	return s.sweepLocked(ctx)
}

// Leave sweeps once more when the folder has been unmounted, so that nothing of
// ours stays in the plain directory; what programs still use, and all while work
// is under way, waits for the next start.
func (s *Syncer) Leave(ctx context.Context) error {
	if !s.tree.TryLock() {
		return nil
	}
	defer s.tree.Unlock()
	return s.sweepLocked(ctx)
}

func (s *Syncer) sweepLocked(ctx context.Context) error {
	s.mu.Lock()
	list := s.displaced
	s.mu.Unlock()
	var stay []displaced
	var errs []error
	ended := 0
	for _, d := range list {
		done, err := s.sweepOne(ctx, d)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", d.Path, err))
		}
		if !done {
			stay = append(stay, d)
		} else {
			ended++
		}
	}
	s.mu.Lock()
	stay = append(stay, s.displaced[len(list):]...) // moved meanwhile, by bringBack
	s.mu.Unlock()
	if ended > 0 {
		if err := s.writeDisplaced(stay); err != nil {
			errs = append(errs, err) // what is noted too much is found to be gone
		}
	}
	s.mu.Lock()
	s.displaced = stay
	s.mu.Unlock()
	if len(stay) == 0 { // staging directories of earlier runs are empty now
		s.ownNames(func() { errs = append(errs, s.sweepStages()) })
	}
	s.tidyStage()
	return errors.Join(errs...)
}

// writeDisplaced makes list all that is noted.
func (s *Syncer) writeDisplaced(list []displaced) error {
	if len(list) == 0 {
		return atomicfile.Remove(displacedPath(s.o.StateDir))
	}
	return atomicfile.WriteFile(displacedPath(s.o.StateDir), encodeDisplaced(list), 0o600)
}

// sweepOne is sweep for one file; done when nothing is left of it in staging.
func (s *Syncer) sweepOne(ctx context.Context, d displaced) (done bool, err error) {
	dir, err := s.o.Root.OpenDir(d.Stage)
	if missing(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	defer dir.Close()
	st, err := dir.Stat(d.Staged)
	if missing(err) {
		return true, nil
	}
	if err != nil {
		return false, err
	}
	switch {
	case st.Type() == disk.TypeDir:
		if err := dir.Rmdir(d.Staged); err == nil {
			return true, nil
		}
		return s.bringBack(ctx, dir, d, [32]byte{})
	case unchanged(st, d.Ours):
		// The step was not made: it is what we had staged.
		return true, dir.Remove(d.Staged)
	case st.Type() == disk.TypeFile:
		f, err := dir.Open(d.Staged)
		if err != nil {
			return false, err
		}
		defer f.Close()
		if !f.Unused() {
			return false, nil
		}
		if _, stub, err := f.Stub(); err != nil || stub {
			if err == nil {
				err = dir.Remove(d.Staged) // nobody has written it
			}
			return err == nil, err
		}
		if st, err = f.Stat(); err != nil {
			return false, err
		}
	}
	if unchanged(st, d.Sig) {
		return true, dir.Remove(d.Staged)
	}
	hash, err := s.hashOf(ctx, dir, d.Staged)
	if err != nil {
		return false, err
	}
	if e, _, err := s.o.Disk.Recorded(d.Path); err == nil && e.Kind != versions.Dir && versions.ContentHash(e) == hash {
		return true, dir.Remove(d.Staged) // equal content is no conflict
	}
	return s.bringBack(ctx, dir, d, hash)
}

// unchanged tells whether st is what sig was taken of. It may be another inode
// on a disk that was copied, so that says nothing; one that a program put in
// place between the check and the step has another time.
func unchanged(st disk.Stat, sig disk.Sig) bool {
	return sig != (disk.Sig{}) && st.Size == sig.Size && st.MTime == sig.MTime
}

// bringBack puts a displaced file that a program has changed meanwhile into the
// folder again, under the name of a conflict copy. Where its directory is gone
// it comes to the nearest that is there.
func (s *Syncer) bringBack(ctx context.Context, dir *disk.Dir, d displaced, hash [32]byte) (done bool, err error) {
	at := versions.NextInstant(s.o.Now(), versions.Instant{})
	stage := s.openStage()
	if current := filepath.Base(stage.Name()); current != d.Stage {
		// Steps are made from the staging of this run.
		moved := displaced{Stage: current, Staged: s.stageName(), Path: d.Path}
		if err := s.noteDisplaced([]displaced{moved}); err != nil {
			return false, err
		}
		if err := dir.Rename(d.Staged, disk.DirOf(stage), moved.Staged); err != nil {
			return false, err
		}
		s.o.Hook("moved")
		s.mu.Lock()
		s.displaced = append(s.displaced, moved)
		s.mu.Unlock()
		d = moved
	}
	where, name := split(d.Path)
	for range 100 {
		path := join(where, reconcile.CopyName(name, s.o.Host, at, hash, 8))
		err := s.o.Applier.Do(ctx, disk.Step{Op: disk.Place, Path: path, Staged: d.Staged})
		switch {
		case err == nil:
			s.o.Disk.Changed(path)
			s.o.Note(Operation{What: "conflict", Path: path, Text: path})
			return true, nil
		case errors.Is(err, syscall.EBUSY) && !s.o.Disk.Dirty(path), errors.Is(err, os.ErrExist):
			at = versions.NextInstant(at.Time(), at) // the name is taken
		case missing(err) && where != "":
			where = parentOf(where)
		default:
			return false, err
		}
	}
	return false, fmt.Errorf("no free name for a conflict copy")
}

// hashOf tells the content of a file in staging from others.
func (s *Syncer) hashOf(ctx context.Context, dir *disk.Dir, name string) ([32]byte, error) {
	e, st, _, err := dir.Entry(name, s.o.Owners)
	if err != nil {
		return [32]byte{}, err
	}
	if st.Type() != disk.TypeFile {
		return versions.ContentHash(e), nil
	}
	f, err := dir.Open(name)
	if err != nil {
		return [32]byte{}, err
	}
	defer f.Close()
	e, err = s.o.Contents.Write(ctx, f)
	if err != nil {
		return [32]byte{}, err
	}
	return versions.ContentHash(e), nil
}
