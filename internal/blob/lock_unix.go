//go:build unix

package blob

import (
	"context"
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// locksWork tells that a lock ends with its process.
const locksWork = true

// fileLock is an exclusive lock on a file, against other processes and other
// fileLocks of this one.
type fileLock struct{ f *os.File }

var errLocked = errors.New("locked by another")

// lockPoll is how often a lock that another process has is tried again: waiting
// in the kernel would not end with a context.
const lockPoll = 2 * time.Millisecond

// lockFile waits for the lock, or for ctx.
func lockFile(ctx context.Context, path string) (*fileLock, error) {
	for {
		l, err := tryLockFile(path)
		if !errors.Is(err, errLocked) {
			return l, err
		}
		select {
		case <-time.After(lockPoll):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// tryLockFile does not wait: errLocked.
func tryLockFile(path string) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if !errors.Is(err, unix.EINTR) {
			break
		}
	}
	if err != nil {
		f.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, errLocked
		}
		return nil, os.NewSyscallError("flock", err)
	}
	return &fileLock{f}, nil
}

func (l *fileLock) unlock() { l.f.Close() }

func isQuota(err error) bool { return errors.Is(err, unix.EDQUOT) }
