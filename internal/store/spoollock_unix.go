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

// unlock gives the lock up by itself: a program that is just being started holds
// a copy of the descriptor for a moment, so closing ours would not.
func (l *spoolLock) unlock() {
	_ = unix.Flock(int(l.f.Fd()), unix.LOCK_UN) // the descriptor is ours: it cannot fail
	l.f.Close()
}
