//go:build linux

package fs

import (
	"sync/atomic"

	"golang.org/x/sys/unix"
)

// backing registers backing files with the kernel, which then reads and writes
// them without us. One file that is refused is served by requests, and says
// nothing about the next.
type backing struct {
	l   *Live
	off atomic.Bool // the kernel lets us pass nothing through
}

func (b *backing) init(l *Live) {
	b.l = l
	b.off.Store(!l.o.Passthrough)
}

func (b *backing) usable() bool { return !b.off.Load() }

// open registers fd. The kernel goes on with the rights of the thread that
// registered: without CAP_FSETID and CAP_SYS_RESOURCE, so that the disk drops
// set-id bits at writes and keeps quotas.
func (b *backing) open(fd int) (ioMode, int32) {
	if b.off.Load() {
		return served, 0
	}
	var id int32
	err := b.l.rights.modest(func() (err error) {
		id, err = b.l.kernel.openBacking(fd)
		return err
	})
	switch err {
	case nil:
		return passed, id
	case unix.EPERM, unix.ENOTTY, unix.EOPNOTSUPP:
		if b.l.refusesAll(err) && !b.off.Swap(true) {
			b.l.log.Info("files are not passed through: this needs Linux 6.9 and CAP_SYS_ADMIN", "reason", err)
		}
	default:
		b.l.log.Debug("a file is not passed through", "error", err)
	}
	return served, 0
}

// refusesAll tells whether the kernel refuses us rather than a file.
func (l *Live) refusesAll(err error) bool {
	return err == unix.ENOTTY || !l.rights.has(unix.CAP_SYS_ADMIN)
}

func (b *backing) close(id int32) {
	if err := b.l.kernel.closeBacking(id); err != nil {
		b.l.log.Debug("a backing file could not be given back", "error", err)
	}
}
