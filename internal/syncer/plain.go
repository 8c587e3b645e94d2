package syncer

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"sync"
	"syscall"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
)

// Plain serves a folder that is not mounted: steps are made in the directory
// itself. Users see its staging directory, so it is there only while it is
// needed.
type Plain struct {
	root *disk.Root
	gate func(op disk.Op, path string) error
	name string
	once sync.Once
	done chan struct{}

	mu   sync.Mutex // guards file
	file *os.File   // nil: there is no staging directory
}

// NewPlain prepares the service; nothing is made yet. gate decides about each
// step: the Check of the folder's Syncer.
func NewPlain(root *disk.Root, gate func(op disk.Op, path string) error) (*Plain, error) {
	return &Plain{root: root, gate: gate, name: folder.StagePrefix + rand.Text(), done: make(chan struct{})}, nil
}

// Stage is the staging directory, made when there is none, until Tidy.
func (p *Plain) Stage() *os.File {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file != nil {
		return p.file
	}
	file, err := p.makeStage()
	if err != nil {
		// In what is no directory nothing can be staged: that is told then.
		file, _ = os.Open(os.DevNull)
		return file
	}
	p.file = file
	return file
}

func (p *Plain) makeStage() (*os.File, error) {
	top, err := p.root.OpenDir("")
	if err != nil {
		return nil, err
	}
	defer top.Close()
	if err := top.Mkdir(p.name); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	return top.File(p.name)
}

// tidy removes the staging directory if nothing is in it.
func (p *Plain) tidy() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.file == nil {
		return nil
	}
	top, err := p.root.OpenDir("")
	if err != nil {
		return err
	}
	defer top.Close()
	if err := top.Rmdir(p.name); err != nil {
		return err // what is displaced waits in it
	}
	err = p.file.Close()
	p.file = nil
	return err
}

// Do makes a step when the gate lets it pass. Between the check and the step
// there is a moment in which a program may write: what it wrote is then in the
// displaced file, which is looked at before it is given up.
func (p *Plain) Do(_ context.Context, step disk.Step) error {
	if step.Op == disk.Tidy {
		return p.tidy()
	}
	err := p.gate(step.Op, step.Path)
	if err == nil && step.From != "" {
		err = p.gate(step.Op, step.From)
	}
	if err != nil {
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
	_, err = p.root.Do(disk.DirOf(p.Stage()), step)
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
func (p *Plain) Wait() { _ = p.tidy() }
