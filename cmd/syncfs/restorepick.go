package main

import (
	"context"
	"errors"
	"fmt"
	"path"
	"strings"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/ignore"
	"github.com/syncfs/syncfs/versions"
)

// overwrite says what a restore does with what is there and differs.
type overwrite int

const (
	never overwrite = iota
	always
	ifChanged
	ifNewer
)

var overwrites = [...]string{never: "never", always: "always", ifChanged: "if-changed", ifNewer: "if-newer"}

// String is pflag.Value's.
func (o *overwrite) String() string { return overwrites[*o] }

// Set is pflag.Value's.
func (o *overwrite) Set(text string) error {
	for i, name := range overwrites {
		if text == name {
			*o = overwrite(i)
			return nil
		}
	}
	return errors.New("it is always, if-changed, if-newer or never")
}

// Type is pflag.Value's.
func (o *overwrite) Type() string { return "when" }

// existing is the same for disk.Restore; compare: what looks the same is read.
func (o overwrite) existing() (e disk.Existing, compare bool) {
	switch o {
	case always:
		return disk.ReplaceExisting, true
	case ifChanged:
		return disk.ReplaceExisting, false
	case ifNewer:
		return disk.ReplaceOlder, false
	}
	return disk.KeepExisting, false
}

// pick is what --include and --exclude take of a tree.
type pick struct {
	includes *ignore.File
	excludes *ignore.File
	dirs     map[string]bool // with something in them that is included; nil without includes
}

// pick prepares the patterns; nil: everything is taken.
func (o restoreOptions) pick(ctx context.Context, r *agent.Reader, s seen) (*pick, error) {
	if len(o.includes)+len(o.excludes) == 0 {
		return nil, nil
	}
	p := &pick{excludes: ignore.Parse("--exclude", []byte(strings.Join(o.excludes, "\n")))}
	if len(o.includes) == 0 {
		return p, nil
	}
	p.includes = ignore.Parse("--include", []byte(strings.Join(o.includes, "\n")))
	p.dirs = map[string]bool{}
	found := false
	err := r.Trees().Walk(ctx, s.Entry, func(below string, e versions.Entry) error {
		if below == "" && e.Kind == versions.Dir {
			return nil
		}
		if below == "" {
			below = e.Name
		}
		if p.out(below, e.Kind) {
			if e.Kind == versions.Dir {
				return versions.SkipDir
			}
			return nil
		}
		if matches(p.includes, below, e.Kind == versions.Dir) {
			found = true
			for dir := path.Dir(below); dir != "." && !p.dirs[dir]; dir = path.Dir(dir) {
				p.dirs[dir] = true
			}
		}
		return nil
	})
	if err == nil && !found {
		err = hinted(coded(exitPartial, fmt.Errorf("%s: nothing matches", s.label())), "patterns are those of gitignore, such as '*.docx'")
	}
	return p, err
}

// filter is disk.RestoreOptions.Filter; nil takes everything.
func (p *pick) filter() func(path string, e *versions.Entry) bool {
	if p == nil {
		return nil
	}
	return func(path string, e *versions.Entry) bool {
		if p.out(path, e.Kind) {
			return false
		}
		isDir := e.Kind == versions.Dir
		return p.includes == nil || isDir && p.dirs[path] || matches(p.includes, path, isDir)
	}
}

func (p *pick) out(path string, kind versions.Kind) bool {
	return matches(p.excludes, path, kind == versions.Dir)
}

// matches tells whether a path, or a directory that it is in, matches.
func matches(f *ignore.File, p string, isDir bool) bool {
	rules := ignore.In(nil, f)
	dir, name := path.Split(p)
	for part := range strings.SplitSeq(strings.TrimSuffix(dir, "/"), "/") {
		if part != "" {
			rules = rules.Below(part)
		}
	}
	rule := rules.Match(name, isDir)
	return rule != nil && !rule.Negated
}
