package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/syncfs/syncfs/internal/atomicfile"
)

// takeLock takes the lock of a HOME, which ends with the process. ErrRunning
// names the process that has it.
func takeLock(path string) (*os.File, error) {
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	err = tryLock(f)
	if errors.Is(err, errLocked) {
		data, _ := os.ReadFile(path) // says only who; empty for a moment at most
		f.Close()
		return nil, fmt.Errorf("%w (pid %s)", ErrRunning, strings.TrimSpace(string(data)))
	}
	if err == nil {
		err = f.Truncate(0)
	}
	if err == nil {
		_, err = f.WriteAt([]byte(strconv.Itoa(os.Getpid())+"\n"), 0)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return f, nil
}

var errLocked = errors.New("locked by another process")
