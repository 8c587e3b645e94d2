//go:build !unix

package store

import "os"

// spoolLock keeps other processes out of a spool where the system refuses to
// open a file twice for writing; elsewhere the agent sees to there being one.
type spoolLock struct{ f *os.File }

func lockSpool(path string) (*spoolLock, error) {
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	return &spoolLock{f}, nil
}

func (l *spoolLock) unlock() { l.f.Close() }
