package folder

import (
	"context"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/syncfs/syncfs/internal/disk"
)

// Direct makes visible steps on the bare disk, for a folder that is not
// mounted. There is nobody to hold the path's lock for us: the check comes as
// shortly before the step as it can.
type Direct struct {
	folder *Folder
	name   string
	stage  *os.File
	dir    *disk.Dir
}

// NewDirect makes a staging directory in the folder's root, with a name that
// nobody can guess; f hides it.
func NewDirect(f *Folder) (*Direct, error) {
	var random [16]byte
	if _, err := io.ReadFull(f.o.Random, random[:]); err != nil {
		return nil, fmt.Errorf("name a staging directory: %w", err)
	}
	root, err := f.o.Root.OpenDir("")
	if err != nil {
		return nil, err
	}
	defer root.Close()
	d := &Direct{folder: f, name: StagePrefix + hex.EncodeToString(random[:])}
	if err := root.Mkdir(d.name); err != nil {
		return nil, err
	}
	if d.stage, err = root.File(d.name); err != nil {
		return nil, errors.Join(err, root.Rmdir(d.name))
	}
	d.dir = disk.DirOf(d.stage)
	return d, nil
}

// Stage is the staging directory, valid until Close.
func (d *Direct) Stage() *os.File { return d.stage }

// Name is the staging directory's name in the root.
func (d *Direct) Name() string { return d.name }

// Leftovers lists staging directories of earlier runs in the root. What is in
// them was displaced and is swept by the rule of all staging: nothing is
// deleted before nobody has it open and its content is known to be kept.
func (d *Direct) Leftovers() ([]string, error) {
	root, err := d.folder.o.Root.OpenDir("")
	if err != nil {
		return nil, err
	}
	defer root.Close()
	list, err := root.List()
	if err != nil {
		return nil, err
	}
	var names []string
	for _, e := range list {
		if strings.HasPrefix(e.Name, StagePrefix) && e.Name != d.name {
			names = append(names, e.Name)
		}
	}
	return names, nil
}

// Do makes one step, if nothing at its path has changed: else ErrDirty,
// ErrChanged or ErrInUse. What the disk cannot hold is logged.
func (d *Direct) Do(ctx context.Context, s disk.Step) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := d.folder.Unchanged(s.Path); err != nil {
		return err
	}
	if s.Op == disk.Move {
		if err := d.folder.Unchanged(s.From); err != nil {
			return err
		}
	}
	notes, err := d.folder.o.Root.Do(d.dir, s)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Path, err)
	}
	for _, n := range notes {
		d.folder.o.Logger.Info("this disk does not hold all of it", "path", s.Path, "err", n)
	}
	return nil
}

// Idle tells whether nobody has the staged file open, so that it may be looked
// at one last time and removed. What is no file is always idle. True as well
// where the system does not let us know: then wait a minute before asking.
func (d *Direct) Idle(name string) (bool, error) {
	st, err := d.dir.Stat(name)
	if err != nil || !isFile(st.Sig) {
		return err == nil, err
	}
	file, err := d.dir.Open(name)
	if err != nil {
		return false, err
	}
	defer file.Close()
	return file.Unused(), nil
}

// Close removes the staging directory if nothing is left in it.
func (d *Direct) Close() error {
	err := d.stage.Close()
	root, rerr := d.folder.o.Root.OpenDir("")
	if rerr != nil {
		return errors.Join(err, rerr)
	}
	defer root.Close()
	if rerr := root.Rmdir(d.name); rerr != nil && !errors.Is(rerr, fs.ErrNotExist) && !isNotEmpty(rerr) {
		err = errors.Join(err, rerr)
	}
	return err
}

func isNotEmpty(err error) bool { return errors.Is(err, fs.ErrExist) }
