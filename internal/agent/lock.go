package agent

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/syncfs/syncfs/internal/atomicfile"
)

// homeLock is the lock of a HOME, which ends with the process. Its file says
// who has it: the process, and the FUSE connections that it serves, a line each.
type homeLock struct {
	f *os.File

	mu          sync.Mutex // guards connections, and the file's content
	connections []string
}

// takeLock takes the lock. ErrRunning names the process that has it.
func takeLock(path string) (*homeLock, error) {
	if err := atomicfile.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	l := &homeLock{f: f}
	err = tryLock(f)
	if errors.Is(err, errLocked) {
		err = l.inherit()
	}
	if err == nil {
		err = l.write()
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("lock %s: %w", path, err)
	}
	return l, nil
}

// dyingTime is how long a process may take to die once its mounts have ended.
const dyingTime = 10 * time.Second

// inherit takes the lock of a process that was killed and cannot die by itself.
func (l *homeLock) inherit() error {
	for end := time.Now().Add(dyingTime); ; time.Sleep(50 * time.Millisecond) {
		o := readOwner(l.f.Name())
		if o.pid == 0 || !dying(o.pid) || time.Now().After(end) {
			return fmt.Errorf("%w (pid %d)", ErrRunning, o.pid)
		}
		if err := o.endMounts(); err != nil {
			return fmt.Errorf("%w (pid %d, which was killed and cannot end): %w", ErrRunning, o.pid, err)
		}
		if err := tryLock(l.f); !errors.Is(err, errLocked) {
			return err
		}
	}
}

// serves notes that this process serves a FUSE connection; "" is none.
func (l *homeLock) serves(connection string) error {
	if connection == "" {
		return nil
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.connections = append(l.connections, connection)
	return l.write()
}

// served notes that it does not any more.
func (l *homeLock) served(connection string) error {
	l.mu.Lock()
	defer l.mu.Unlock()
	i := slices.Index(l.connections, connection)
	if i < 0 {
		return nil
	}
	l.connections = slices.Delete(l.connections, i, i+1)
	return l.write()
}

// write replaces the content; a reader that sees half of it looks again.
func (l *homeLock) write() error {
	lines := append([]string{strconv.Itoa(os.Getpid())}, l.connections...)
	data := []byte(strings.Join(lines, "\n") + "\n")
	if err := l.f.Truncate(0); err != nil {
		return err
	}
	_, err := l.f.WriteAt(data, 0)
	return err
}

// Close lets the lock go.
func (l *homeLock) Close() error { return l.f.Close() }

// owner is what the file of a lock says.
type owner struct {
	pid         int // 0: it says nothing
	connections []string
}

func readOwner(path string) owner {
	data, err := os.ReadFile(path)
	fields := strings.Fields(string(data))
	if err != nil || len(fields) == 0 {
		return owner{}
	}
	pid, err := strconv.Atoi(fields[0])
	if err != nil {
		return owner{}
	}
	return owner{pid: pid, connections: fields[1:]}
}

// endMounts ends the connections of a process that is dying. A program that
// waits in one for its answer may hold a lock of the kernel's that the dying
// process waits for, and would wait for ever.
func (o owner) endMounts() error {
	for _, c := range o.connections {
		if err := endConnection(c); err != nil && !errors.Is(err, os.ErrNotExist) {
			return err
		}
	}
	return nil
}

var errLocked = errors.New("locked by another process")
