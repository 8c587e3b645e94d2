package disk

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// SetMeta sets what m says on what has this name, a symlink itself, and returns
// what it then is. What the disk or the user cannot hold comes back as notes.
func (d *Dir) SetMeta(name string, m Meta) (Stat, []Note, error) {
	return d.setMeta(name, m, false)
}

func (d *Dir) setMeta(name string, m Meta, fresh bool) (Stat, []Note, error) {
	fd, err := openat2(d.fd, name, unix.O_PATH, 0)
	if err != nil {
		return Stat{}, nil, d.fail("open", name, err)
	}
	defer unix.Close(fd)
	return d.apply(pathInode(fd), name, m, fresh && d.inheritsNothing())
}

// SetSelfMeta is SetMeta for the directory itself.
func (d *Dir) SetSelfMeta(m Meta) (Stat, []Note, error) {
	return d.apply(openInode(d.fd), "", m, false)
}

// apply sets, in this order: owner (which takes away set-id bits and
// capabilities), attributes, mode, times (which all else moves). fresh: the
// inode has no attributes yet.
func (d *Dir) apply(i inode, name string, m Meta, fresh bool) (Stat, []Note, error) {
	st, err := i.stat()
	if err != nil {
		return Stat{}, nil, d.fail("stat", name, err)
	}
	var notes []Note
	if m.SetOwner && (st.UID != m.UID || st.GID != m.GID) {
		notes = append(notes, i.chown(m.UID, m.GID)...)
		if st, err = i.stat(); err != nil {
			return Stat{}, nil, d.fail("stat", name, err)
		}
	}
	link := st.Type() == TypeLink
	if m.Xattrs != nil && (!fresh || len(m.Xattrs) > 0) {
		// A user may set his own file's attributes only while it is writable.
		if !link && st.Mode&0o200 == 0 && i.chmod(st.Mode&0o7777|0o200) == nil {
			st.Mode |= 0o200
		}
		notes = append(notes, i.setXattrs(m.Xattrs, fresh)...)
		if st, err = i.stat(); err != nil { // an access list changes the mode
			return Stat{}, nil, d.fail("stat", name, err)
		}
	}
	if mode := m.Mode & 0o7777; !link && st.Mode&0o7777 != mode {
		if err := i.chmod(mode); err != nil {
			notes = append(notes, Note{What: "mode", Err: fmt.Errorf("%#o: %w", mode, err)})
		}
	}
	times := []unix.Timespec{{Nsec: unix.UTIME_OMIT}, timespec(m.MTime)}
	if err := unix.UtimesNanoAt(i.fd, "", times, unix.AT_EMPTY_PATH); err != nil {
		notes = append(notes, Note{What: "times", Err: err})
	}
	if st, err = i.stat(); err != nil {
		return Stat{}, nil, d.fail("stat", name, err)
	}
	switch {
	case !link && st.Mode&0o7777 != m.Mode&0o7777 && !noted(notes, "mode"):
		notes = append(notes, Note{What: "mode", Err: fmt.Errorf("%#o became %#o", m.Mode&0o7777, st.Mode&0o7777)})
	case st.MTime != m.MTime && !noted(notes, "times"):
		notes = append(notes, Note{What: "times", Err: errors.New("this disk keeps them less exactly")})
	}
	return st, notes, nil
}

func noted(notes []Note, what string) bool {
	for _, n := range notes {
		if n.What == what {
			return true
		}
	}
	return false
}

func (i inode) stat() (Stat, error) {
	var st unix.Stat_t
	if err := unix.Fstat(i.fd, &st); err != nil {
		return Stat{}, err
	}
	return statOf(&st), nil
}

// chown sets owner and group; where both together are refused, a user may
// still give his file to another group of his.
func (i inode) chown(uid, gid uint32) []Note {
	err := unix.Fchownat(i.fd, "", int(uid), int(gid), unix.AT_EMPTY_PATH)
	if err == nil {
		return nil
	}
	_ = unix.Fchownat(i.fd, "", -1, int(gid), unix.AT_EMPTY_PATH) // the note below tells
	return []Note{{What: "owner", Err: fmt.Errorf("%d:%d: %w", uid, gid, err)}}
}

// timespec splits nanoseconds; those before 1970 round down.
func timespec(ns int64) unix.Timespec {
	sec, nsec := ns/1e9, ns%1e9
	if nsec < 0 {
		sec, nsec = sec-1, nsec+1e9
	}
	ts := unix.NsecToTimespec(0)
	ts.Sec, ts.Nsec = sec, nsec
	return ts
}
