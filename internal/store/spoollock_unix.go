//go:build unix

package store

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// spoolLock keeps other processes out of a spool; it ends with its process.
type spoolLock struct{ f *os.File }

func lockSpool(path string) (*spoolLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, ErrInUse
		}
		return nil, os.NewSyscallError("flock", err)
	}
	return &spoolLock{f}, nil
}

func (l *spoolLock) unlock() { l.f.Close() }
