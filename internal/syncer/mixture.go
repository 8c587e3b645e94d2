package syncer

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// mixture is what the folder's tree is made of, besides what programs here
// change, while an apply is not done: after a crash, or because a program holds
// a path. Another head may come before that, and another, so what the tree was
// when the last apply began may be such a mixture itself.
type mixture struct {
	base chunk.ID       // snapshot of the base that this goes with
	from versions.Entry // what the tree was when the apply began: it held nothing of ours
	to   versions.Entry // what it is to become
}

func mixturePath(dir string) string { return filepath.Join(dir, "applying") }

// readMixture reads what writeMixture has noted; the zero value when nothing.
func readMixture(dir string) (mixture, error) {
	data, err := os.ReadFile(mixturePath(dir))
	if missing(err) {
		return mixture{}, nil
	}
	if err != nil {
		return mixture{}, err
	}
	var m mixture
	if len(data) < len(m.base) {
		return mixture{}, nil
	}
	rest := data[copy(m.base[:], data):]
	for _, root := range []*versions.Entry{&m.from, &m.to} {
		if *root, rest, err = versions.DecodeEntry(rest); err != nil {
			// Without it a mixture counts as a change of ours, and is merged.
			return mixture{}, nil
		}
	}
	return m, nil
}

// begin notes that an apply begins that makes from to be to.
func (s *Syncer) begin(ctx context.Context, from, to versions.Entry) error {
	s.mu.Lock()
	m := mixture{s.base.Snapshot, from, to}
	same := s.mixture.base == m.base && versions.Equal(s.mixture.from, from) && versions.Equal(s.mixture.to, to)
	s.mu.Unlock()
	if same {
		return nil
	}
	if err := s.o.Store.Flush(ctx); err != nil { // what holds from
		return err
	}
	data := append([]byte{}, m.base[:]...)
	data = versions.AppendEntry(versions.AppendEntry(data, from), to)
	if err := atomicfile.WriteFile(mixturePath(s.o.StateDir), data, 0o600); err != nil {
		return fmt.Errorf("note an apply: %w", err)
	}
	s.mu.Lock()
	s.mixture = m
	s.mu.Unlock()
	return nil
}

// done notes that the tree is no mixture any more.
func (s *Syncer) done() error {
	if err := atomicfile.Remove(mixturePath(s.o.StateDir)); err != nil && !missing(err) {
		return fmt.Errorf("note an apply: %w", err)
	}
	s.mu.Lock()
	s.mixture = mixture{}
	s.mu.Unlock()
	return nil
}

// mixtureLocked is the mixture, if it goes with the base: a crash may have come
// before done.
func (s *Syncer) mixtureLocked() (mixture, bool) {
	return s.mixture, !s.mixture.to.IsZero() && s.mixture.base == s.base.Snapshot
}

// mergeBase is what a merge of the snapshot with root tip, which is built on the
// base, starts from. What an apply that is not done has put into tip is no
// change of this machine, so it is in the base of the merge as well.
func (s *Syncer) mergeBase(ctx context.Context, tip versions.Entry) (versions.Entry, error) {
	s.mu.Lock()
	base := s.base.Root
	mix, mixed := s.mixtureLocked()
	s.mu.Unlock()
	if !mixed {
		return base, nil
	}
	apart := map[string]bool{} // not put there, or changed since
	err := s.o.Trees.Diff(ctx, tip, mix.to, func(c versions.Change) error {
		apart[c.Path] = true
		return nil
	})
	if err != nil {
		return versions.Entry{}, err
	}
	var edits []versions.Edit
	err = s.o.Trees.Diff(ctx, mix.from, mix.to, func(c versions.Change) error {
		if !apart[c.Path] {
			edits = append(edits, versions.Edit{Path: c.Path, Entry: c.New})
		}
		return nil
	})
	if err != nil {
		return versions.Entry{}, err
	}
	root, err := s.o.Trees.Apply(ctx, mix.from, edits)
	if errors.Is(err, versions.ErrNotDir) {
		// What was put below a directory that is another thing by now fits
		// nowhere: it passes for a change, and is kept.
		return mix.from, nil
	}
	return root, err
}
