package folder

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"io/fs"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/disk"
)

// scan is one run of Scan.
type scan struct {
	f    *Folder
	root rootRecord
	now  time.Time
	seed maphash.Seed
	book *rulebook

	// sum is zero in the end when every directory that a record names has a
	// record, with the listing that it is said to have.
	sum atomic.Uint64

	mu    sync.Mutex // guards all below
	links map[inode][16]byte
	names *linkNames
	came  map[uint64]string // new directories by inode
	went  map[uint64]string // recorded directories that are gone
}

// Scan compares the whole disk with the records, in parallel, and makes dirty
// what differs. progress may be nil; it is called by several goroutines with
// the number of entries looked at since the last call.
func (f *Folder) Scan(ctx context.Context, progress func(entries int64)) error {
	f.mu.Lock()
	f.scanned = true
	f.mu.Unlock()
	if err := f.checkRoot(); err != nil {
		return err
	}
	root, known, err := f.rootRecord()
	if err != nil {
		return err
	}
	if !known || root.entry == nil {
		return f.scanAll()
	}
	s := &scan{
		f: f, root: root, now: f.o.Now(), seed: maphash.MakeSeed(), book: f.rulebook(),
		links: make(map[inode][16]byte), names: newLinkNames(), came: make(map[uint64]string), went: make(map[uint64]string),
	}
	if err := s.run(ctx, progress); err != nil {
		return fmt.Errorf("scan %s: %w", f.o.Root.Path(), err)
	}
	s.pair()
	if st, err := f.lstat(""); err == nil && !st.Same(root.sig) {
		s.dirty("", false, 0)
	}
	f.mu.Lock()
	f.links = s.links
	for path, key := range s.names.inode { // to what builds have found meanwhile
		f.names.add(path, key)
	}
	f.mu.Unlock()
	if s.sum.Load() == 0 {
		return nil
	}
	// A crash while records were written, or a lost record; or a build recorded
	// something just now, which costs no more than time.
	f.o.Logger.Info("directory records do not fit together; listings are made anew", "path", f.o.Root.Path())
	if err := f.sweepRecords(); err != nil {
		return fmt.Errorf("scan %s: %w", f.o.Root.Path(), err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.relist = true
	f.poke()
	return nil
}

// sweepRecords removes records that no other leads to.
func (f *Folder) sweepRecords() error {
	f.change.Lock()
	defer f.change.Unlock()
	var orphans []string
	err := f.o.Records.Each(func(dir string, _ []byte) error {
		if dir == "" || dir == rootKey {
			return nil
		}
		_, c, err := f.recorded(dir)
		if errors.Is(err, errRecord) {
			return nil // what leads to it is damaged: it will be read again
		}
		if err == nil && (c == nil || !c.isDir() || c.folded()) {
			orphans = append(orphans, dir)
		}
		return err
	})
	if err != nil || len(orphans) == 0 {
		return err
	}
	return f.updateRecords(func(set func(string, []byte) error) error {
		for _, dir := range orphans {
			if err := set(dir, nil); err != nil {
				return err
			}
		}
		return nil
	})
}

// scanAll is the scan of a folder that nothing is recorded of.
func (f *Folder) scanAll() error {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.mark("", true, f.o.Now()) {
		f.poke()
	}
	return nil
}

// dirRecord is one record on its way to a worker.
type dirRecord struct {
	path string
	data []byte
}

func (s *scan) run(ctx context.Context, progress func(int64)) error {
	work := make(chan dirRecord, 64)
	g, ctx := errgroup.WithContext(ctx)
	for range max(2, runtime.GOMAXPROCS(0)) {
		g.Go(func() error {
			for d := range work {
				if ctx.Err() != nil {
					continue
				}
				n := s.dir(d)
				if progress != nil && n > 0 {
					progress(n)
				}
			}
			return nil
		})
	}
	g.Go(func() error {
		defer close(work)
		s.expect("", s.root.entry.Tree)
		err := s.f.o.Records.Each(func(dir string, data []byte) error {
			if strings.HasPrefix(dir, "/") {
				return nil // the record of the root itself
			}
			select {
			case work <- dirRecord{dir, data}:
				return nil
			case <-ctx.Done():
				return ctx.Err()
			}
		})
		return errors.Join(err, ctx.Err())
	})
	return g.Wait()
}

// expect notes that dir must have a record with this listing, found that it
// has one; both together leave nothing.
func (s *scan) expect(dir string, tree chunk.ID) { s.sum.Add(s.hash(dir, tree)) }
func (s *scan) found(dir string, tree chunk.ID)  { s.sum.Add(-s.hash(dir, tree)) }

func (s *scan) hash(dir string, tree chunk.ID) uint64 {
	var h maphash.Hash
	h.SetSeed(s.seed)
	_, _ = h.Write(tree[:])
	_, _ = h.WriteString(dir)
	return h.Sum64()
}

// dir compares one directory.
func (s *scan) dir(d dirRecord) int64 {
	r, err := parseRecord(d.data)
	if err != nil {
		return 0 // as good as lost
	}
	if r.stale {
		s.relist(d.path)
	}
	s.found(d.path, r.tree)
	dir, err := s.f.o.Root.OpenDir(d.path)
	switch {
	case errors.Is(err, fs.ErrNotExist), isNotDir(err):
		dir = nil // its parent sees that it is gone
	case err != nil:
		if !errors.Is(err, disk.ErrSubmount) {
			s.f.troubled(d.path, err, false)
		}
		dir = nil
	default:
		defer dir.Close()
		s.f.watchDir(dir, d.path) // before it is read, so that no change falls between
	}
	var names []disk.Dirent
	if dir != nil {
		if names, err = s.f.listing(dir, d.path); err != nil {
			s.f.troubled(d.path, err, false)
			dir = nil
		}
	}
	i, n := 0, int64(len(names))
	fresh := func(e disk.Dirent) {
		if d.path != "" || !s.f.hidden(e.Name) {
			s.fresh(dir, d.path, e)
		}
	}
	alike := newLookalikes()
	err = r.each(func(c child) error {
		s.recorded(d.path, r, &c)
		alike.add(c.name)
		if dir == nil {
			return nil
		}
		for ; i < len(names) && names[i].Name < c.name; i++ {
			fresh(names[i])
		}
		there := i < len(names) && names[i].Name == c.name
		if there {
			i++
		}
		s.compare(dir, join(d.path, c.name), &c, there)
		return nil
	})
	if len(alike.twins) > 0 || s.f.hasAlike(d.path) {
		s.f.foundAlike(d.path, alike)
	}
	if err != nil {
		s.sum.Add(1)
		return n
	}
	for ; i < len(names); i++ {
		fresh(names[i])
	}
	return n
}

// recorded gathers what a scan knows from records alone.
func (s *scan) recorded(dir string, r *record, c *child) {
	if c.absent() {
		s.f.mu.Lock()
		s.f.setAbsent(join(dir, c.name), true)
		s.f.mu.Unlock()
		return
	}
	if !c.isDir() && c.flags&childLinked == 0 {
		return
	}
	e, err := c.entry()
	if err != nil {
		s.sum.Add(1)
		return
	}
	if c.isDir() {
		if !c.folded() {
			s.expect(join(dir, c.name), e.Tree)
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	key := inode{r.dev, c.sig.Ino}
	s.links[key] = e.Link
	s.names.add(join(dir, c.name), key)
}

// compare looks at one recorded name.
func (s *scan) compare(dir *disk.Dir, path string, c *child, there bool) {
	var st disk.Stat
	if there {
		var err error
		st, err = dir.Stat(c.name)
		there = err == nil || !errors.Is(err, fs.ErrNotExist)
		if err != nil && there {
			s.f.troubled(path, err, false)
			return
		}
	}
	switch {
	case !there && c.absent():
	case !there:
		if c.isDir() {
			s.mu.Lock()
			s.went[c.sig.Ino] = path
			s.mu.Unlock()
		}
		s.dirty(path, false, 0)
	case c.isDir() && st.Type() == disk.TypeDir && c.sig.Ino != st.Ino:
		s.mu.Lock()
		s.went[c.sig.Ino], s.came[st.Ino] = path, path
		s.mu.Unlock()
		s.dirty(path, true, 0)
	case !c.sig.Same(st.Sig), c.flags&(childRacy|childUnstable) != 0:
		size := int64(0)
		if isFile(st.Sig) {
			size = st.Size
		}
		s.dirty(path, c.isDir() != (st.Type() == disk.TypeDir), size)
	}
}

// fresh notes a name that nothing is recorded of.
func (s *scan) fresh(dir *disk.Dir, parent string, e disk.Dirent) {
	path := join(parent, e.Name)
	st, err := dir.Stat(e.Name)
	if err != nil {
		return // gone again, or the build will tell
	}
	// What the rules cannot be read for, the build leaves for later.
	isDir := st.Type() == disk.TypeDir
	if rule, err := s.book.rule(parent, e.Name, isDir); err == nil && rule != nil {
		s.f.skip(parent, e.Name, isDir)
		return
	}
	if st.Type() == disk.TypeDir {
		s.mu.Lock()
		s.came[st.Ino] = path
		s.mu.Unlock()
	}
	size := int64(0)
	if isFile(st.Sig) {
		size = st.Size
	}
	s.dirty(path, st.Type() == disk.TypeDir, size)
}

// dirty marks what the scan found; when it changed, only its times tell.
func (s *scan) dirty(path string, deep bool, size int64) {
	s.f.mu.Lock()
	fresh := s.f.mark(path, deep, s.now)
	if m := s.f.dirty.find(path); m != nil {
		if fresh {
			m.at = time.Time{}
		}
		if size > 0 {
			s.f.dirty.grow(path, size)
		}
	}
	if fresh {
		s.f.poke()
	}
	outside := s.f.outside
	if outside != nil && s.f.isExplained(path, s.now) {
		outside = nil
	}
	s.f.mu.Unlock()
	if outside != nil {
		outside(path)
	}
}

func (s *scan) relist(dir string) {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	s.f.dirty.node(dir).relist = true
	s.f.poke()
}

// pair finds directories that were renamed while nobody looked: what is in them
// is compared with what was recorded at the old place, and need not be read.
func (s *scan) pair() {
	s.f.mu.Lock()
	defer s.f.mu.Unlock()
	for ino, to := range s.came {
		from, ok := s.went[ino]
		if !ok {
			continue
		}
		if m := s.f.dirty.find(to); m != nil && m.from == "" {
			m.from = from
		}
	}
}

func isNotDir(err error) bool {
	return errors.Is(err, syscall.ENOTDIR) || errors.Is(err, syscall.ELOOP)
}
