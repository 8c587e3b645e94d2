//go:build linux

package fs

import (
	"fmt"
	"os"
	"runtime"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"
)

// rights is what this process may do, and how a request is served with less of
// it or as its caller. Capabilities and fsuid belong to the thread.
type rights struct {
	uid, gid int
	caps     [2]unix.CapUserData // as the process has them
}

// set-id bits and quotas are kept by the disk itself, for whoever lacks these.
const withheld = 1<<unix.CAP_FSETID | 1<<unix.CAP_SYS_RESOURCE

func newRights() (rights, error) {
	r := rights{uid: os.Geteuid(), gid: os.Getegid()}
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	if err := unix.Capget(&header, &r.caps[0]); err != nil {
		return r, fmt.Errorf("own capabilities: %w", err)
	}
	return r, nil
}

func (r *rights) has(capability uint) bool {
	return r.caps[capability/32].Effective&(1<<(capability%32)) != 0
}

func (r *rights) set(withhold uint32) error {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	data := r.caps
	data[0].Effective &^= withhold
	return unix.Capset(&header, &data[0])
}

// modest runs f on a thread without CAP_FSETID and CAP_SYS_RESOURCE.
func (r *rights) modest(f func() error) error {
	if r.caps[0].Effective&withheld == 0 {
		return f()
	}
	runtime.LockOSThread()
	if err := r.set(withheld); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	err := f()
	r.restore()
	return err
}

// as runs f so that what it makes on the disk belongs to the caller from the
// first moment, by the disk's own rules (set-gid directories, quotas). The
// kernel has checked already that the caller may, by what it may as well be a
// supplementary group that we do not know; so the rights to enter directories
// are kept.
func (r *rights) as(caller *fuse.Caller, f func() error) error {
	uid, gid := int(caller.Uid), int(caller.Gid)
	if r.uid != 0 || uid == r.uid && gid == r.gid {
		return f()
	}
	runtime.LockOSThread()
	if _, err := unix.SetfsgidRetGid(gid); err != nil {
		runtime.UnlockOSThread()
		return err
	}
	if _, err := unix.SetfsuidRetUid(uid); err != nil {
		r.asSelf()
		return err
	}
	// A change of fsuid took the rights over files away.
	if err := r.set(1 << unix.CAP_SYS_RESOURCE); err != nil {
		r.asSelf()
		return err
	}
	err := f()
	r.asSelf()
	return err
}

func (r *rights) asSelf() {
	unix.SetfsuidRetUid(r.uid)
	unix.SetfsgidRetGid(r.gid)
	if uid, _ := unix.SetfsuidRetUid(-1); uid != r.uid {
		panic("fs: a thread could not get its own user back") // permitted rights never shrink
	}
	r.restore()
}

// restore gives the thread its rights back; a thread that cannot get them back
// stays locked and ends with its goroutine.
func (r *rights) restore() {
	if err := r.set(0); err != nil {
		panic("fs: a thread could not get its own rights back") // permitted rights never shrink
	}
	runtime.UnlockOSThread()
}
