package disk

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// Root is a directory on a disk that everything below is reached from, by
// descriptor: it keeps working when something is mounted over its path, and no
// symlink or mount inside leads out of it.
type Root struct {
	dir    *os.File
	path   string
	across bool // mounts inside are entered
}

// maxStep is how much of a path one system call is given; PATH_MAX is 4096 with
// the final NUL, and a name may be 255 bytes.
const maxStep = 3800

// OpenRoot opens the directory at path.
func OpenRoot(path string) (*Root, error) {
	fd, err := unix.Open(path, unix.O_RDONLY|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &os.PathError{Op: "open", Path: path, Err: err}
	}
	return &Root{dir: os.NewFile(uintptr(fd), path), path: path}, nil
}

// OpenRootAcross opens the directory at path, of which what is mounted inside
// is entered as well.
func OpenRootAcross(path string) (*Root, error) {
	r, err := OpenRoot(path)
	if err == nil {
		r.across = true
	}
	return r, err
}

// Path is where the directory was when it was opened: for messages only.
func (r *Root) Path() string { return r.path }

// Fd is the root's descriptor, valid until Close.
func (r *Root) Fd() int { return int(r.dir.Fd()) }

// Close closes the root's descriptor.
func (r *Root) Close() error { return r.dir.Close() }

// Openat opens a slash-separated path below the root ("" is the root itself).
// It resolves no symlink, leaves neither the root nor (but for OpenRootAcross)
// its filesystem, and takes paths of any length. The error is a unix.Errno.
func (r *Root) Openat(rel string, flags int, mode uint32) (int, error) {
	return openBelow(r.Fd(), rel, flags, mode, r.across)
}

// Parent opens (O_PATH) the directory that holds rel and returns its descriptor
// and the last name; the caller closes the descriptor.
func (r *Root) Parent(rel string) (fd int, name string, err error) {
	dir, name := "", rel
	if i := strings.LastIndexByte(rel, '/'); i >= 0 {
		dir, name = rel[:i], rel[i+1:]
	}
	if name == "" {
		return -1, "", fmt.Errorf("the root has no parent: %w", unix.EINVAL)
	}
	fd, err = r.Openat(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	return fd, name, err
}

func openBelow(dirfd int, rel string, flags int, mode uint32, across bool) (int, error) {
	start := dirfd
	for len(rel) > maxStep {
		cut := strings.LastIndexByte(rel[:maxStep], '/')
		if cut < 0 {
			break
		}
		next, err := resolve(dirfd, rel[:cut], unix.O_PATH|unix.O_DIRECTORY, 0, across)
		if dirfd != start {
			unix.Close(dirfd)
		}
		if err != nil {
			return -1, err
		}
		dirfd, rel = next, rel[cut+1:]
	}
	fd, err := resolve(dirfd, rel, flags, mode, across)
	if dirfd != start {
		unix.Close(dirfd)
	}
	return fd, err
}

func openat2(dirfd int, rel string, flags int, mode uint32) (int, error) {
	return resolve(dirfd, rel, flags, mode, false)
}

func resolve(dirfd int, rel string, flags int, mode uint32, across bool) (int, error) {
	if rel == "" {
		rel = "."
	}
	how := unix.OpenHow{
		Flags:   uint64(flags) | unix.O_CLOEXEC | unix.O_NOFOLLOW,
		Resolve: unix.RESOLVE_BENEATH | unix.RESOLVE_NO_SYMLINKS | unix.RESOLVE_NO_MAGICLINKS | unix.RESOLVE_NO_XDEV,
	}
	if across {
		how.Resolve &^= unix.RESOLVE_NO_XDEV
	}
	if flags&(unix.O_CREAT|unix.O_TMPFILE) != 0 {
		how.Mode = uint64(mode)
	}
	for {
		fd, err := unix.Openat2(dirfd, rel, &how)
		// EAGAIN: something was renamed while the kernel walked the path.
		if err == unix.EINTR || err == unix.EAGAIN {
			continue
		}
		return fd, err
	}
}
