//go:build unix

package blob

import (
	"errors"
	"os"

	"golang.org/x/sys/unix"
)

// locksWork tells that a lock ends with its process.
const locksWork = true

// fileLock is an exclusive lock on a file, against other processes and other
// fileLocks of this one.
type fileLock struct{ f *os.File }

var errLocked = errors.New("locked by another")

// lockFile waits for the lock.
func lockFile(path string) (*fileLock, error) { return lockWith(path, unix.LOCK_EX) }

// tryLockFile does not: errLocked.
func tryLockFile(path string) (*fileLock, error) { return lockWith(path, unix.LOCK_EX|unix.LOCK_NB) }

func lockWith(path string, how int) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), how)
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
