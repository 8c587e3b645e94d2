package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"time"

	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/versions"
)

// ChangeKind is what happened to a file or directory.
type ChangeKind string

// What can happen.
const (
	Created  ChangeKind = "created"
	Modified ChangeKind = "modified"
	Deleted  ChangeKind = "deleted"
	Metadata ChangeKind = "metadata" // the same content, other attributes
)

// FileVersion is one instant at which a file or directory changed.
type FileVersion struct {
	Instant versions.Instant
	Time    time.Time
	Size    int64
	Host    string
	User    string
	Change  ChangeKind
	Entry   *versions.Entry // nil when deleted
}

// FileVersions lists the instants at which a place changed, ascending;
// io/fs.ErrNotExist when it never existed. Only the listings of the directory
// that holds it are read: one for each of its moments.
func (r *Reader) FileVersions(ctx context.Context, p Place) ([]FileVersion, error) {
	past, err := r.past(ctx, p.Folder)
	if err != nil {
		return nil, err
	}
	snaps, err := past.snapshots(ctx)
	if err != nil {
		return nil, err
	}
	byInstant := map[versions.Instant]meta.Snapshot{}
	for _, s := range snaps {
		byInstant[s.Record.Instant] = s
	}
	look, moments, err := r.lookup(ctx, past, p, snaps)
	if err != nil {
		return nil, err
	}
	var list []FileVersion
	var last *versions.Entry
	for _, at := range moments {
		e, err := look(at)
		if err != nil {
			return nil, err
		}
		kind, changed := changeOf(last, e)
		last = e
		if !changed {
			continue
		}
		v := FileVersion{Instant: at, Time: at.Time(), Change: kind, Entry: e}
		if e != nil {
			v.Size = e.Size
		}
		if s, ok := byInstant[at]; ok {
			v.Host, v.User = s.Record.Host, s.Record.User
		}
		list = append(list, v)
	}
	if len(list) == 0 {
		return nil, fmt.Errorf("%s:%s: no version has it: %w", p.Folder.Name, p.Rel, fs.ErrNotExist)
	}
	return list, nil
}

// lookup returns how to find the place at an instant, and the instants at which
// it may have changed.
func (r *Reader) lookup(ctx context.Context, past past, p Place, snaps []meta.Snapshot) (func(versions.Instant) (*versions.Entry, error), []versions.Instant, error) {
	var instants []versions.Instant
	if p.Rel == "" { // the root is in no directory
		roots := map[versions.Instant]versions.Entry{}
		for _, s := range snaps {
			instants = append(instants, s.Record.Instant)
			roots[s.Record.Instant] = s.Record.Root
		}
		return func(at versions.Instant) (*versions.Entry, error) {
			e := roots[at]
			return &e, nil
		}, instants, nil
	}
	dir, name := path.Split(p.Rel)
	moments, _, err := past.moments(ctx, path.Clean("/" + dir)[1:])
	if err != nil {
		return nil, nil, err
	}
	at := map[versions.Instant]meta.Moment{}
	for _, m := range moments {
		instants = append(instants, m.Instant)
		at[m.Instant] = m
	}
	return func(i versions.Instant) (*versions.Entry, error) {
		m := at[i]
		if m.Gone {
			return nil, nil
		}
		e, err := r.trees.Lookup(ctx, m.Tree, name)
		if errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		if err != nil {
			return nil, err
		}
		return &e, nil
	}, instants, nil
}

// changeOf says what happened between two states.
func changeOf(old, new *versions.Entry) (ChangeKind, bool) {
	switch {
	case old == nil && new == nil:
		return "", false
	case old == nil:
		return Created, true
	case new == nil:
		return Deleted, true
	case versions.Equal(*old, *new):
		return "", false
	case versions.SameContent(*old, *new):
		return Metadata, true
	}
	return Modified, true
}
