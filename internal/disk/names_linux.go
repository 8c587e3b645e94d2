package disk

import (
	"errors"
	"math"

	"golang.org/x/sys/unix"
)

// Rename moves a name of d to to, in one step, where nothing may be.
func (d *Dir) Rename(name string, to *Dir, toName string) error {
	err := unix.Renameat2(d.fd, name, to.fd, toName, unix.RENAME_NOREPLACE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		err = d.renameByHand(name, to, toName)
	}
	if err != nil {
		return to.fail("rename", toName, err)
	}
	return nil
}

// renameByHand is for disks that cannot rename without replacing: a link never
// replaces; a directory only ever takes the place of an empty one.
func (d *Dir) renameByHand(name string, to *Dir, toName string) error {
	err := unix.Linkat(d.fd, name, to.fd, toName, 0)
	if err == nil {
		return unix.Unlinkat(d.fd, name, 0)
	}
	if errors.Is(err, unix.EEXIST) {
		return err
	}
	// Neither can this disk link (vfat): all that is left is to look first.
	if _, err := to.Stat(toName); err == nil {
		return unix.EEXIST
	}
	return unix.Renameat(d.fd, name, to.fd, toName)
}

// Replace renames a name of d over toName, in one step; what was there is gone.
func (d *Dir) Replace(name string, to *Dir, toName string) error {
	if err := unix.Renameat(d.fd, name, to.fd, toName); err != nil {
		return to.fail("rename", toName, err)
	}
	return nil
}

// Exchange swaps two names in one step. Where the disk cannot, the name in to
// is gone for a moment.
func (d *Dir) Exchange(name string, to *Dir, toName string) error {
	err := unix.Renameat2(d.fd, name, to.fd, toName, unix.RENAME_EXCHANGE)
	if errors.Is(err, unix.EINVAL) || errors.Is(err, unix.ENOSYS) {
		err = d.exchangeByHand(name, to, toName)
	}
	if err != nil {
		return to.fail("exchange", toName, err)
	}
	return nil
}

func (d *Dir) exchangeByHand(name string, to *Dir, toName string) error {
	aside := name + Aside
	if err := unix.Renameat(to.fd, toName, d.fd, aside); err != nil {
		return err
	}
	if err := unix.Renameat(d.fd, name, to.fd, toName); err != nil {
		return errors.Join(err, unix.Renameat(d.fd, aside, to.fd, toName))
	}
	return unix.Renameat(d.fd, aside, d.fd, name)
}

// Link makes toName another name of the file name of d.
func (d *Dir) Link(name string, to *Dir, toName string) error {
	if err := unix.Linkat(d.fd, name, to.fd, toName, 0); err != nil {
		return to.fail("link", toName, err)
	}
	return nil
}

// Mkdir makes a directory that only its owner can enter.
func (d *Dir) Mkdir(name string) error {
	if err := unix.Mkdirat(d.fd, name, 0o700); err != nil {
		return d.fail("mkdir", name, err)
	}
	return nil
}

// Touch makes an empty file; that there is one already is fine.
func (d *Dir) Touch(name string) error {
	fd, err := openat2(d.fd, name, unix.O_WRONLY|unix.O_CREAT, 0o600)
	if err != nil {
		return d.fail("create", name, err)
	}
	return unix.Close(fd)
}

// Remove removes a name that is no directory.
func (d *Dir) Remove(name string) error {
	if err := unix.Unlinkat(d.fd, name, 0); err != nil {
		return d.fail("remove", name, err)
	}
	return nil
}

// Rmdir removes an empty directory.
func (d *Dir) Rmdir(name string) error {
	if err := unix.Unlinkat(d.fd, name, unix.AT_REMOVEDIR); err != nil {
		return d.fail("rmdir", name, err)
	}
	return nil
}

// Sync makes the directory's names durable.
func (d *Dir) Sync() error {
	if err := unix.Fsync(d.fd); err != nil {
		return d.fail("sync", "", err)
	}
	return nil
}

// SyncDisk makes all of the disk that holds d durable.
func (d *Dir) SyncDisk() error {
	if err := unix.Syncfs(d.fd); err != nil {
		return d.fail("sync", "", err)
	}
	return nil
}

// Free is how many bytes and inodes users may still put on the disk that holds
// d; what the disk does not bound is math.MaxInt64.
func (d *Dir) Free() (bytes, inodes int64, err error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd, &st); err != nil {
		return 0, 0, d.fail("statfs", "", err)
	}
	bytes, inodes = math.MaxInt64, math.MaxInt64
	if st.Blocks > 0 {
		bytes = int64(st.Bavail) * st.Bsize
	}
	if st.Files > 0 {
		inodes = int64(st.Ffree)
	}
	return bytes, inodes, nil
}
