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
	"github.com/syncfs/syncfs/internal/backup"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/oplog"
	"github.com/syncfs/syncfs/versions"
)

type restoreOptions struct {
	atFlag
	target    string
	includes  []string
	excludes  []string
	overwrite overwrite
	force     bool
	verify    bool
	dryRun    bool
	numeric   bool
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
there already and differs is left alone and reported (exit code 3). With --force
it is first renamed to "NAME (before restore …)", so both are kept; --overwrite
replaces it: always, if-changed (another size or time), or if-newer (what is
restored is newer). Nothing is ever written through a symlink in DIR.

A name alone, such as report.docx, that is in no folder here is looked for in
all folders of the repository, also among what was deleted; of several files the
one that changed last is taken, and all are named.

--include and --exclude are patterns of gitignore. A restore that was cut short
and is called again takes what stands already as it is. --verify reads what was
restored and compares it, byte by byte (exit code 6 where it differs).

` + timeHelp,
		Example: `  syncfs restore letters@yesterday --target /tmp/letters
  syncfs restore report.docx@20250131_201530
  syncfs restore important-report.docx --target /tmp/restored
  syncfs restore pc1:/home/me --include '*.docx' --target /tmp/docs --verify`,
		Args: exactArgs("PATH"),
		RunE: runE(func(ctx context.Context, args []string) error { return runRestore(ctx, e, o, args[0]) }),
	}
	o.add(cmd.Flags())
	f := cmd.Flags()
	f.StringVar(&o.target, "target", "", "write to this `directory`, not to where it was")
	f.StringArrayVar(&o.includes, "include", nil, "only what matches this `pattern` (repeatable)")
	f.StringArrayVar(&o.excludes, "exclude", nil, "not what matches this `pattern` (repeatable)")
	f.Var(&o.overwrite, "overwrite", "replace what is there: always, if-changed, if-newer or never")
	f.BoolVar(&o.force, "force", false, "move what differs aside")
	f.BoolVar(&o.verify, "verify", false, "read what was restored, and compare it")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "only say what would be done")
	f.BoolVar(&o.numeric, "numeric-owner", false, "set owners by number, not by name")
	e.addJSON(cmd)
	return cmd
}

func runRestore(ctx context.Context, e *env, o restoreOptions, arg string) error {
	if o.force && o.overwrite != never {
		return usage("--force keeps what --overwrite replaces: only one of them can be meant")
	}
	e.boundMemory()
	return e.withReader(ctx, func(r *agent.Reader) error {
		s, err := e.lookAnywhere(ctx, r, arg, o.at)
		if err != nil {
			return err
		}
		dir, err := o.destination(ctx, r, s)
		if err != nil {
			return err
		}
		pick, err := o.pick(ctx, r, s)
		if err != nil {
			return err
		}
		if o.dryRun {
			return e.rehearse(ctx, r, s, dir, o, pick)
		}
		return e.bringBack(ctx, r, s, dir, o, pick)
	})
}

// bringBack restores, tells of it, and leaves a record.
func (e *env) bringBack(ctx context.Context, r *agent.Reader, s seen, dir string, o restoreOptions, pick *pick) (err error) {
	var done disk.RestoreReport
	begun := e.now()
	defer func() {
		e.record(ctx, r.Repository(), oplog.Operation{
			What: oplog.Restore, Folder: s.label(), Path: dir, Instant: s.Snapshot.Instant.String(), Files: done.Files, Bytes: done.Bytes,
		}, begun, err)
	}()
	if done, err = e.restoreTo(ctx, r, s, dir, o, pick); err != nil {
		return err
	}
	if o.force && len(done.Refused) > 0 {
		if err := e.moveAside(dir, done.Refused); err != nil {
			return err
		}
		again, err := e.restoreTo(ctx, r, s, dir, o, pick)
		if err != nil {
			return err
		}
		// What the first pass has made is not there "already".
		again.Files, again.Dirs, again.Bytes = again.Files+done.Files, again.Dirs+done.Dirs, again.Bytes+done.Bytes
		again.Same -= done.Files
		done = again
	}
	var wrong []string
	if o.verify {
		if wrong, err = e.verifyRestored(ctx, r, s, dir, pick, done); err != nil {
			return err
		}
	}
	return e.restored(s, dir, done, o.verify, wrong)
}

// destination is the directory that is written into.
func (o restoreOptions) destination(ctx context.Context, r *agent.Reader, s seen) (string, error) {
	if o.target != "" {
		return abs(o.target)
	}
	home, err := home(ctx, r, s)
	if err != nil {
		return "", err
	}
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

// home is the directory that a folder's root is on this machine: where it is
// synced, or what it is the backup of; "": none.
func home(ctx context.Context, r *agent.Reader, s seen) (string, error) {
	f := s.place.Folder
	host, _ := agent.Identity()
	saved, here := strings.CutPrefix(f.Name, host+":")
	if f.Path != "" || f.Kind != backup.Kind || !here || !filepath.IsAbs(saved) {
		return f.Path, nil
	}
	// Of one file its directory is the root.
	entries, err := r.Trees().Read(ctx, s.Snapshot.Root.Tree)
	if err != nil {
		return "", err
	}
	if len(entries) == 1 && entries[0].Kind == versions.File && entries[0].Name == filepath.Base(saved) {
		if info, err := os.Lstat(saved); err != nil || !info.IsDir() {
			return filepath.Dir(saved), nil
		}
	}
	return saved, nil
}

func (e *env) restoreTo(ctx context.Context, r *agent.Reader, s seen, dir string, o restoreOptions, pick *pick) (disk.RestoreReport, error) {
	bar := e.newProgress()
	defer bar.done()
	var files, bytes atomic.Int64
	p := agent.Progress{Stage: "apply"}
	if pick == nil { // else it is not known how much it is
		p.TotalFiles, p.TotalBytes = s.Entry.Count, s.Entry.Size
	}
	ro := disk.RestoreOptions{
		Numeric: o.numeric, Filter: pick.filter(),
		Progress: func(f, b int64) {
			now := p
			now.Files, now.Bytes = files.Add(f), bytes.Add(b)
			bar.update(now)
		},
	}
	ro.Existing, ro.Compare = o.overwrite.existing()
	return disk.Restore(ctx, r.Trees(), r.Contents(), s.Entry, dir, ro)
}

// verifyRestored compares what was restored with what it is to be, byte by byte,
// and returns what differs.
func (e *env) verifyRestored(ctx context.Context, r *agent.Reader, s seen, dir string, pick *pick, done disk.RestoreReport) (wrong []string, err error) {
	known := map[string]bool{}
	for _, list := range [][]string{done.Refused, done.Newer} {
		for _, p := range list {
			known[p] = true
		}
	}
	for _, f := range done.Failed {
		known[f.Path] = true
	}
	bar := e.newProgress()
	defer bar.done()
	var files, bytes atomic.Int64
	take := pick.filter()
	rep, err := disk.Restore(ctx, r.Trees(), r.Contents(), s.Entry, dir, disk.RestoreOptions{
		Existing: disk.KeepExisting, Compare: true,
		Filter: func(path string, entry *versions.Entry) bool {
			return !known[path] && (take == nil || take(path, entry))
		},
		Progress: func(f, b int64) {
			bar.update(agent.Progress{Stage: "verify", TotalFiles: s.Entry.Count, TotalBytes: s.Entry.Size, Files: files.Add(f), Bytes: bytes.Add(b)})
		},
	})
	for _, f := range rep.Failed {
		wrong = append(wrong, f.Path)
	}
	return append(wrong, rep.Refused...), err
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
func (e *env) rehearse(ctx context.Context, r *agent.Reader, s seen, dir string, o restoreOptions, pick *pick) error {
	take := pick.filter()
	return r.Trees().Walk(ctx, s.Entry, func(below string, entry versions.Entry) error {
		if below == "" && entry.Kind == versions.Dir {
			return nil
		}
		if below == "" {
			below = entry.Name
		}
		if take != nil && !take(below, &entry) {
			if entry.Kind == versions.Dir {
				return versions.SkipDir
			}
			return nil
		}
		what := o.would(filepath.Join(dir, filepath.FromSlash(below)), entry)
		if what == "" {
			return nil
		}
		if e.json {
			e.jsonLine(e.stdout, message{"message_type": "would", "action": what, "path": below})
			return nil
		}
		_, err := fmt.Fprintf(e.stdout, "%-7s %s\n", what, shownName(below, entry))
		return err
	})
}

// would is what a restore does with one entry; "": nothing that is worth a word.
func (o restoreOptions) would(at string, entry versions.Entry) string {
	info, err := os.Lstat(at)
	isFile := err == nil && info.Mode().IsRegular() && entry.Kind == versions.File
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "make"
	case err != nil:
		return "fail"
	case entry.Kind == versions.Dir && info.IsDir():
		return ""
	case isFile && o.overwrite != always && info.Size() == entry.Size && info.ModTime().UnixNano() == entry.MTime:
		return "same"
	case info.IsDir(), o.overwrite == never, o.overwrite == ifNewer && (entry.Kind == versions.Dir || info.ModTime().UnixNano() >= entry.MTime):
		return "keep"
	}
	return "replace"
}

// restored tells what was done, and what was not.
func (e *env) restored(s seen, dir string, done disk.RestoreReport, verified bool, wrong []string) error {
	if e.json {
		refused := append([]string{}, done.Refused...)
		failed := []message{}
		for _, f := range done.Failed {
			failed = append(failed, message{"path": f.Path, "message": f.Err.Error()})
		}
		e.jsonLine(e.stdout, message{
			"message_type": "summary", "target": dir, "instant": s.Snapshot.Instant.String(),
			"files": done.Files, "directories": done.Dirs, "bytes": done.Bytes, "same": done.Same,
			"kept": refused, "newer": append([]string{}, done.Newer...), "failed": failed,
			"verified": verified, "wrong": append([]string{}, wrong...),
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
		if len(done.Newer) > 0 {
			e.say("%s newer, and left alone", was(int64(len(done.Newer))))
		}
		if verified && len(wrong) == 0 {
			e.say("verified: what was restored is what was saved")
		}
		for _, p := range wrong {
			e.note("%s: is not what was saved", clean(p))
		}
		for _, p := range done.Refused {
			e.note("%s is there already and differs: left alone", clean(p))
		}
		for _, f := range done.Failed {
			e.note("%s: %v", clean(f.Path), f.Err)
		}
	}
	if len(wrong) > 0 {
		return coded(exitDamaged, fmt.Errorf("%s not what was saved", were(int64(len(wrong)))))
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
			"--force moves what is there aside first, --overwrite replaces it; --target DIR restores elsewhere")
	}
	return nil
}

func was(n int64) string {
	if n == 1 {
		return "1 file was"
	}
	return fmt.Sprintf("%d files were", n)
}

func were(n int64) string {
	if n == 1 {
		return "1 file is"
	}
	return fmt.Sprintf("%d files are", n)
}
