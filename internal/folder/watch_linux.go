package folder

import (
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/internal/disk"
)

// inotify is used as it is, not through a library: a mapped file that is
// written and closed tells of itself by IN_CLOSE_WRITE alone; directories must
// be reached by descriptor, since the mount lies over their paths; and a rename
// must be seen as one.
type inotify struct {
	file *os.File

	mu    sync.Mutex // guards both
	paths map[int32]string
	wds   map[string]int32

	moved *moving // next's alone
	buf   []byte
}

// moving is the first half of a rename; the second follows at once, or never.
type moving struct {
	cookie uint32
	path   string
	dir    bool
}

const inotifyMask = unix.IN_MODIFY | unix.IN_CLOSE_WRITE | unix.IN_ATTRIB | unix.IN_CREATE | unix.IN_DELETE |
	unix.IN_MOVED_FROM | unix.IN_MOVED_TO | unix.IN_ONLYDIR | unix.IN_EXCL_UNLINK

// halfRename is how long the second half of a rename is waited for.
const halfRename = 10 * time.Millisecond

func newWatcher(*disk.Root) (watcher, error) {
	fd, err := unix.InotifyInit1(unix.IN_CLOEXEC | unix.IN_NONBLOCK)
	if err != nil {
		return nil, fmt.Errorf("inotify: %w", err)
	}
	return &inotify{
		file: os.NewFile(uintptr(fd), "inotify"), buf: make([]byte, 64<<10),
		paths: make(map[int32]string), wds: make(map[string]int32),
	}, nil
}

func (w *inotify) control(call func(fd int) error) error {
	conn, err := w.file.SyscallConn()
	if err != nil {
		return err
	}
	var inner error
	if err := conn.Control(func(fd uintptr) { inner = call(int(fd)) }); err != nil {
		return err
	}
	return inner
}

func (w *inotify) add(dir *disk.Dir, path string) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	wd := 0
	err := w.control(func(fd int) (err error) {
		wd, err = unix.InotifyAddWatch(fd, "/proc/self/fd/"+strconv.Itoa(dir.Fd()), inotifyMask)
		return err
	})
	if errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.ENOMEM) {
		return errWatches
	}
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	if err != nil {
		return err
	}
	if old, ok := w.paths[int32(wd)]; ok && w.wds[old] == int32(wd) {
		delete(w.wds, old)
	}
	w.paths[int32(wd)], w.wds[path] = path, int32(wd)
	return nil
}

func (w *inotify) close() error { return w.file.Close() }

func ignoreClosed(err error) error {
	if errors.Is(err, os.ErrClosed) {
		return nil
	}
	return err
}

func (w *inotify) next() ([]event, error) {
	deadline := time.Time{}
	if w.moved != nil {
		deadline = time.Now().Add(halfRename)
	}
	if err := w.file.SetReadDeadline(deadline); err != nil {
		return nil, fmt.Errorf("%w: %w", os.ErrClosed, err) // nothing else goes wrong with it
	}
	n, err := w.file.Read(w.buf)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return w.left(nil), nil
	}
	if err != nil {
		return nil, err
	}
	var list []event
	lost := false
	for b := w.buf[:n]; len(b) >= unix.SizeofInotifyEvent; {
		wd := int32(binary.NativeEndian.Uint32(b))
		mask := binary.NativeEndian.Uint32(b[4:])
		cookie := binary.NativeEndian.Uint32(b[8:])
		size := int(binary.NativeEndian.Uint32(b[12:]))
		b = b[unix.SizeofInotifyEvent:]
		name := strings.TrimRight(string(b[:size]), "\x00")
		b = b[size:]
		if mask&unix.IN_Q_OVERFLOW != 0 {
			lost = true
			continue
		}
		list = w.one(list, wd, mask, cookie, name)
	}
	if lost {
		return w.left(list), errOverflow
	}
	return list, nil
}

// left is the end of waiting for the second half of a rename: what went, went
// out of the folder.
func (w *inotify) left(list []event) []event {
	if w.moved == nil {
		return list
	}
	list = append(list, event{path: w.moved.path})
	if w.moved.dir {
		w.forget(w.moved.path)
	}
	w.moved = nil
	return list
}

// one takes one event.
func (w *inotify) one(list []event, wd int32, mask, cookie uint32, name string) []event {
	w.mu.Lock()
	dir, known := w.paths[wd]
	if mask&unix.IN_IGNORED != 0 {
		if known && w.wds[dir] == wd {
			delete(w.wds, dir)
		}
		delete(w.paths, wd)
	}
	w.mu.Unlock()
	if !known || mask&unix.IN_IGNORED != 0 {
		return list
	}
	isDir := mask&unix.IN_ISDIR != 0
	path := join(dir, name)
	if name == "" {
		path = dir
	}
	if w.moved != nil && (mask&unix.IN_MOVED_TO == 0 || w.moved.cookie != cookie) {
		list = w.left(list)
	}
	switch {
	case mask&unix.IN_MOVED_FROM != 0:
		w.moved = &moving{cookie: cookie, path: path, dir: isDir}
		return list
	case mask&unix.IN_MOVED_TO != 0 && w.moved != nil:
		from := w.moved.path
		w.moved = nil
		if isDir {
			w.rename(from, path)
		}
		return append(list, event{path: path, from: from})
	}
	came := mask&(unix.IN_CREATE|unix.IN_MOVED_TO) != 0
	written := mask&(unix.IN_MODIFY|unix.IN_CLOSE_WRITE) != 0
	return append(list, event{path: path, deep: isDir && came, written: written})
}

// rename gives the watches below from their new paths.
func (w *inotify) rename(from, to string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for wd, path := range w.paths {
		rest, ok := below(path, from)
		if !ok {
			continue
		}
		if w.wds[path] == wd {
			delete(w.wds, path)
		}
		w.paths[wd], w.wds[to+rest] = to+rest, wd
	}
}

// forget ends the watches of what left the folder.
func (w *inotify) forget(dir string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for wd, path := range w.paths {
		if _, ok := below(path, dir); !ok {
			continue
		}
		// It may be gone by itself already; IN_IGNORED follows either way.
		_ = w.control(func(fd int) error {
			_, err := unix.InotifyRmWatch(fd, uint32(wd))
			return err
		})
	}
}

// below tells whether path is dir or in it, and what follows dir.
func below(path, dir string) (rest string, ok bool) {
	rest, ok = strings.CutPrefix(path, dir)
	return rest, ok && (rest == "" || rest[0] == '/')
}
