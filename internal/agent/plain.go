package agent

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
	"github.com/syncfs/syncfs/internal/syncer"
)

// plain serves a folder that is not mounted: steps are made in the directory
// itself.
type plain struct {
	root  *disk.Root
	dir   *folder.Folder
	gate  *syncer.Syncer
	name  string
	file  *os.File
	stage *disk.Dir
	once  sync.Once
	done  chan struct{}
}

func newPlain(root *disk.Root, d *folder.Folder, s *syncer.Syncer) (mounting, error) {
	p := &plain{root: root, dir: d, gate: s, name: folder.StagePrefix + rand.Text(), done: make(chan struct{})}
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

// Stage is syncer.Applier's.
func (p *plain) Stage() *os.File { return p.file }

// Do makes a step when the gate lets it pass. Between the check and the step
// there is a moment in which a program may write: what it wrote is then in the
// displaced file, which is looked at before it is given up.
func (p *plain) Do(_ context.Context, step disk.Step) error {
	if err := p.gate.Check(step.Op, step.Path); err != nil {
		return fmt.Errorf("apply %s: %w: %w", step.Path, err, syscall.EBUSY)
	}
	_, err := p.root.Do(p.stage, step)
	return err
}

func (p *plain) Invalidate(...string)  {}
func (p *plain) NotifyVersions(string) {}

// Done is closed by Unmount.
func (p *plain) Done() <-chan struct{} { return p.done }

// Unmount ends the service; there is nothing to take away.
func (p *plain) Unmount() error {
	p.once.Do(func() { close(p.done) })
	return nil
}

// Wait removes the staging directory if it is empty; what is left in it is
// looked at by the next start.
func (p *plain) Wait() {
	p.file.Close()
	if top, err := p.root.OpenDir(""); err == nil {
		_ = top.Rmdir(p.name) // not empty: see above
		top.Close()
	}
}
