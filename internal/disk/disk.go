// Package disk reads and writes one inode on a local disk with all that an
// entry keeps of it: metadata, extended attributes, holes.
package disk

import "github.com/syncfs/syncfs/versions"

// Sig is what tells, without reading it, whether an inode is as it was.
type Sig struct {
	Dev, Ino     uint64
	Mode         uint32 // with the type bits
	Size         int64
	MTime, CTime int64 // nanoseconds
}

// Same tells whether nothing tells the two apart. Dev is left out: device
// numbers change when a disk is plugged in again.
func (s Sig) Same(t Sig) bool {
	t.Dev = s.Dev
	return s == t
}

// Stat is what one look at an inode tells.
type Stat struct {
	Sig
	UID, GID uint32
	Links    uint32
	Device   uint64 // CharDev, BlkDev
	Blocks   int64  // of 512 bytes
}

// The type bits of Sig.Mode, the same on every system.
const (
	TypeMask   = 0o170000
	TypeFile   = 0o100000
	TypeDir    = 0o040000
	TypeLink   = 0o120000
	TypeChar   = 0o020000
	TypeBlock  = 0o060000
	TypeFifo   = 0o010000
	TypeSocket = 0o140000
)

// Type is the type bits alone.
func (s Sig) Type() uint32 { return s.Mode & TypeMask }

// Kind is the kind of entry that an inode becomes; false for what no entry
// keeps: sockets, fifos and what is unknown.
func (s Sig) Kind() (versions.Kind, bool) {
	switch s.Type() {
	case TypeFile:
		return versions.File, true
	case TypeDir:
		return versions.Dir, true
	case TypeLink:
		return versions.Symlink, true
	case TypeChar:
		return versions.CharDev, true
	case TypeBlock:
		return versions.BlkDev, true
	}
	return 0, false
}

// Note is something of an inode that could not be read, or that this disk or
// this user cannot hold. The rest was done.
type Note struct {
	What string // "owner", "mode", "times", "extended attribute", "access list"
	Err  error
}

func (n Note) Error() string { return n.What + ": " + n.Err.Error() }

// Unwrap returns the cause.
func (n Note) Unwrap() error { return n.Err }

// Dirent is one name in a directory; Type is 0 where the disk does not tell.
type Dirent struct {
	Name string
	Type uint32
}

// OwnXattr begins the names of attributes that are ours: they are no content.
const OwnXattr = "user.syncfs."

// Op is a kind of visible step.
type Op byte

// The visible steps that applying a remote change is made of.
const (
	Place   Op = iota + 1 // rename Staged to Path, where nothing may be
	Replace               // exchange Staged and Path: what was there is then at Staged
	Remove                // exchange is not possible: move Path into staging as Staged
	MakeDir               // make directory Path with Mode
	SetMeta               // mode, owner, times, xattrs of Meta onto Path
	Move                  // rename From to Path, where nothing may be
	Swap                  // exchange From and Path
	Tidy                  // nothing is staged any more: a staging directory that users see may go
)

// Aside ends the staged name of what a disk that cannot exchange two names has
// taken out of the way: after a crash it is there instead of under Staged.
const Aside = ".old"

// Step is one change that becomes visible at once or not at all.
type Step struct {
	Op     Op
	Path   string // relative to the folder, slash-separated
	Staged string // a name in the staging directory
	From   string // Move, Swap
	Meta   Meta   // MakeDir, SetMeta
}

// Meta is what can be set on an inode.
type Meta struct {
	Mode     uint32 // 07777
	UID, GID uint32
	MTime    int64             // nanoseconds
	Xattrs   map[string][]byte // all that there shall be, ACLs included; nil leaves them
	SetOwner bool
}
