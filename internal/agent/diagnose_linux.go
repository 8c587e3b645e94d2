package agent

import (
	"golang.org/x/sys/unix"

	live "github.com/syncfs/syncfs/fs"
)

// lingering tells whether a process was killed and is still there.
func lingering(pid int) bool { return unix.Kill(pid, 0) != unix.ESRCH && dying(pid) }

// isDead tells whether a mount of ours stands at path that nobody serves.
func isDead(path string) (bool, error) { return live.IsStale(path) }

// passing tells how files of a mount are read and written; nil where nothing is
// mounted.
func passing(m mounting) *Passthrough {
	l, ok := m.(liveMount)
	if !ok {
		return nil
	}
	s := l.Stats()
	return &Passthrough{On: s.Passthrough, Passed: s.Passed, Served: s.Served}
}
