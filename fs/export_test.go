//go:build linux

package fs

import (
	"log/slog"
	"time"

	"github.com/hanwen/go-fuse/v2/fuse"
)

// SetPassthrough lets the kernel pass files through, or stop: for tests of the
// change between the two.
func (l *Live) SetPassthrough(on bool) { l.backing.off.Store(!on) }

// ToStatus is the edge from errors to errnos.
func ToStatus(log *slog.Logger, err error) fuse.Status { return toStatus(log, "test", err) }

// ApplierPID is the running child's process, 0 when there is none.
func (l *Live) ApplierPID() int { return int(l.applier.pid.Load()) }

// SetApplierGrace makes a stuck child be ended sooner.
func (l *Live) SetApplierGrace(d time.Duration) { l.applier.grace = d }
