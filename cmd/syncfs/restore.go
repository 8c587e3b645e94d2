package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync/atomic"
	"unicode/utf8"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/versions"
)

type restoreOptions struct {
	atFlag
	target  string
	force   bool
	dryRun  bool
	numeric bool
}

func newRestoreCommand(e *env) *cobra.Command {
	var o restoreOptions
	cmd := &cobra.Command{
		Use:   "restore PATH[@TIME]",
		Short: "Bring a file or directory back as it was",
		Long: `Bring a file or directory back as it was, with modes, owners, times, links,
extended attributes, access lists and holes.

With --target DIR, a directory's content is written into DIR, and a file is
written there under its name. Without it, it goes back to where it was. What is
there already and differs is left alone and reported (exit code 3); with --force
it is first renamed to "NAME (before restore …)", so both are kept.

` + timeHelp,
		Example: `  syncfs restore letters@yesterday --target /tmp/letters
  syncfs restore report.docx@20250131_201530
  syncfs restore docs:@latest --target ~/everything`,
		Args: exactArgs("PATH"),
		RunE: runE(func(ctx context.Context, args []string) error { return runRestore(ctx, e, o, args[0]) }),
	}
	o.add(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&o.target, "target", "", "write to this `directory`, not to where it was")
	f.BoolVar(&o.force, "force", false, "move what differs aside")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "only say what would be done")
	f.BoolVar(&o.numeric, "numeric-owner", false, "set owners by number, not by name")
	e.addJSON(cmd)
	return cmd
}

func runRestore(ctx context.Context, e *env, o restoreOptions, arg string) error {
	e.boundMemory()
	return e.withReader(ctx, func(r *agent.Reader) error {
		s, err := e.look(ctx, r, arg, o.at)
		if err != nil {
			return err
		}
		dir, err := o.destination(s)
		if err != nil {
			return err
		}
		if o.dryRun {
			return e.rehearse(ctx, r, s, dir)
		}
		done, err := e.restoreTo(ctx, r, s, dir, o)
		if err != nil {
			return err
		}
		if o.force && len(done.Refused) > 0 {
			if err := e.moveAside(dir, done.Refused); err != nil {
				return err
			}
			again, err := e.restoreTo(ctx, r, s, dir, o)
			if err != nil {
				return err
			}
			// What the first pass has made is not there "already".
			again.Files, again.Dirs, again.Bytes = again.Files+done.Files, again.Dirs+done.Dirs, again.Bytes+done.Bytes
			again.Same -= done.Files
			done = again
		}
		return e.restored(s, dir, done)
	})
}

// destination is the directory that is written into.
func (o restoreOptions) destination(s seen) (string, error) {
	if o.target != "" {
		return abs(o.target)
	}
	home := s.place.Folder.Path
	if home == "" {
		return "", hinted(fmt.Errorf("%s is not on this machine, so there is no place to restore to", s.place.Folder.Name),
			"--target DIR says where to")
	}
	rel := s.place.Rel
	if s.Entry.Kind != versions.Dir {
		if rel = path.Dir(rel); rel == "." {
			rel = ""
		}
	}
	return filepath.Join(home, filepath.FromSlash(rel)), nil
}

func (e *env) restoreTo(ctx context.Context, r *agent.Reader, s seen, dir string, o restoreOptions) (disk.RestoreReport, error) {
	bar := e.newProgress()
	defer bar.done()
	var files, bytes atomic.Int64
	p := agent.Progress{Stage: "apply", TotalFiles: s.Entry.Count, TotalBytes: s.Entry.Size}
	return disk.Restore(ctx, r.Trees(), r.Contents(), s.Entry, dir, disk.RestoreOptions{
		Existing: disk.KeepExisting, Numeric: o.numeric,
		Progress: func(f, b int64) {
			now := p
			now.Files, now.Bytes = files.Add(f), bytes.Add(b)
			bar.update(now)
		},
	})
}

// moveAside renames what a restore must not overwrite. No symlink below dir is
// followed.
func (e *env) moveAside(dir string, paths []string) error {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return err
	}
	defer root.Close()
	stamp := e.now().UTC().Format("20060102_150405")
	for _, p := range paths {
		to := ""
		for n := 1; to == ""; n++ {
			if try := asideName(p, stamp, n); notThere(root, try) {
				to = try
			}
		}
		if err := root.Rename(filepath.FromSlash(p), filepath.FromSlash(to)); err != nil {
			return fmt.Errorf("keep what is at %s: %w", p, err)
		}
		e.say("kept   %s as %s", clean(p), clean(path.Base(to)))
	}
	return nil
}

func notThere(root *os.Root, name string) bool {
	_, err := root.Lstat(filepath.FromSlash(name))
	return errors.Is(err, fs.ErrNotExist)
}

// asideName is "DIR/STEM (before restore STAMP).EXT", cut to what a disk takes.
func asideName(p, stamp string, n int) string {
	dir, name := path.Split(p)
	ext := path.Ext(name)
	stem := strings.TrimSuffix(name, ext)
	if stem == "" { // a dot file
		stem, ext = name, ""
	}
	mark := " (before restore " + stamp
	if n > 1 {
		mark += fmt.Sprintf(" %d", n)
	}
	mark += ")"
	for len(stem)+len(mark)+len(ext) > 255 {
		if stem == "" {
			ext = ext[:255-len(mark)]
			break
		}
		_, last := utf8.DecodeLastRuneInString(stem) // never half a character
		stem = stem[:len(stem)-last]
	}
	return dir + stem + mark + ext
}

// rehearse says what a restore would do.
func (e *env) rehearse(ctx context.Context, r *agent.Reader, s seen, dir string) error {
	return r.Trees().Walk(ctx, s.Entry, func(below string, entry versions.Entry) error {
		if below == "" && entry.Kind == versions.Dir {
			return nil
		}
		if below == "" {
			below = entry.Name
		}
		what := "keep  "
		info, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(below)))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			what = "make  "
		case err != nil:
			what = "fail  "
		case entry.Kind == versions.Dir && info.IsDir():
			return nil
		case info.Mode().IsRegular() && entry.Kind == versions.File && info.Size() == entry.Size && info.ModTime().UnixNano() == entry.MTime:
			what = "same  "
		}
		if e.json {
			e.jsonLine(e.stdout, message{"message_type": "would", "action": strings.TrimSpace(what), "path": below})
			return nil
		}
		_, err = fmt.Fprintf(e.stdout, "%s %s\n", what, shownName(below, entry))
		return err
	})
}

// restored tells what was done, and what was not.
func (e *env) restored(s seen, dir string, done disk.RestoreReport) error {
	if e.json {
		refused := append([]string{}, done.Refused...)
		failed := []message{}
		for _, f := range done.Failed {
			failed = append(failed, message{"path": f.Path, "message": f.Err.Error()})
		}
		e.jsonLine(e.stdout, message{
			"message_type": "summary", "target": dir, "instant": s.Snapshot.Instant.String(),
			"files": done.Files, "directories": done.Dirs, "bytes": done.Bytes, "same": done.Same,
			"kept": refused, "failed": failed,
		})
	} else {
		e.say("restored %s as of %s into %s: %s, %s", s.label(), s.Snapshot.Instant, dir,
			count(done.Files, "file", "files"), size(done.Bytes))
		if done.Same > 0 {
			e.say("%s there already", was(done.Same))
		}
		for _, n := range done.Notes {
			e.note("%s could not be set on %s (first on %s): %v", n.What, count(int64(n.Count), "file", "files"), clean(n.Path), n.Err)
		}
		for _, p := range done.Refused {
			e.note("%s is there already and differs: left alone", clean(p))
		}
		for _, f := range done.Failed {
			e.note("%s: %v", clean(f.Path), f.Err)
		}
	}
	code, errs := exitPartial, []error(nil)
	for _, f := range done.Failed {
		errs = append(errs, f.Err)
	}
	if len(errs) > 0 {
		if c, _ := classify(errors.Join(errs...)); c == exitDamaged || c == exitOffline {
			code = c
		}
		return coded(code, fmt.Errorf("%s could not be restored", count(int64(len(errs)), "path", "paths")))
	}
	if len(done.Refused) > 0 {
		return hinted(coded(code, fmt.Errorf("%s left alone", was(int64(len(done.Refused))))),
			"--force moves what is there aside first; --target DIR restores elsewhere")
	}
	return nil
}

func was(n int64) string {
	if n == 1 {
		return "1 file was"
	}
	return fmt.Sprintf("%d files were", n)
}
