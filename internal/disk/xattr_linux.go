package disk

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/versions"
)

// maxXattr bounds one value and maxXattrs all values of one inode: entries lie
// in listings, which are read as a whole.
const (
	maxXattr  = 64 << 10
	maxXattrs = 256 << 10
)

const (
	aclAccess  = "system.posix_acl_access"
	aclDefault = "system.posix_acl_default"
	capability = "security.capability"
)

// inode reaches one inode by its descriptor, for what is set on it. One opened
// with O_PATH is reached through /proc, whose links lead to the inode itself,
// be it a symlink or a file that may not be opened.
type inode struct {
	fd   int
	proc string // "" for a descriptor that was opened for real
}

func openInode(fd int) inode { return inode{fd: fd} }
func pathInode(fd int) inode { return inode{fd: fd, proc: "/proc/self/fd/" + strconv.Itoa(fd)} }

func (i inode) list(buf []byte) (int, error) {
	return retry(func() (int, error) {
		if i.proc != "" {
			return unix.Listxattr(i.proc, buf)
		}
		return unix.Flistxattr(i.fd, buf)
	})
}

func (i inode) get(name string, buf []byte) (int, error) {
	return retry(func() (int, error) {
		if i.proc != "" {
			return unix.Getxattr(i.proc, name, buf)
		}
		return unix.Fgetxattr(i.fd, name, buf)
	})
}

func (i inode) set(name string, value []byte) error {
	if i.proc != "" {
		return unix.Setxattr(i.proc, name, value, 0)
	}
	return unix.Fsetxattr(i.fd, name, value, 0)
}

func (i inode) remove(name string) error {
	if i.proc != "" {
		return unix.Removexattr(i.proc, name)
	}
	return unix.Fremovexattr(i.fd, name)
}

func (i inode) chmod(mode uint32) error {
	if i.proc != "" {
		return unix.Chmod(i.proc, mode)
	}
	return unix.Fchmod(i.fd, mode)
}

// KeepsXattr tells whether an attribute is part of an entry.
func KeepsXattr(name string) bool {
	switch {
	case name == aclAccess, name == aclDefault, name == capability:
		return true
	case strings.HasPrefix(name, OwnXattr):
		return false
	}
	return strings.HasPrefix(name, "user.") || strings.HasPrefix(name, "trusted.")
}

// names lists the kept attributes, sorted.
func (i inode) names() ([]string, error) {
	var buf []byte // most inodes have none: the length alone says so
	for {
		n, err := i.list(buf)
		if err == nil && n > len(buf) {
			buf = make([]byte, n)
			continue
		}
		if errors.Is(err, unix.ERANGE) {
			buf = nil // there are more since: ask again
			continue
		}
		if errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.ENOSYS) {
			return nil, nil // a disk without attributes has none
		}
		if err != nil || n == 0 {
			return nil, err
		}
		var names []string
		for _, name := range bytes.Split(bytes.TrimSuffix(buf[:n], []byte{0}), []byte{0}) {
			if s := string(name); KeepsXattr(s) {
				names = append(names, s)
			}
		}
		slices.Sort(names)
		return names, nil
	}
}

// xattrs reads all that an entry keeps; what is too long is left out with a note.
func (i inode) xattrs() (list []versions.Xattr, notes []Note) {
	names, err := i.names()
	if err != nil {
		return nil, []Note{{What: "extended attribute", Err: fmt.Errorf("list: %w", err)}}
	}
	total := 0
	for _, name := range names {
		value, err := i.value(name)
		switch {
		case errors.Is(err, unix.ENODATA):
			continue // removed since
		case err != nil:
			notes = append(notes, Note{What: "extended attribute", Err: fmt.Errorf("%s: %w", name, err)})
			continue
		case len(value) > maxXattr || total+len(value) > maxXattrs:
			notes = append(notes, Note{What: "extended attribute", Err: fmt.Errorf("%s: %d bytes are too long, skipped", name, len(value))})
			continue
		}
		total += len(value)
		list = append(list, versions.Xattr{Name: name, Value: value})
	}
	return list, notes
}

func (i inode) value(name string) ([]byte, error) {
	for size := 256; ; {
		buf := make([]byte, size)
		n, err := i.get(name, buf)
		if err == nil {
			return buf[:n:n], nil
		}
		if !errors.Is(err, unix.ERANGE) {
			return nil, err
		}
		if size, err = i.get(name, nil); err != nil {
			return nil, err
		}
	}
}

// setXattrs makes the kept attributes exactly want. What the disk or the user
// cannot hold is noted.
func (i inode) setXattrs(want map[string][]byte, fresh bool) (notes []Note) {
	note := func(name string, err error) {
		what := "extended attribute"
		if name == aclAccess || name == aclDefault {
			what = "access list"
		}
		notes = append(notes, Note{What: what, Err: fmt.Errorf("%s: %w", name, err)})
	}
	if !fresh {
		names, err := i.names()
		if err != nil {
			note("list", err)
		}
		for _, name := range names {
			if _, ok := want[name]; ok {
				continue
			}
			if err := i.remove(name); err != nil && !errors.Is(err, unix.ENODATA) {
				note(name, err)
			}
		}
	}
	for name, value := range want {
		if !KeepsXattr(name) {
			continue // never set what would not be read back, as security.selinux
		}
		if err := i.set(name, value); err != nil {
			note(name, err)
		}
	}
	slices.SortFunc(notes, func(a, b Note) int { return strings.Compare(a.Err.Error(), b.Err.Error()) })
	return notes
}

// Mark reads one of our own attributes of the directory; "" when there is none.
func (d *Dir) Mark(name string) (string, error) {
	value, err := openInode(d.fd).value(name)
	if errors.Is(err, unix.ENODATA) {
		return "", nil
	}
	if err != nil {
		return "", d.fail("getxattr", "", err)
	}
	return string(value), nil
}

// SetMark sets one of our own attributes of the directory.
func (d *Dir) SetMark(name, value string) error {
	if err := openInode(d.fd).set(name, []byte(value)); err != nil {
		return d.fail("setxattr", "", err)
	}
	return nil
}
