//go:build !unix

package blob

import (
	"context"
	"errors"
	"os"
)

// locksWork tells that a lock ends with its process. Here there are none: only
// one process may use a directory, and goroutines of it are told apart by
// keyedMutex.
const locksWork = false

type fileLock struct{ f *os.File }

var errLocked = errors.New("locked by another")

func lockFile(_ context.Context, path string) (*fileLock, error) { return tryLockFile(path) }

func tryLockFile(path string) (*fileLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return &fileLock{f}, nil
}

func (l *fileLock) unlock() { l.f.Close() }

func isQuota(error) bool { return false }
