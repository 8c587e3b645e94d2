// Package disk reads and writes one inode on a local disk with all that an
// entry keeps of it: metadata, extended attributes, holes.
package disk

// Sig is what tells, without reading it, whether an inode is as it was.
type Sig struct {
	Dev, Ino     uint64
	Mode         uint32 // with the type bits
	Size         int64
	MTime, CTime int64 // nanoseconds
}

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
)

// Step is one change that becomes visible at once or not at all.
type Step struct {
	Op     Op
	Path   string // relative to the folder, slash-separated
	Staged string // a name in the staging directory
	From   string // Move
	Meta   Meta   // MakeDir, SetMeta
}

// Meta is what can be set on an inode.
type Meta struct {
	Mode     uint32 // 07777
	UID, GID uint32
	MTime    int64 // nanoseconds
	Xattrs   map[string][]byte
	SetOwner bool
}
