package folder

import (
	"cmp"
	"slices"
	"time"
)

// Changed and Renamed take what requests through the mount did (fs.Changes).
// Of a new hard link both names have changed.
func (f *Folder) Changed(path string) {
	if f.hidden(path) {
		return
	}
	now := f.o.Now()
	f.mu.Lock()
	if f.skipped.holds(path) {
		f.mu.Unlock()
		return
	}
	if f.o.Mounted {
		f.explain(path, now)
	}
	f.rulesOf(path)
	fresh := f.dirty.add(path, now)
	f.dirty.node(path).written = true
	f.bound()
	f.mu.Unlock()
	if fresh {
		f.poke()
	}
}

// Renamed: see Changed. Of an exchange, call Changed for both names.
func (f *Folder) Renamed(from, to string) {
	now := f.o.Now()
	f.mu.Lock()
	if f.o.Mounted {
		f.explain(from, now)
		f.explain(to, now)
		if r, ok := f.explained[from]; ok {
			r.to = to
			f.explained[from] = r
		}
	}
	f.renamed(from, to, now)
	f.mu.Unlock()
	f.poke()
}

// renamed is called with mu held.
func (f *Folder) renamed(from, to string, now time.Time) {
	f.rulesOf(from)
	f.rulesOf(to)
	out := func(path string) bool { return f.hidden(path) || f.skipped.holds(path) }
	switch {
	case out(from) && out(to):
		return
	case out(from), f.skipped.dirs[from]:
		delete(f.skipped.dirs, from)
		f.dirty.addDeep(to, now)
	case out(to):
		f.dirty.cut(from)
		f.dirty.add(from, now)
	default:
		f.reconsider(from, to, now)
		// What a build has in hand is known by its old path: should it not be
		// recorded, nothing vouches for what has moved.
		f.names.moved(from, to)
		busy := f.flight != nil && f.flight.has(from)
		f.dirty.move(from, to, busy, now)
		if busy {
			f.dirty.addDeep(to, now)
		}
	}
	f.bound()
}

// mark makes path dirty; with mu held.
func (f *Folder) mark(path string, deep bool, now time.Time) bool {
	if f.hidden(path) || f.skipped.holds(path) {
		return false
	}
	f.rulesOf(path)
	fresh := false
	if deep {
		fresh = f.dirty.addDeep(path, now)
	} else {
		fresh = f.dirty.add(path, now)
	}
	f.bound()
	return fresh
}

func (f *Folder) bound() { f.dirty.shrink(maxMarks) }

// Wake receives when there is something dirty that was not before, and when
// what had to wait may be looked at again.
func (f *Folder) Wake() <-chan struct{} { return f.wake }

func (f *Folder) poke() {
	select {
	case f.wake <- struct{}{}:
	default: // one is waiting already
	}
}

// pokeIn wakes after d, unless it is to be done earlier already. With mu held.
func (f *Folder) pokeIn(d time.Duration) {
	if f.retry != nil {
		f.retry.Stop()
	}
	f.retry = time.AfterFunc(d, f.poke)
}

// pendingStats bounds how many files one call of Pending looks at.
const pendingStats = 1000

// Pending is what is dirty: entries known of, and bytes as far as stat tells.
func (f *Folder) Pending() (entries, bytes int64) {
	f.mu.Lock()
	entries, bytes = f.dirty.root.entries(), f.dirty.size
	unsized := unsized(nil, "", &f.dirty.root)
	if f.flight != nil {
		entries += f.flight.root.entries()
		bytes += f.flight.size
	}
	f.mu.Unlock()
	slices.Sort(unsized)
	for _, path := range unsized {
		size := f.sizeOf(path)
		f.mu.Lock()
		if m := f.dirty.find(path); m != nil && m.self && m.size == 0 && size > 0 {
			f.dirty.grow(path, size)
		}
		f.mu.Unlock()
		bytes += size
	}
	return entries, bytes
}

// unsized lists marked paths whose size is not known.
func unsized(list []string, path string, m *mark) []string {
	if len(list) >= pendingStats {
		return list
	}
	if m.self && m.size == 0 && path != "" {
		list = append(list, path)
	}
	for name, b := range m.below {
		list = unsized(list, join(path, name), b)
	}
	return list
}

func (f *Folder) sizeOf(path string) int64 {
	dir, name := split(path)
	d, err := f.o.Root.OpenDir(dir)
	if err != nil {
		return 0
	}
	defer d.Close()
	st, err := d.Stat(name)
	if err != nil || !isFile(st.Sig) {
		return 0
	}
	return st.Size
}

// Dirty tells whether path, or anything in or above it, is dirty. What a build
// has taken is dirty until it is recorded.
func (f *Folder) Dirty(path string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.dirty.has(path) || f.flight != nil && f.flight.has(path)
}

// Relist has the next build write every listing again.
func (f *Folder) Relist() {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.relist = true
	f.poke()
}

// Trouble is one path that something is wrong with.
type Trouble struct {
	Path string
	Err  error
	Note bool // harmless: told once, never exit code 3
}

func (t Trouble) Error() string { return t.Path + ": " + t.Err.Error() }

// Unwrap returns the cause.
func (t Trouble) Unwrap() error { return t.Err }

// Trouble lists what needs the user: files that cannot be read, sockets and
// fifos that are skipped, watches that ran out. Sorted by path.
func (f *Folder) Trouble() []Trouble {
	f.mu.Lock()
	defer f.mu.Unlock()
	list := make([]Trouble, 0, len(f.trouble))
	for _, t := range f.trouble {
		list = append(list, t)
	}
	for path := range f.absent {
		list = append(list, Trouble{Path: path, Err: errAbsent, Note: true})
	}
	for _, pairs := range f.alike {
		list = append(list, pairs...)
	}
	slices.SortFunc(list, func(a, b Trouble) int { return cmp.Compare(a.Path, b.Path) })
	return list
}

// Retry makes dirty what cannot be read, so that the next build tries it again,
// and tells whether there is anything such. Nothing else may tell of a disk that
// can be read again.
func (f *Folder) Retry() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	found := false
	for path, t := range f.trouble {
		if t.Note || path == "" { // trouble with the root is the watch's
			continue
		}
		found = true
		f.mark(path, true, f.o.Now())
	}
	return found
}

// maxTrouble bounds what is kept: a disk that fails does so a million times.
const maxTrouble = 10_000

// troubled notes what is wrong with path; well takes it back.
func (f *Folder) troubled(path string, err error, note bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if _, known := f.trouble[path]; !known && len(f.trouble) < maxTrouble {
		f.o.Logger.Warn("folder", "path", path, "err", err, "note", note)
	} else if !known {
		return
	}
	f.trouble[path] = Trouble{Path: path, Err: err, Note: note}
}

func (f *Folder) well(path string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.trouble, path)
}

// request is when a path was last changed by a request or by the applier.
type request struct {
	at      time.Time
	to      string   // where a rename brought it
	applied *Applied // what the applier left there
	filling bool     // see Filling
}

const (
	explainFor = 3 * time.Second
	maxExplain = 1 << 14
)

// explain notes that events on path have a known reason; with mu held.
func (f *Folder) explain(path string, now time.Time) {
	if f.watch == nil {
		return
	}
	if len(f.explained) >= maxExplain {
		f.forgetExplained(now)
		if len(f.explained) >= maxExplain {
			clear(f.explained) // too many at once: they are told outside twice
		}
	}
	f.explained[path] = request{at: now}
}

// forgetExplained drops what no event asks for any more; with mu held.
func (f *Folder) forgetExplained(now time.Time) {
	kept := make(map[string]request) // a map that was large stays so
	for p, r := range f.explained {
		if now.Sub(r.at) <= explainFor {
			kept[p] = r
		}
	}
	f.explained = kept
}

// isExplained: see explain.
func (f *Folder) isExplained(path string, now time.Time) bool {
	r, ok := f.explained[path]
	return ok && now.Sub(r.at) <= explainFor && !now.Before(r.at)
}
