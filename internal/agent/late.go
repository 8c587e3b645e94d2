package agent

import (
	"context"
	"fmt"
	"os"
	"sync"
	"syscall"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

var zeroInstant versions.Instant

// lateMount stands for a folder's mounting, which needs the syncer and so is
// made after it.
type lateMount struct {
	mu sync.Mutex // guards m
	m  mounting
}

func (l *lateMount) set(m mounting) {
	l.mu.Lock()
	l.m = m
	l.mu.Unlock()
}

func (l *lateMount) get() mounting {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.m
}

// Stage is syncer.Applier's; the syncer applies nothing before it is attached,
// which comes after the mount.
func (l *lateMount) Stage() *os.File { return l.get().Stage() }

// Do is syncer.Applier's.
func (l *lateMount) Do(ctx context.Context, step disk.Step) error {
	m := l.get()
	if m == nil {
		return fmt.Errorf("%s: the folder is not mounted: %w", step.Path, syscall.ENOTCONN)
	}
	return m.Do(ctx, step)
}

func (l *lateMount) notify(dirs []string) {
	if m := l.get(); m != nil {
		for _, dir := range dirs {
			m.NotifyVersions(dir)
		}
	}
}
