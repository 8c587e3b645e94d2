package syncer

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"sync"
	"syscall"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
)

// Plain serves a folder that is not mounted: steps are made in the directory
// itself.
type Plain struct {
	root  *disk.Root
	gate  func(op disk.Op, path string) error
	name  string
	file  *os.File
	stage *disk.Dir
	once  sync.Once
	done  chan struct{}
}

// NewPlain makes the staging directory. gate decides about each step: the
// Check of the folder's Syncer.
func NewPlain(root *disk.Root, gate func(op disk.Op, path string) error) (*Plain, error) {
	p := &Plain{root: root, gate: gate, name: folder.StagePrefix + rand.Text(), done: make(chan struct{})}
	top, err := root.OpenDir("")
	if err != nil {
		return nil, err
	}
	defer top.Close()
	if err := top.Mkdir(p.name); err != nil {
		return nil, err
	}
	if p.file, err = os.Open(filepath.Join(root.Path(), p.name)); err != nil {
		return nil, err
	}
	p.stage = disk.DirOf(p.file)
	return p, nil
}

// Stage is the staging directory.
func (p *Plain) Stage() *os.File { return p.file }

// Do makes a step when the gate lets it pass. Between the check and the step
// there is a moment in which a program may write: what it wrote is then in the
// displaced file, which is looked at before it is given up.
func (p *Plain) Do(_ context.Context, step disk.Step) error {
	if err := p.gate(step.Op, step.Path); err != nil {
		return fmt.Errorf("apply %s: %w: %w", step.Path, err, syscall.EBUSY)
	}
	if step.Path == "" && step.Op == disk.SetMeta {
		top, err := p.root.OpenDir("")
		if err != nil {
			return err
		}
		defer top.Close()
		_, _, err = top.SetSelfMeta(step.Meta)
		return err
	}
	_, err := p.root.Do(p.stage, step)
	return err
}

// Invalidate has nothing to do: there is no mount.
func (p *Plain) Invalidate(...string) {}

// NotifyVersions has nothing to do either.
func (p *Plain) NotifyVersions(string) {}

// Done is closed by Unmount.
func (p *Plain) Done() <-chan struct{} { return p.done }

// Unmount ends the service; there is nothing to take away.
func (p *Plain) Unmount() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// Wait removes the staging directory if it is empty; what is left in it is
// looked at by the next start.
func (p *Plain) Wait() {
	p.file.Close()
	if top, err := p.root.OpenDir(""); err == nil {
		_ = top.Rmdir(p.name) // not empty: see above
		top.Close()
	}
}
