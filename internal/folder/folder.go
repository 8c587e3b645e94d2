// Package folder knows one synced directory on this machine's disk: what is in
// it, what has changed, and how a new tree is made from that.
package folder

import (
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncfs/syncfs/internal/disk"
)

// Records keeps one opaque record a directory: what was last taken of it.
// internal/meta does. A lost record costs reading the directory's files again.
type Records interface {
	Get(dir string) ([]byte, error) // nil when there is none
	// Update applies all puts and deletes of fn together or not at all, as far
	// as one batch goes; a nil value deletes.
	Update(fn func(set func(dir string, record []byte) error) error) error
	// Each calls fn for every record in order of dir.
	Each(fn func(dir string, record []byte) error) error
}

// ErrRootMissing is a root that is not the folder's: its disk is absent, or
// something else stands in its place. Nothing is concluded from what it lacks.
var ErrRootMissing = errors.New("the folder's directory is not there (its disk may be absent)")

// StagePrefix begins the names in a root that are ours: they are never content.
const StagePrefix = ".syncfs-stage-"

// Options of a Folder.
type Options struct {
	Root    *disk.Root
	Records Records
	ID      string                 // of the folder: what the root is marked with; "" looks for no mark
	Attach  bool                   // the root is new to this folder: Open marks it
	Hidden  func(name string) bool // names in the root that are ours (staging): never content; StagePrefix always is
	Filter  *Filter                // what is content, in place of rules; nil: what files of rules say
	Mounted bool                   // requests tell of changes as well
	Stubs   bool                   // content may be missing: see Folded
	Settle  time.Duration          // how long a file rests before it is captured; 0: one second
	Bound   time.Duration          // how long a file that never rests is waited for; 0: 30 seconds
	TempDir string                 // where a large build keeps records until Record; "": os.TempDir
	Owners  *disk.Owners           // nil: the machine's own
	Logger  *slog.Logger
	Now     func() time.Time
	Random  io.Reader // for hard-link groups; nil: crypto/rand
}

// Folder is safe for use by many goroutines.
type Folder struct {
	o       Options
	wake    chan struct{}
	blind   time.Duration // scanWhenBlind
	blinded chan struct{} // receives when a directory could not be watched
	skips   atomic.Bool   // some directory is in skipped, or was
	rootDev uint64

	// change is held while records are read to be changed: by Build, Record,
	// Applied. It is taken before mu.
	change sync.Mutex
	built  *build // the last one, until it is recorded

	recent recent

	mu        sync.Mutex // guards all below
	dirty     *marks
	flight    *marks // what the last build took, until it is recorded
	trouble   map[string]Trouble
	links     map[inode][16]byte
	names     *linkNames
	replaced  map[string]bool      // directories whose records Applied changed since the last build began
	explained map[string]request   // what requests and the applier told of lately
	watch     watcher              // nil: nobody watches
	outside   func(path string)    // Watch's, may be nil
	limited   bool                 // not every directory is watched
	skipped   skipped              // what rules keep out
	absent    map[string]bool      // in the tree, but not on this disk, which cannot hold it
	alike     map[string][]Trouble // by directory: names that other systems take for one
	scanned   bool                 // a scan has begun
	relist    bool                 // every listing is to be written again: records did not fit together
	retry     *time.Timer
}

// Open prepares a folder; nothing is read yet. ErrRootMissing when the root
// does not carry the folder's mark.
func Open(o Options) (*Folder, error) {
	if o.Settle <= 0 {
		o.Settle = time.Second
	}
	if o.Bound <= 0 {
		o.Bound = 30 * time.Second
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Owners == nil {
		o.Owners = disk.NewOwners()
	}
	if o.Random == nil {
		o.Random = rand.Reader
	}
	f := &Folder{
		o: o, wake: make(chan struct{}, 1), blind: scanWhenBlind, blinded: make(chan struct{}, 1), dirty: &marks{},
		trouble: make(map[string]Trouble), links: make(map[inode][16]byte), names: newLinkNames(),
		replaced: make(map[string]bool), explained: make(map[string]request), skipped: newSkipped(),
		absent: make(map[string]bool), alike: make(map[string][]Trouble),
	}
	st, err := f.lstat("")
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %w", o.Root.Path(), ErrRootMissing, err)
	}
	f.rootDev = st.Dev
	if o.Attach {
		if err := f.markRoot(); err != nil {
			return nil, err
		}
	}
	return f, f.checkRoot()
}

// hidden tells whether path is in what is ours in the root.
func (f *Folder) hidden(path string) bool {
	name, _, _ := strings.Cut(path, "/")
	return strings.HasPrefix(name, StagePrefix) || f.o.Hidden != nil && f.o.Hidden(name)
}
