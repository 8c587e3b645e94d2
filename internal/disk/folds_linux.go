package disk

import (
	"strings"

	"golang.org/x/sys/unix"
)

// Folds tells whether the disk may take two spellings of a name in d for one, as
// FAT and NTFS do with case, and ext4 in directories that are marked so. Of a
// disk that is not known it is true.
func (d *Dir) Folds() bool {
	var st unix.Statfs_t
	if unix.Fstatfs(d.fd, &st) != nil {
		return true
	}
	switch st.Type {
	case unix.EXT4_SUPER_MAGIC, unix.F2FS_SUPER_MAGIC, bcachefsMagic:
		flags, err := unix.IoctlGetUint32(d.fd, unix.FS_IOC_GETFLAGS)
		return err != nil || flags&casefold != 0
	case unix.TMPFS_MAGIC:
		flags, err := unix.IoctlGetUint32(d.fd, unix.FS_IOC_GETFLAGS) // since 6.13 it may fold
		return err == nil && flags&casefold != 0
	case unix.BTRFS_SUPER_MAGIC, unix.XFS_SUPER_MAGIC, unix.OVERLAYFS_SUPER_MAGIC, unix.NFS_SUPER_MAGIC,
		unix.RAMFS_MAGIC, unix.SQUASHFS_MAGIC, unix.ECRYPTFS_SUPER_MAGIC:
		return false
	}
	return true
}

// Holds tells whether a name in d would be kept as it is, where it is not
// refused: FAT, exFAT, NTFS and SMB drop dots at the end of a name.
func (d *Dir) Holds(name string) bool {
	if !strings.HasSuffix(name, ".") && !strings.HasSuffix(name, " ") {
		return true
	}
	var st unix.Statfs_t
	if unix.Fstatfs(d.fd, &st) != nil {
		return true
	}
	switch st.Type {
	case unix.MSDOS_SUPER_MAGIC, unix.EXFAT_SUPER_MAGIC, ntfs3Magic, unix.SMB2_SUPER_MAGIC, unix.CIFS_SUPER_MAGIC:
		return false
	}
	return true
}

const (
	ntfs3Magic    = 0x7366746e
	bcachefsMagic = 0xca451a4e
	casefold      = 0x40000000 // FS_CASEFOLD_FL
)
