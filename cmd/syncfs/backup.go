package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/backup"
	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/internal/oplog"
	"github.com/syncfs/syncfs/versions"
)

type backupOptions struct {
	name, host    string
	tags          []string
	patterns      []string
	excludes      []string
	excludeFiles  []string
	caches        bool
	larger        config.Size
	oneFileSystem bool
	forceRead     bool
	stdin         bool
	stdinName     string
	dryRun        bool
	every         string
	limits        limitFlags
}

func newBackupCommand(e *env) *cobra.Command {
	var o backupOptions
	cmd := &cobra.Command{
		Use:   "backup PATH...",
		Short: "Save directories and files of this machine",
		Long: `Save each PATH, a directory or a file, into a folder of its own in the
repository, called HOST:PATH unless --name says otherwise. What has the size,
the times and the inode that it had when it was saved last is not read again;
when nothing has changed there is no new version. Nothing that is saved ever
comes back to the disk by itself: ` + "`syncfs restore`" + ` brings it back, and
` + "`syncfs mount NAME DIR`" + ` shows it.

What cannot be read is named and the rest is saved (exit code 3). A file that is
written while it is read is saved as it was read, marked unstable. A backup that
was interrupted goes on where it was.

--pattern takes only the files that match; --exclude takes all but what matches.
Both are patterns of gitignore: *.docx matches in every directory, /cache/ only
the directory cache in PATH itself. The directories of syncfs itself and the
.versions of its mounts are never saved.

With --every the background process repeats the backup, after a time such as 60m
or by a cron expression; ` + "`syncfs schedule`" + ` lists and removes what is repeated.`,
		Example: `  syncfs backup ~/Documents
  syncfs backup /srv/data --pattern '*.docx' --pattern '*.xlsx' --every 30m
  syncfs backup /home --exclude-caches --one-file-system --every '15 3 * * *'
  pg_dump shop | syncfs backup --stdin --stdin-name shop.sql`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 && !o.stdin {
				return hinted(errors.New("backup: PATH is missing"), "called as: %s", cmd.UseLine())
			}
			return nil
		},
		RunE: runE(func(ctx context.Context, args []string) error { return runBackup(ctx, e, o, args) }),
	}
	o.add(cmd.Flags())
	e.addJSON(cmd)
	return cmd
}

func (o *backupOptions) add(f *pflag.FlagSet) {
	f.StringVar(&o.name, "name", "", "the `folder` to save to, instead of HOST:PATH")
	f.StringVar(&o.host, "host", "", "the host's `name`, instead of this machine's")
	f.StringArrayVar(&o.tags, "tag", nil, "a `word` that marks the version (repeatable)")
	f.StringArrayVar(&o.patterns, "pattern", nil, "save only files that match this `pattern` (repeatable)")
	f.StringArrayVar(&o.excludes, "exclude", nil, "do not save what matches this `pattern` (repeatable)")
	f.StringArrayVar(&o.excludeFiles, "exclude-file", nil, "do not save what matches a line of this `file` (repeatable)")
	f.BoolVar(&o.caches, "exclude-caches", false, "of a directory with a CACHEDIR.TAG save only that")
	f.Var(&o.larger, "exclude-larger-than", "do not save files larger than this, such as 1GiB")
	f.BoolVar(&o.oneFileSystem, "one-file-system", false, "do not enter what is mounted below PATH")
	f.BoolVar(&o.forceRead, "force-read", false, "read also what has not changed")
	f.BoolVar(&o.stdin, "stdin", false, "save what comes from standard input")
	f.StringVar(&o.stdinName, "stdin-name", "stdin", "the `name` of the file that --stdin saves")
	f.BoolVarP(&o.dryRun, "dry-run", "n", false, "only say what would be saved")
	f.StringVar(&o.every, "every", "", "repeat it: a duration or a cron `expression`")
	o.limits.add(f, "limit-")
}

// check refuses what cannot be meant.
func (o *backupOptions) check(args []string) error {
	switch {
	case o.stdin && len(args) > 0:
		return usage("--stdin saves standard input, so no PATH can be given")
	case o.stdin && o.dryRun:
		return usage("--dry-run cannot say anything about standard input")
	case o.stdin && o.every != "":
		return usage("--every cannot repeat standard input")
	case o.every != "" && o.dryRun:
		return usage("--every and --dry-run cannot be meant together")
	case o.name != "" && len(args) > 1:
		return usage("--name names one folder, and each PATH is saved to its own")
	}
	return nil
}

func runBackup(ctx context.Context, e *env, o backupOptions, args []string) error {
	if err := o.check(args); err != nil {
		return err
	}
	if o.every != "" {
		paths := make([]string, len(args))
		for i, arg := range args {
			var err error
			if paths[i], err = existingPath(arg); err != nil {
				return err
			}
		}
		return e.scheduleBackups(ctx, o, paths)
	}
	e.boundMemory()
	dirs, err := e.dirs()
	if err != nil {
		return err
	}
	return e.withRepository(ctx, func(r *agent.Repository) (err error) {
		defer func() { err = errors.Join(err, r.Close()) }()
		base, err := e.backupOptions(r, dirs, o)
		if err != nil {
			return err
		}
		if o.stdin {
			base.Name = o.folderName(base.Host, o.stdinName)
			return e.backUp(ctx, r, base, o.stdinName, func(b backup.Options) (backup.Report, error) {
				return backup.TakeStream(ctx, b, o.stdinName, e.stdin)
			})
		}
		var errs []error
		for _, arg := range args {
			if err := e.backUpPath(ctx, r, base, o, arg); err != nil {
				errs = append(errs, err)
			}
			if ctx.Err() != nil {
				return ctx.Err()
			}
		}
		if len(errs) < len(args) { // the rest is saved
			return coded(exitPartial, errors.Join(errs...))
		}
		return errors.Join(errs...)
	})
}

// backUpPath saves one path, or says what would be saved.
func (e *env) backUpPath(ctx context.Context, r *agent.Repository, b backup.Options, o backupOptions, arg string) error {
	path, err := existingPath(arg)
	b.Path, b.Name = path, o.folderName(b.Host, path)
	if o.dryRun {
		if err != nil {
			return err
		}
		return e.rehearseBackup(ctx, b)
	}
	return e.backUp(ctx, r, b, path, func(b backup.Options) (backup.Report, error) {
		if err != nil {
			return backup.Report{}, err
		}
		return backup.Take(ctx, b)
	})
}

// existingPath is an absolute path without symlinks; with an error, the path as
// it was given.
func existingPath(arg string) (string, error) {
	path, err := abs(arg)
	if err != nil {
		return arg, err
	}
	real, err := filepath.EvalSymlinks(path)
	if errors.Is(err, os.ErrNotExist) {
		return path, fmt.Errorf("%s is not there: %w", arg, os.ErrNotExist)
	}
	if err != nil {
		return path, err
	}
	return real, nil
}

func (o *backupOptions) folderName(host, path string) string {
	if o.name != "" {
		return o.name
	}
	return host + ":" + path
}

// backupOptions are what all paths of one command line have in common.
func (e *env) backupOptions(r *agent.Repository, dirs config.Dirs, o backupOptions) (backup.Options, error) {
	c, err := e.settings(dirs)
	if err != nil {
		return backup.Options{}, err
	}
	limits, _ := o.limits.over(agent.Limits{Upload: int64(c.Limit.Upload), Download: int64(c.Limit.Download)})
	r.SetLimits(limits)
	host, user := agent.Identity()
	if o.host != "" {
		host = o.host
	}
	excludes, err := readExcludes(o.excludeFiles)
	if err != nil {
		return backup.Options{}, err
	}
	b := backup.Options{
		Remote: r.Remote, Keys: r.Keys,
		StateDir: agent.BackupDir(dirs), CacheDir: agent.ChunkCacheDir(dirs),
		SpoolLimit: int64(c.Spool.Limit), CacheLimit: int64(c.Cache.Limit),
		Host: host, User: user, Device: r.Setup.Device, Tags: o.tags,
		Select: backup.Select{
			Patterns: o.patterns, Excludes: append(excludes, o.excludes...),
			Caches: o.caches, Larger: int64(o.larger),
		},
		OneFileSystem: o.oneFileSystem, Reread: o.forceRead,
		Own:   r.Own(dirs),
		Slice: time.Duration(c.Sync.CommitEvery), Logger: e.logger(), Now: e.now,
	}
	return b, nil
}

// readExcludes reads files of rules.
func readExcludes(files []string) ([]string, error) {
	var lines []string
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		data, err := io.ReadAll(io.LimitReader(f, maxExcludeFile+1))
		if err = errors.Join(err, f.Close()); err != nil {
			return nil, err
		}
		if len(data) > maxExcludeFile {
			return nil, fmt.Errorf("%s is larger than %s: is it a list of patterns?", name, size(maxExcludeFile))
		}
		lines = append(lines, strings.Split(string(data), "\n")...)
	}
	return lines, nil
}

const maxExcludeFile = 1 << 20

// backUp runs one backup, tells of it, and leaves a record.
func (e *env) backUp(ctx context.Context, r *agent.Repository, b backup.Options, what string, run func(backup.Options) (backup.Report, error)) error {
	begun := e.now()
	bar := e.newProgress()
	b.Progress = backupProgress(bar, b.Name)
	rep, err := run(b)
	bar.done()
	err = e.outcome(rep, err, what, e.now().Sub(begun).Seconds())
	e.record(ctx, r, oplog.Operation{
		What: oplog.Backup, Folder: b.Name, Path: what, Instant: shownInstant(rep.Instant), Files: rep.ReadFiles, Bytes: rep.ReadBytes,
	}, begun, err)
	return err
}

func shownInstant(i versions.Instant) string {
	if i.IsZero() {
		return ""
	}
	return i.String()
}

// outcome tells how a backup went; the error is what its exit code says.
func (e *env) outcome(rep backup.Report, err error, what string, seconds float64) error {
	for _, p := range rep.Problems {
		e.note("%s: %v", clean(p.Path), p.Err)
	}
	for _, p := range rep.Notes {
		e.detail("%s: %v", clean(p.Path), p.Err)
	}
	switch {
	case errors.Is(err, backup.ErrNothing):
		return hinted(coded(exitPartial, err), "nothing was saved; patterns are those of gitignore, such as '*.docx'")
	case errors.Is(err, blob.ErrOffline):
		return hinted(err, "nothing was saved yet; called again, it goes on where it was")
	case errors.Is(err, blob.ErrFull):
		return hinted(err, "make room on the server; called again, the backup goes on where it was")
	case err != nil:
		return err
	}
	e.saved(rep, what, seconds)
	if n := int64(len(rep.Problems)) + rep.Left; n > 0 {
		return hinted(coded(exitPartial, fmt.Errorf("%s of %s could not be read; the rest is saved", count(n, "path", "paths"), what)),
			"what was saved of them before is still in the new version")
	}
	return nil
}

// saved tells what a backup did.
func (e *env) saved(rep backup.Report, what string, seconds float64) {
	if e.json {
		problems := []message{}
		for _, p := range rep.Problems {
			problems = append(problems, message{"path": p.Path, "message": p.Err.Error()})
		}
		e.jsonLine(e.stdout, message{
			"message_type": "summary", "folder": rep.Folder, "path": what, "instant": rep.Instant.String(), "unchanged": rep.Unchanged,
			"new": rep.Added, "changed": rep.Changed, "gone": rep.Removed,
			"files_read": rep.ReadFiles, "bytes_read": rep.ReadBytes, "bytes_sent": rep.SentBytes,
			"files": rep.Files, "bytes": rep.Bytes, "unstable": rep.Unstable, "left": rep.Left, "problems": problems, "seconds": seconds,
		})
		return
	}
	if rep.Unchanged {
		e.say("%s: nothing has changed since %s (%s, %s; %.1f s)", rep.Folder, rep.Instant, count(rep.Files, "file", "files"), size(rep.Bytes), seconds)
		return
	}
	e.say("%s: saved as %s: %d new, %d changed, %d gone", rep.Folder, rep.Instant, rep.Added, rep.Changed, rep.Removed)
	e.say("%s read (%s), %s sent, %s in %s; %.1f s", count(rep.ReadFiles, "file", "files"), size(rep.ReadBytes), size(rep.SentBytes),
		size(rep.Bytes), count(rep.Files, "file", "files"), seconds)
	if rep.Unstable > 0 {
		e.note("%s written while they were read, and saved as they were then", was(rep.Unstable))
	}
}

// rehearseBackup says what a backup would save.
func (e *env) rehearseBackup(ctx context.Context, b backup.Options) error {
	rep, err := backup.Rehearse(ctx, b, func(c backup.Change) error {
		if e.json {
			e.jsonLine(e.stdout, message{"message_type": "would", "action": c.What, "path": c.Path, "type": agent.TypeName(c.Kind), "size": c.Size})
			return nil
		}
		_, err := fmt.Fprintf(e.stdout, "%-7s %s\n", c.What, clean(c.Path))
		return err
	})
	if errors.Is(err, backup.ErrNothing) {
		return coded(exitPartial, err)
	}
	if err != nil {
		return err
	}
	e.say("%s: would read %s (%s); %d new, %d changed, %d gone", b.Name, count(rep.ReadFiles, "file", "files"), size(rep.ReadBytes), rep.Added, rep.Changed, rep.Removed)
	for _, p := range rep.Problems {
		e.note("%s: %v", clean(p.Path), p.Err)
	}
	if len(rep.Problems) > 0 {
		return coded(exitPartial, fmt.Errorf("%s could not be looked at", count(int64(len(rep.Problems)), "path", "paths")))
	}
	return nil
}

// backupProgress adds up what a backup tells, for the bar.
func backupProgress(bar *progress, folder string) func(backup.Progress) {
	var mu sync.Mutex
	var sum backup.Progress
	return func(p backup.Progress) {
		mu.Lock()
		sum.Looked, sum.Files, sum.Read, sum.Sent = sum.Looked+p.Looked, sum.Files+p.Files, sum.Read+p.Read, sum.Sent+p.Sent
		now := sum
		mu.Unlock()
		switch {
		case p.Looked > 0:
			bar.update(agent.Progress{Stage: "scan", Folder: folder, Files: now.Looked})
		case p.Read > 0:
			bar.update(agent.Progress{Stage: "read", Folder: folder, Files: now.Files, Bytes: now.Read})
		case now.Read == 0:
			bar.update(agent.Progress{Stage: "upload", Folder: folder, Bytes: now.Sent})
		}
	}
}
