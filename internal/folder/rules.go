package folder

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"
	"sync"
	"time"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/ignore"
)

// ErrRules is a file of rules that cannot be read just now. What it may be about
// is neither taken nor given up.
var ErrRules = errors.New("what is new here is not taken before its rules can be read")

var errNoContent = errors.New("its content is not on this disk: read it once")

// rulebook reads the rules of directories, each file once: one scan, one build
// or one question has one.
type rulebook struct {
	root  *disk.Root
	extra func(dir string) ([]byte, error) // see BuildOptions.Rules
	none  bool                             // there are no rules: see Options.Filter

	mu sync.Mutex // guards in
	in map[string]*ignore.Rules
}

// maxRulebook bounds the memory of one: then it begins anew.
const maxRulebook = 1 << 14

func (f *Folder) rulebook() *rulebook {
	return &rulebook{root: f.o.Root, none: f.o.Filter != nil, in: make(map[string]*ignore.Rules)}
}

// of are the rules in a directory.
func (r *rulebook) of(dir string) (*ignore.Rules, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.ofLocked(dir)
}

func (r *rulebook) ofLocked(dir string) (*ignore.Rules, error) {
	if known, ok := r.in[dir]; ok {
		return known, nil
	}
	var rules *ignore.Rules
	if dir == "" {
		own, err := r.read("")
		if err != nil {
			return nil, err
		}
		rules = ignore.In(ignore.Builtin(), own)
	} else {
		parent, name := split(dir)
		above, err := r.ofLocked(parent)
		if err != nil {
			return nil, err
		}
		rules = above.Below(name)
		if rules.Out() == nil {
			own, err := r.read(dir)
			if err != nil {
				return nil, err
			}
			rules = rules.With(own)
		}
	}
	if len(r.in) >= maxRulebook {
		clear(r.in)
	}
	r.in[dir] = rules
	return rules, nil
}

// read reads the file of rules in dir; nil when there is none. A link is none.
func (r *rulebook) read(dir string) (*ignore.File, error) {
	path := join(dir, ignore.Name)
	data, err := r.bytes(dir)
	if errors.Is(err, fs.ErrNotExist) && r.extra != nil {
		data, err = r.extra(dir)
	}
	switch {
	case errors.Is(err, fs.ErrNotExist), isNotDir(err), errors.Is(err, disk.ErrSubmount):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("%s: %w: %w", path, ErrRules, err)
	case len(data) == 0:
		return nil, nil
	}
	return ignore.Parse(path, data), nil
}

func (r *rulebook) bytes(dir string) ([]byte, error) {
	d, err := r.root.OpenDir(dir)
	if err != nil {
		return nil, err
	}
	defer d.Close()
	file, err := d.Open(ignore.Name)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	switch st, err := file.Stat(); {
	case err != nil:
		return nil, err
	case !isFile(st.Sig):
		return nil, fs.ErrNotExist
	}
	if _, is, err := file.Stub(); err != nil || is {
		return nil, errors.Join(errNoContent, err)
	}
	// Between the two halves of a save it may be empty, and an empty one would
	// have everything taken.
	if !file.Quiet() {
		return nil, errWriting
	}
	data, err := io.ReadAll(io.LimitReader(file, ignore.MaxFile+1))
	if err == nil && len(data) > ignore.MaxFile {
		err = fmt.Errorf("it is larger than %d bytes", ignore.MaxFile)
	}
	return data, err
}

// rule is the rule by which what is new under a name is not taken; nil when it
// is taken.
func (r *rulebook) rule(dir, name string, isDir bool) (*ignore.Rule, error) {
	if r.none {
		return nil, nil
	}
	rules, err := r.of(dir)
	if err != nil {
		return nil, err
	}
	return rules.Ignored(name, isDir), nil
}

// skipped remembers what rules have kept out, so that requests in an ignored
// directory cost nothing and a change of the rules finds it without a scan.
type skipped struct {
	dirs  map[string]bool // ignored directories that no other of them holds
	in    map[string]bool // directories with ignored names in them
	rules map[string]bool // directories whose rules have changed
}

func newSkipped() skipped {
	return skipped{dirs: make(map[string]bool), in: make(map[string]bool), rules: make(map[string]bool)}
}

// skip notes that a rule keeps a name of dir out.
func (f *Folder) skip(dir, name string, isDir bool) {
	f.mu.Lock()
	f.skipped.in[dir] = true
	path := join(dir, name)
	fresh := isDir && !f.skipped.dirs[path]
	if fresh {
		f.skipped.dirs[path] = true
		f.skips.Store(true)
	}
	outside := f.outside
	f.mu.Unlock()
	if fresh && outside != nil {
		// What was cached of it so far counted as watched.
		outside(path)
	}
}

// Unwatched tells whether path is in a directory that rules keep out, or is one:
// no event tells of changes there. path is asked for only if there is any.
func (f *Folder) Unwatched(path func() (path string, ok bool)) bool {
	if !f.skips.Load() {
		return false
	}
	p, ok := path()
	if !ok {
		return false
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.skipped.dirs[p] || f.skipped.holds(p)
}

// holds tells whether path lies in an ignored directory. With mu held.
func (s *skipped) holds(path string) bool {
	if len(s.dirs) == 0 {
		return false
	}
	for i := range len(path) {
		if path[i] == '/' && s.dirs[path[:i]] {
			return true
		}
	}
	return false
}

// HoldsKeptOut tells whether rules keep something out of dir or a directory below.
func (f *Folder) HoldsKeptOut(dir string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, set := range []map[string]bool{f.skipped.dirs, f.skipped.in} {
		for d := range set {
			if d == dir || strings.HasPrefix(d, dir+"/") {
				return true
			}
		}
	}
	return false
}

// taken notes that path is in the tree, and so is what it lies in.
func (s *skipped) taken(path string) {
	if len(s.dirs) == 0 {
		return
	}
	for i := range len(path) {
		if path[i] == '/' {
			delete(s.dirs, path[:i])
		}
	}
	delete(s.dirs, path)
}

// rulesOf notes that the rules of a directory have changed, if path is what
// holds them. With mu held.
func (f *Folder) rulesOf(path string) {
	if dir, name := split(path); name == ignore.Name {
		f.skipped.rules[dir] = true
	}
}

// lookAgain makes dirty what rules have kept out and may let in now. With mu
// held.
func (f *Folder) lookAgain(now time.Time) {
	for dir := range f.skipped.rules {
		f.reconsider(dir, dir, now)
	}
	clear(f.skipped.rules)
}

// reconsider forgets what was kept out below the directory from, which is at to
// now, and has it looked at. With mu held.
func (f *Folder) reconsider(from, to string, now time.Time) {
	rebased := func(path string) (string, bool) {
		if from == "" {
			return path, true
		}
		rest, ok := strings.CutPrefix(path, from)
		return to + rest, ok && (rest == "" || rest[0] == '/')
	}
	for dir := range f.skipped.in {
		if at, ok := rebased(dir); ok {
			delete(f.skipped.in, dir)
			m := f.dirty.node(at)
			m.stamp(now)
			m.all = true
		}
	}
	for dir := range f.skipped.dirs {
		if at, ok := rebased(dir); ok {
			delete(f.skipped.dirs, dir)
			f.dirty.addDeep(at, now)
		}
	}
	f.bound()
}
