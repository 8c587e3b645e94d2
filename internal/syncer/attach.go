package syncer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/versions"
)

// Attach looks at the whole directory, and ends what an earlier run has left.
// Nothing is applied or captured before.
func (s *Syncer) Attach(ctx context.Context) error {
	var err error
	KeepTime(s.o.Root, func() { err = s.sweepStages() })
	s.tidyStage()
	if err != nil {
		s.o.Logger.Warn("staging of an earlier run stays for now", "err", err)
	}
	if err := s.scan(ctx); err != nil {
		return fmt.Errorf("look at the folder: %w", err)
	}
	if err := s.resumeUntrack(); err != nil {
		return err
	}
	s.rememberQueue(ctx)
	s.mu.Lock()
	s.status.ready = true
	s.mu.Unlock()
	kick(s.build)
	kick(s.sync)
	return nil
}

// sweepStages removes what earlier runs had staged and not placed. What they
// had displaced is left to sweep.
func (s *Syncer) sweepStages() error {
	root, err := s.o.Root.OpenDir("")
	if err != nil {
		return err
	}
	defer root.Close()
	names, err := root.List()
	if err != nil {
		return err
	}
	current := filepath.Base(s.o.Applier.Stage().Name())
	var errs []error
	for _, n := range names {
		if n.Name != current && s.o.Hidden(n.Name) && n.Type != disk.TypeFile {
			errs = append(errs, s.sweepStage(root, n.Name))
		}
	}
	return errors.Join(errs...)
}

func (s *Syncer) sweepStage(root *disk.Dir, name string) error {
	stage, err := root.OpenDir(name)
	if err != nil {
		return err
	}
	defer stage.Close()
	keep := map[string]bool{}
	s.mu.Lock()
	for _, d := range s.displaced {
		keep[d.Stage+"/"+d.Staged] = true
	}
	s.mu.Unlock()
	entries, err := stage.List()
	if err != nil {
		return err
	}
	kept := 0
	var errs []error
	for _, e := range entries {
		if keep[name+"/"+e.Name] {
			kept++
			continue
		}
		err := stage.Remove(e.Name)
		if err != nil {
			err = stage.Rmdir(e.Name)
		}
		errs = append(errs, err)
	}
	if kept == 0 {
		errs = append(errs, root.Rmdir(name))
	}
	return errors.Join(errs...)
}

// restoring marks a directory that Restore has begun to fill.
func restoringPath(dir string) string { return filepath.Join(dir, "restoring") }

// Restoring tells whether a Restore was cut, so that it must go on before
// anything else happens to the directory.
func Restoring(stateDir string) bool {
	_, err := os.Stat(restoringPath(stateDir))
	return err == nil
}

// partPrefix begins the names of files that a restore has not finished.
const partPrefix = ".syncfs-part-"

// Restore fills the directory at target, which nothing else uses yet, with the
// newest snapshot, and makes that the base. It is the quick way of a first
// attach; when it was cut, it goes on.
func (s *Syncer) Restore(ctx context.Context, target string) error {
	head, err := s.currentHead(ctx)
	if err != nil {
		return err
	}
	if err := s.learn(ctx, head); err != nil {
		return err
	}
	if head.Snapshot.IsZero() {
		return nil
	}
	if Restoring(s.o.StateDir) {
		if err := removeParts(target); err != nil {
			return err
		}
	} else if err := atomicfile.WriteFile(restoringPath(s.o.StateDir), nil, 0o600); err != nil {
		return err
	}
	defer s.activity(Activity{})
	done := newCounter(s, Activity{Stage: "fetch", TotalFiles: head.Root.Count, TotalBytes: head.Root.Size})
	report, err := disk.Restore(ctx, s.o.Trees, s.o.Contents, head.Root, target, disk.RestoreOptions{
		Sync: true, Progress: done.add,
	})
	if err != nil {
		return err
	}
	if len(report.Refused) > 0 { // somebody has put it there meanwhile: a merge decides
		return atomicfile.Remove(restoringPath(s.o.StateDir))
	}
	skip := map[string]error{}
	failed := 0
	for _, f := range report.Failed {
		skip[f.Path] = f.Err
		if s.restorable(ctx, head.Root, f) {
			s.o.Logger.Error("a file could not be restored", "path", f.Path, "err", f.Err)
			err = fmt.Errorf("%s: %w", f.Path, f.Err)
			failed++
		}
	}
	if failed > 0 {
		err = fmt.Errorf("%d files could not be restored, such as %w", failed, err)
	}
	if aerr := s.adopt(ctx, head.Root, skip); aerr != nil {
		return aerr
	}
	if err != nil {
		return err
	}
	err = s.setBase(Base{
		Repository: s.o.Repository, Folder: s.o.ID,
		Number: head.Number, Epoch: head.Epoch,
		Snapshot: head.Snapshot, Instant: head.Instant, Root: head.Root,
	})
	if err != nil {
		return err
	}
	s.o.Note(Operation{What: "applied", Instant: head.Instant})
	return atomicfile.Remove(restoringPath(s.o.StateDir))
}

// removeParts removes the unfinished files of a restore that was cut.
func removeParts(target string) error {
	return filepath.WalkDir(target, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			if missing(err) {
				return nil
			}
			return err
		}
		if strings.HasPrefix(d.Name(), partPrefix) && !d.IsDir() {
			return os.Remove(path)
		}
		return nil
	})
}

// adopt records a tree that was just written as what the folder holds, from the
// signatures that the disk gives it, so that nothing is read again.
func (s *Syncer) adopt(ctx context.Context, root versions.Entry, skip map[string]error) error {
	var list []folder.Applied
	err := s.o.Trees.Walk(ctx, root, func(path string, e versions.Entry) error {
		if why, ok := skip[path]; ok {
			if !unmakable(&e, why) {
				return nil
			}
			list = append(list, folder.Applied{Path: path, Entry: &e, Absent: true})
			if e.Kind == versions.Dir {
				return versions.SkipDir
			}
			return nil
		}
		st, err := statBelow(s.o.Root, path)
		if missing(err) {
			return nil // the scan will say
		}
		if err != nil {
			return err
		}
		// One that somebody has written meanwhile has another time: it is read.
		if kind, _ := st.Kind(); kind != e.Kind || kind == versions.File && (st.Size != e.Size || !restoredTime(st, e)) {
			return nil
		}
		list = append(list, folder.Applied{Path: path, Entry: &e, Sig: st.Sig})
		if len(list) < adoptBatch {
			return nil
		}
		err = s.o.Disk.Applied(list)
		list = list[:0]
		return err
	})
	if err == nil {
		err = s.o.Disk.Applied(list)
	}
	if err != nil {
		return fmt.Errorf("record what was restored: %w", err)
	}
	return nil
}

// adoptBatch is how many paths are recorded together.
const adoptBatch = 4096
