package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/pflag"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/versions"
)

// timeHelp is in the help of every command that takes PATH[@TIME].
const timeHelp = `PATH is in a folder of this machine, or NAME:PATH for any folder of the
repository. TIME is an instant (20250131_201530, in UTC), 2025-01-31,
2025-01-31T20:15, yesterday, 2h-ago or latest; without it the newest version is
meant. A name with an @ in it that exists is taken as it is; --at TIME says the
time apart from the path.`

// atFlag is the other way to say a time.
type atFlag struct{ at string }

func (a *atFlag) add(flags *pflag.FlagSet) {
	flags.StringVar(&a.at, "at", "", "the `time`, apart from the path")
}

// target is a parsed PATH[@TIME].
type target struct {
	spelled string // the argument, for messages
	path    string
	when    *versions.When // nil: no time was said
}

// parseTarget takes PATH[@TIME] apart. What exists under the whole spelling is
// a path; else what follows the last @ is a time if it reads as one.
func (e *env) parseTarget(arg, at string) (target, error) {
	t := target{spelled: arg, path: arg}
	if at != "" {
		w, err := versions.ParseWhen(at, e.now(), e.loc)
		if err != nil {
			return t, err
		}
		t.when = &w
		return t, nil
	}
	i := strings.LastIndexByte(arg, '@')
	if i < 0 {
		return t, nil
	}
	if _, err := os.Lstat(arg); err == nil {
		return t, nil
	}
	w, err := versions.ParseWhen(arg[i+1:], e.now(), e.loc)
	if err != nil {
		return t, nil // a path with an @; whether it ever existed shows later
	}
	t.path, t.when = arg[:i], &w
	if t.path == "" {
		t.path = "."
	}
	return t, nil
}

// locate finds the folder of a path that a user gave.
func locate(ctx context.Context, r *agent.Reader, path string) (agent.Place, error) {
	if name, _, ok := strings.Cut(path, ":"); ok && !strings.ContainsAny(name, `/\`) && filepath.VolumeName(path) == "" {
		if _, err := os.Lstat(path); err != nil {
			return locateByName(ctx, r, path)
		}
	}
	full, err := abs(path)
	if err != nil {
		return agent.Place{}, err
	}
	place, err := r.Locate(ctx, full)
	if errors.Is(err, agent.ErrOutside) {
		// The way to it may lead through a symlink.
		if real, rerr := realPath(full); rerr == nil && real != full {
			return r.Locate(ctx, real)
		}
	}
	return place, err
}

// locateByName finds NAME:PATH in any folder of the repository.
func locateByName(ctx context.Context, r *agent.Reader, arg string) (agent.Place, error) {
	list, err := r.Folders(ctx)
	if err != nil {
		return agent.Place{}, err
	}
	if f, rel, ok := agent.SplitName(list, arg); ok {
		return agent.Place{Folder: f, Rel: rel}, nil
	}
	name, _, _ := strings.Cut(arg, ":")
	_, err = folderByName(list, name)
	return agent.Place{}, err
}

// realPath resolves the symlinks on the way to path, of which the last parts
// need not exist any more. A symlink at its very end is meant itself.
func realPath(path string) (string, error) {
	dir, rest := filepath.Dir(path), filepath.Base(path)
	for {
		real, err := filepath.EvalSymlinks(dir)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !errors.Is(err, fs.ErrNotExist) || dir == filepath.Dir(dir) {
			return "", err
		}
		dir, rest = filepath.Dir(dir), filepath.Join(filepath.Base(dir), rest)
	}
}

// seen is a place as it was.
type seen struct {
	target
	place agent.Place
	agent.Found
}

// label names it in messages and listings.
func (s seen) label() string {
	name := s.place.Folder.Name + ":" + s.place.Rel
	return strings.TrimSuffix(name, ":")
}

// look finds what was at PATH[@TIME].
func (e *env) look(ctx context.Context, r *agent.Reader, arg, at string) (seen, error) {
	t, err := e.parseTarget(arg, at)
	if err != nil {
		return seen{}, err
	}
	return e.lookAt(ctx, r, t)
}

func (e *env) lookAt(ctx context.Context, r *agent.Reader, t target) (seen, error) {
	place, err := locate(ctx, r, t.path)
	if err != nil {
		return seen{}, err
	}
	when := versions.When{Latest: true, Spelled: "latest"}
	switch {
	case t.when != nil && place.At != nil:
		return seen{}, usage("%s: the path names a version already, so no other time can be given", t.spelled)
	case t.when != nil:
		when = *t.when
	case place.At != nil:
		when = versions.When{Exact: *place.At, Spelled: place.At.String()}
	}
	found, err := r.At(ctx, place, when)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%s: %w", t.spelled, err)
		if i := strings.LastIndexByte(t.path, '@'); i >= 0 && t.when == nil {
			tail := t.path[i+1:]
			return seen{}, hinted(err, "%q is no time either; use %s", tail, versions.Spellings)
		}
		return seen{}, hinted(err, "`syncfs versions %s` lists when it was there", t.path)
	}
	if err != nil {
		return seen{}, err
	}
	return seen{target: t, place: place, Found: found}, nil
}
