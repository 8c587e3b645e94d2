package containerbackup

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"sync/atomic"
	"time"

	"github.com/moby/moby/client"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

// BackupOptions say what is backed up, and where to.
type BackupOptions struct {
	Project  string
	Name     string         // of this backup; may be empty
	NoImages bool           // leave images out
	Last     versions.Entry // root of the last backup; zero: there is none
	Journal  string         // file in which is written down what is paused
	Host     string
	UID, GID int // whose the files that are made for the backup are
	Trees    *versions.Trees
	Contents *versions.Contents
	Now      func() time.Time
	Note     func(format string, args ...any) // told of each step
}

// Made is a backup that is stored, and not yet a snapshot.
type Made struct {
	Root versions.Entry
	At   time.Time // the instant that binds it together
	Info *Info
	Read int64 // bytes of volumes that had to be read
}

// backup is one run of Backup.
type backup struct {
	e       *Engine
	o       BackupOptions
	project *project
	last    *lastBackup // nil: none
	tree    *tree
	info    *Info
	blobs   map[string]int64 // sizes of images' blobs, by digest
	read    atomic.Int64
}

// lastBackup is the one before.
type lastBackup struct {
	root versions.Entry
	info *Info
	sums *sums
}

// Backup saves a project. Containers that are paused or stopped for it run again
// when it returns, also with an error; after a kill PutRight does that.
// ErrNoProject, ErrNothing, ErrDump, ErrDied.
func (e *Engine) Backup(ctx context.Context, o BackupOptions) (*Made, error) {
	p, err := e.find(ctx, o.Project)
	if err != nil {
		return nil, err
	}
	b := &backup{
		e: e, o: o, project: p, blobs: map[string]int64{},
		tree: newTree(o.Trees, o.Contents, o.Now(), o.UID, o.GID),
		info: &Info{Format: infoFormat, Project: p.name, Name: o.Name, Type: "container", Host: o.Host},
	}
	if p.compose {
		b.info.Type = "compose"
	}
	if !slices.ContainsFunc(p.containers, func(m *member) bool { return !m.wishes.Skip }) {
		return nil, fmt.Errorf("%w: every container of %s has the label %s=false", ErrNothing, p.name, prefixShort)
	}
	if err := b.readLast(ctx); err != nil {
		return nil, fmt.Errorf("read the last backup: %w", err)
	}
	if err := b.run(ctx); err != nil {
		return nil, err
	}
	root, err := b.finish(ctx)
	if err != nil {
		return nil, err
	}
	return &Made{Root: root, At: b.info.Time, Info: b.info, Read: b.read.Load()}, nil
}

// readLast reads what the last backup says of itself. One that says nothing that
// can be read is of no use, and no reason not to make one.
func (b *backup) readLast(ctx context.Context) error {
	if b.o.Last.IsZero() {
		return nil
	}
	info, err := ReadInfo(ctx, b.o.Trees, b.o.Contents, b.o.Last)
	if errors.Is(err, ErrFormat) || errors.Is(err, ErrNewer) {
		b.warn("the last backup cannot be compared with: %v", err)
		return nil
	}
	if err != nil {
		return err
	}
	sums, err := readSums(ctx, b.o.Trees, b.o.Contents, b.o.Last)
	if err != nil {
		return err
	}
	b.last = &lastBackup{root: b.o.Last, info: info, sums: sums}
	return nil
}

// run saves all parts, in the order in which they can be had: nothing can be
// executed in a paused container, so hooks and dumps come first; images never
// change.
func (b *backup) run(ctx context.Context) error {
	for _, m := range b.project.containers {
		if err := b.runHook(ctx, m, "pre", m.wishes.Pre); err != nil {
			return err
		}
	}
	if err := b.saveConfig(ctx); err != nil {
		return err
	}
	if !b.o.NoImages {
		if err := b.saveImages(ctx); err != nil {
			return err
		}
	} else {
		for _, id := range slices.Sorted(maps.Keys(b.project.images)) {
			b.info.Images = append(b.info.Images, SavedImage{ID: id, Names: b.project.images[id].names})
		}
	}
	first := b.o.Now()
	for _, m := range b.project.containers {
		if m.base == nil {
			continue
		}
		if err := b.dump(ctx, m); err != nil {
			return err
		}
	}
	if err := b.saveFiles(ctx); err != nil {
		return err
	}
	b.info.Skew = max(0, b.info.Time.Sub(first).Seconds())
	for _, m := range b.project.containers {
		if err := b.runHook(ctx, m, "post", m.wishes.Post); err != nil {
			return err
		}
	}
	return b.stillThere(ctx)
}

// stillThere looks that all that ran still runs: what ended meanwhile may have
// been in the middle of something that was saved.
func (b *backup) stillThere(ctx context.Context) error {
	for _, m := range b.project.containers {
		if !m.running() {
			continue
		}
		got, err := b.e.api.ContainerInspect(ctx, m.inspect.ID, client.ContainerInspectOptions{})
		if err != nil {
			return fmt.Errorf("%w: %s: %w", ErrDied, m.name(), err)
		}
		if st := got.Container.State; st == nil || !st.Running {
			return fmt.Errorf("%w: %s", ErrDied, m.name())
		}
	}
	return nil
}

// saveFiles reads volumes and bind mounts while who writes to them holds still.
func (b *backup) saveFiles(ctx context.Context) (err error) {
	var list []*data
	for _, name := range slices.Sorted(maps.Keys(b.project.volumes)) {
		list = append(list, b.project.volumes[name])
	}
	list = append(list, b.project.binds...)
	var read []*data
	for _, d := range list {
		if d.volume != nil && d.raw() || d.volume == nil && d.bound() {
			read = append(read, d)
		}
	}
	if len(read) > 0 && !b.e.local() {
		return fmt.Errorf("volumes of the engine at %s are on another machine: run syncfs there", b.e.host)
	}
	h, err := b.e.hold(ctx, b.o.Journal, b.project.name, b.holders(read), b.o.Now)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, h.release(ctx))
		until := b.o.Now().UTC()
		for _, c := range h.j.Containers {
			b.info.Held = append(b.info.Held, SavedHold{Container: c.Name, How: c.How, From: h.at.UTC(), Until: until})
		}
	}()
	b.info.Time = h.at.UTC()
	for i, d := range list {
		if d.volume == nil {
			err = b.saveBind(ctx, d, fmt.Sprintf("binds/%d", i-len(b.project.volumes)+1), slices.Contains(read, d))
		} else {
			err = b.saveVolume(ctx, d, slices.Contains(read, d))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// holders are the containers that could write to what is read, each as its label
// says, else paused.
func (b *backup) holders(read []*data) []heldOne {
	var list []heldOne
	for _, m := range b.project.containers {
		writes := slices.ContainsFunc(read, func(d *data) bool {
			return slices.ContainsFunc(d.users, func(u use) bool { return u.member == m && u.writes })
		})
		how := m.wishes.Hold
		if how == "" && writes {
			how = holdPause
		}
		if how == "" || how == holdNone || !m.running() || m.inspect.State.Paused {
			continue
		}
		list = append(list, heldOne{ID: m.inspect.ID, Name: m.name(), How: how})
	}
	return list
}

func (b *backup) saveVolume(ctx context.Context, d *data, read bool) error {
	v := SavedVolume{Name: d.name, Driver: d.volume.Driver, Options: d.volume.Options, Labels: d.volume.Labels, Dumped: d.dumped()}
	if read {
		v.Path, v.Started = "volumes/"+d.name, b.o.Now().UTC()
		e, err := b.files(ctx, d, v.Path)
		if err != nil {
			return fmt.Errorf("volume %s: %w", d.name, err)
		}
		v.Files, v.Bytes, v.Ended = e.Count, e.Size, b.o.Now().UTC()
	}
	b.info.Volumes = append(b.info.Volumes, v)
	return nil
}

func (b *backup) saveBind(ctx context.Context, d *data, at string, read bool) error {
	s := SavedBind{Source: d.source}
	if read {
		s.Path = at
		e, err := b.files(ctx, d, at)
		if err != nil {
			return fmt.Errorf("bind mount %s: %w", d.source, err)
		}
		s.Files, s.Bytes = max(e.Count, 1), e.Size
	}
	b.info.Binds = append(b.info.Binds, s)
	return nil
}

// files reads a directory of the host into the tree.
func (b *backup) files(ctx context.Context, d *data, at string) (versions.Entry, error) {
	b.o.Note("files of %s", d.name)
	if info, err := os.Lstat(d.source); err == nil && info.Mode().IsRegular() {
		return b.oneFile(ctx, d.source, at)
	}
	w := &walker{
		trees: b.o.Trees, contents: b.o.Contents, owners: disk.NewOwners(), sums: b.tree.sums, top: at,
		exclude: d.excluded(), read: &b.read,
	}
	if b.last != nil {
		if root, err := b.o.Trees.Resolve(ctx, b.last.root, b.last.place(d, at)); err == nil {
			w.before = &past{root: root, sums: b.last.sums, since: b.last.info.Time}
		}
	}
	e, err := w.readAll(ctx, d.source)
	if err != nil {
		return versions.Entry{}, err
	}
	b.info.Warnings = append(b.info.Warnings, w.told()...)
	b.tree.put(at, e)
	return e, nil
}

// oneFile reads a file that is bound into a container by itself.
func (b *backup) oneFile(ctx context.Context, source, at string) (versions.Entry, error) {
	parent, err := disk.OpenRoot(filepath.Dir(source))
	if err != nil {
		return versions.Entry{}, err
	}
	defer parent.Close()
	d, err := parent.OpenDir("")
	if err != nil {
		return versions.Entry{}, err
	}
	defer d.Close()
	w := &walker{
		trees: b.o.Trees, contents: b.o.Contents, owners: disk.NewOwners(), sums: b.tree.sums,
		top: path.Dir(at), read: &b.read,
	}
	e, err := w.file(ctx, d, path.Base(at), filepath.Base(source), versions.Entry{})
	if err != nil {
		return versions.Entry{}, err
	}
	b.info.Warnings = append(b.info.Warnings, w.told()...)
	b.tree.put(at, e)
	return e, nil
}

// place is where the last backup has what is read; sums go by paths, so only
// under the same one it is of use.
func (l *lastBackup) place(d *data, at string) string {
	for _, s := range l.info.Binds {
		if d.volume == nil && s.Path == at && s.Source != d.source {
			return path.Join(at, "another bind mount")
		}
	}
	return at
}

// finish writes what describes the backup.
func (b *backup) finish(ctx context.Context) (versions.Entry, error) {
	b.theDump()
	b.compare()
	b.info.fill()
	data, err := b.info.encode()
	if err != nil {
		return versions.Entry{}, err
	}
	if err := b.tree.writeBytes(ctx, infoName, data); err != nil {
		return versions.Entry{}, err
	}
	return b.tree.close(ctx)
}

func (b *backup) warn(format string, args ...any) {
	b.info.Warnings = append(b.info.Warnings, fmt.Sprintf(format, args...))
}

// compare warns of what has become suspiciously little.
func (b *backup) compare() {
	if b.last == nil {
		return
	}
	for _, d := range b.info.Databases {
		for _, one := range d.Dumps {
			for _, before := range b.last.info.Databases {
				for _, was := range before.Dumps {
					if was.File == one.File && was.Bytes > 4<<10 && one.Bytes < was.Bytes/2 {
						b.warn("%s has shrunk from %d to %d bytes since the last backup", one.File, was.Bytes, one.Bytes)
					}
				}
			}
		}
	}
	for _, v := range b.info.Volumes {
		if was, ok := b.last.info.volume(v.Name); ok && v.Path != "" && was.Files > 0 && v.Files == 0 {
			b.warn("volume %s is empty; the last backup has %d files of it", v.Name, was.Files)
		}
	}
}

// Find looks whether a project is there. ErrNoProject.
func (e *Engine) Find(ctx context.Context, name string) error {
	_, err := e.find(ctx, name)
	return err
}
