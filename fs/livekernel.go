//go:build linux

package fs

import (
	"encoding/binary"
	"sync"
	"unsafe"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// The ioctls of /dev/fuse.
const (
	devClone        = 0x8004e500
	devBackingOpen  = 0x4010e501
	devBackingClose = 0x4004e502
)

// kernel is the connection: what we say to it unasked.
type kernel struct {
	mu sync.RWMutex // guards fd against being closed under a call
	fd int          // -1 when it is closed
}

func (k *kernel) with(f func(fd int) error) error {
	k.mu.RLock()
	defer k.mu.RUnlock()
	if k.fd < 0 {
		return unix.ENODEV
	}
	return f(k.fd)
}

func (k *kernel) close() {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fd >= 0 {
		unix.Close(k.fd)
		k.fd = -1
	}
}

// notification is a message without a request: its code is where replies have
// an error, and 0 is where they name their request.
func (k *kernel) notification(code int32, parts ...[]byte) fuse.Status {
	header := make([]byte, 16)
	size := len(header)
	for _, p := range parts {
		size += len(p)
	}
	binary.NativeEndian.PutUint32(header, uint32(size))
	binary.NativeEndian.PutUint32(header[4:], uint32(code))
	err := k.with(func(fd int) error {
		_, err := unix.Writev(fd, append([][]byte{header}, parts...))
		return err
	})
	if errno, ok := err.(unix.Errno); ok {
		return fuse.Status(errno)
	}
	return fuse.OK
}

// bytesOf is a struct of the protocol as it goes over the wire.
func bytesOf[T any](v *T) []byte {
	return unsafe.Slice((*byte)(unsafe.Pointer(v)), unsafe.Sizeof(*v))
}

// InodeNotify makes the kernel forget the attributes of a node, and its pages or
// its listing from off on; with off < 0 only the attributes. No lock may be held
// that a request needs.
func (k *kernel) InodeNotify(node uint64, off, length int64) fuse.Status {
	return k.notification(-fuse.NOTIFY_INVAL_INODE, bytesOf(&fuse.NotifyInvalInodeOut{Ino: node, Off: off, Length: length}))
}

// EntryNotify makes the kernel forget where a name leads, or that it leads
// nowhere. No lock may be held that a request needs.
func (k *kernel) EntryNotify(parent uint64, name string) fuse.Status {
	return k.notification(-fuse.NOTIFY_INVAL_ENTRY,
		bytesOf(&fuse.NotifyInvalEntryOut{Parent: parent, NameLen: uint32(len(name))}), append([]byte(name), 0))
}

// Prune asks the kernel to let go of nodes that nobody uses: FORGET follows for
// each that it did. Before Linux 6.18 it does nothing, and only a lack of memory
// makes the kernel forget.
func (k *kernel) Prune(nodes []uint64) fuse.Status {
	if len(nodes) == 0 {
		return fuse.OK
	}
	ids := unsafe.Slice((*byte)(unsafe.Pointer(&nodes[0])), 8*len(nodes))
	return k.notification(-fuse.NOTIFY_PRUNE, bytesOf(&fuse.NotifyPruneOut{Count: uint32(len(nodes))}), ids)
}

// openBacking registers a backing file, with the rights of this thread.
func (k *kernel) openBacking(fd int) (id int32, err error) {
	m := fuse.BackingMap{Fd: int32(fd)}
	err = k.with(func(dev int) error {
		r, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(dev), devBackingOpen, uintptr(unsafe.Pointer(&m)))
		if errno != 0 {
			return errno
		}
		id = int32(r)
		return nil
	})
	return id, err
}

func (k *kernel) closeBacking(id int32) error {
	return k.with(func(dev int) error {
		_, _, errno := unix.Syscall(unix.SYS_IOCTL, uintptr(dev), devBackingClose, uintptr(unsafe.Pointer(&id)))
		if errno != 0 {
			return errno
		}
		return nil
	})
}

// Connect lets the history tree invalidate what the kernel keeps of it.
func (h *History) Connect(k *kernel) { h.kernel.Store(k) }
