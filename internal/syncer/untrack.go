package syncer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/versions"
)

// A path that is untracked leaves the tree and stays on every disk. A snapshot
// names such paths, so that they are told from what somebody has deleted; a
// merge names those of both its sides.

// untrackAtOnce is how many paths one snapshot takes out, so that a merge has
// room for those of many.
const untrackAtOnce = 1 << 10

// ErrNoRule is a path that nothing ignores: untracked, it would be new again.
var ErrNoRule = errors.New("no rule ignores it")

// Untrack takes out of the tree what is at or below paths and would be ignored
// if it were new. It stays on every disk; its last content is in a snapshot.
// What was taken out is returned, without what is in a directory of the list.
// ErrNoRule where a path has nothing that it could be about: then nothing was
// changed.
func (s *Syncer) Untrack(ctx context.Context, paths []string, dry bool) (out []string, err error) {
	s.tree.Lock()
	defer s.tree.Unlock()
	if s.frozen.Load() {
		return nil, fmt.Errorf("folder %s is being unmounted: %w", s.o.Name, syscall.EBUSY)
	}
	rules := map[string]bool{}
	for _, p := range paths {
		tracked, err := s.o.Disk.Unwanted(ctx, p)
		if err != nil {
			return nil, err
		}
		for _, v := range tracked {
			out = append(out, v.Path)
			if v.Line > 0 {
				rules[v.Source] = true
			}
		}
		if len(tracked) > 0 {
			continue
		}
		switch v, err := s.o.Disk.Verdict(p); {
		case err != nil:
			return nil, err
		case v.Rule == "" && v.Tracked:
			return nil, fmt.Errorf("%s: %w", p, ErrNoRule)
		case v.Rule == "":
			return nil, &fs.PathError{Op: "untrack", Path: p, Err: fs.ErrNotExist}
		}
	}
	slices.Sort(out)
	out = topmost(slices.Compact(out))
	if dry || len(out) == 0 {
		return out, nil
	}
	// The rules travel at the latest with what they keep out.
	for source := range rules {
		s.o.Disk.Changed(source)
	}
	if err := s.secure(ctx); err != nil {
		return nil, fmt.Errorf("nothing was changed: what is here could not be put into a version first: %w", err)
	}
	for some := range slices.Chunk(out, untrackAtOnce) {
		if err := s.untrack(ctx, some); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// topmost leaves out what lies in another of the sorted paths.
func topmost(paths []string) []string {
	seen := map[string]bool{}
	return slices.DeleteFunc(paths, func(p string) bool {
		in := within(seen, p)
		seen[p] = true
		return in
	})
}

func setOf(paths []string) map[string]bool {
	set := make(map[string]bool, len(paths))
	for _, p := range paths {
		set[p] = true
	}
	return set
}

// within tells whether path is one of a set of paths or lies in one.
func within(set map[string]bool, path string) bool {
	if len(set) == 0 {
		return false
	}
	for i := range len(path) {
		if path[i] == '/' && set[path[:i]] {
			return true
		}
	}
	return set[path]
}

// untrack takes paths out of the tree. They are noted first, so that the
// snapshot without them names them even if a crash comes between.
func (s *Syncer) untrack(ctx context.Context, paths []string) error {
	if err := s.setUntracking(paths); err != nil {
		return err
	}
	s.o.Hook("untracking")
	if err := s.leaveTree(paths); err != nil {
		return err
	}
	s.o.Hook("untracked")
	_, err := s.captureLocked(ctx, folder.BuildOptions{})
	return err
}

// was tells what paths were in a tree, but for those that are about to leave
// it.
func (s *Syncer) was(ctx context.Context, root versions.Entry) func(path string) (*versions.Entry, error) {
	if root.IsZero() {
		return nil
	}
	s.mu.Lock()
	leaving := map[string]bool{}
	for _, p := range s.untracking {
		leaving[p] = true
	}
	s.mu.Unlock()
	return func(path string) (*versions.Entry, error) {
		if within(leaving, path) {
			return nil, nil
		}
		e, err := s.o.Trees.Resolve(ctx, root, path)
		if missing(err) || errors.Is(err, versions.ErrNotDir) {
			return nil, nil
		}
		return &e, err
	}
}

// leaveTree takes paths out of the folder's records.
func (s *Syncer) leaveTree(paths []string) error {
	var gone []folder.Applied
	for _, p := range paths {
		if _, _, err := s.o.Disk.Recorded(p); missing(err) {
			continue
		} else if err != nil {
			return err
		}
		gone = append(gone, folder.Applied{Path: p})
	}
	if err := s.o.Disk.Applied(gone); err != nil {
		return err
	}
	for _, p := range paths {
		s.o.Disk.Changed(p) // the next build meets it as what rules keep out
	}
	return nil
}

// resumeUntrack goes on with what a crash has cut.
func (s *Syncer) resumeUntrack() error {
	s.mu.Lock()
	paths := s.untracking
	s.mu.Unlock()
	if len(paths) == 0 {
		return nil
	}
	return s.leaveTree(paths)
}

func untrackingPath(dir string) string { return filepath.Join(dir, "untracking") }

// readUntracking reads what is to be named by the next snapshot.
func readUntracking(dir string) ([]string, error) {
	data, err := os.ReadFile(untrackingPath(dir))
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	var raw [][]byte // paths need not be UTF-8
	if err := json.Unmarshal(data, &raw); err != nil {
		return nil, fmt.Errorf("%s: %w", untrackingPath(dir), err)
	}
	paths := make([]string, len(raw))
	for i, p := range raw {
		paths[i] = string(p)
	}
	return paths, nil
}

// setUntracking notes what the next snapshot names; nothing ends that.
func (s *Syncer) setUntracking(paths []string) error {
	var err error
	if len(paths) == 0 {
		err = atomicfile.Remove(untrackingPath(s.o.StateDir))
	} else {
		raw := make([][]byte, len(paths))
		for i, p := range paths {
			raw[i] = []byte(p)
		}
		data, merr := json.Marshal(raw)
		if merr != nil {
			panic(merr) // cannot happen: only bytes
		}
		err = atomicfile.WriteFile(untrackingPath(s.o.StateDir), data, 0o600)
	}
	if err != nil {
		return fmt.Errorf("note what is untracked: %w", err)
	}
	s.mu.Lock()
	s.untracking = paths
	s.mu.Unlock()
	return nil
}

// absentFrom are those of paths that a tree has not, rising.
func (s *Syncer) absentFrom(ctx context.Context, root versions.Entry, paths []string) ([]string, error) {
	var out []string
	for _, p := range paths {
		_, err := s.o.Trees.Resolve(ctx, root, p)
		if missing(err) || errors.Is(err, versions.ErrNotDir) {
			out = append(out, p)
		} else if err != nil {
			return nil, err
		}
	}
	slices.Sort(out)
	return topmost(slices.Compact(out)), nil
}

// untrackedSince are the paths that snapshots after the base have untracked.
func (s *Syncer) untrackedSince(at versions.Instant) (map[string]bool, error) {
	list, err := s.o.Meta.SnapshotsAfter(at)
	if err != nil {
		return nil, fmt.Errorf("look for what was untracked: %w", err)
	}
	return untrackedBy(list), nil
}

func untrackedBy(list []meta.Snapshot) map[string]bool {
	set := map[string]bool{}
	for _, m := range list {
		for _, p := range m.Record.Untracked {
			set[p] = true
		}
	}
	return set
}

// mergedUntracked are the paths that a merge names: those of both its sides that
// its tree has not. What is too much for one record counts as deleted.
func (s *Syncer) mergedUntracked(ctx context.Context, base versions.Instant, root versions.Entry) ([]string, error) {
	set, err := s.untrackedSince(base) // this machine's queue is there as well
	if err != nil || len(set) == 0 {
		return nil, err
	}
	paths := make([]string, 0, len(set))
	for p := range set {
		paths = append(paths, p)
	}
	paths, err = s.absentFrom(ctx, root, paths)
	if len(paths) > versions.MaxUntracked {
		s.o.Logger.Warn("a merge has more untracked paths than a record can name", "paths", len(paths), "first left out", paths[versions.MaxUntracked])
		paths = paths[:versions.MaxUntracked]
	}
	return paths, err
}

// stays tells whether a path that is gone from the tree stays on this disk: it
// was untracked, not deleted.
func (a *applier) stays(path string) bool { return within(a.plan.untracked, path) }

// Verdict is what the rules say of one path now.
func (s *Syncer) Verdict(path string) (folder.Verdict, error) { return s.o.Disk.Verdict(path) }

// Ignored calls fn for all that rules keep out of dir and below.
func (s *Syncer) Ignored(ctx context.Context, dir string, fn func(folder.Verdict) error) error {
	return s.o.Disk.Ignored(ctx, dir, fn)
}
