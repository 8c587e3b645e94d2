package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/syncfs/syncfs/internal/atomicfile"
)

// instantLayout is how the product writes an instant everywhere.
const instantLayout = "20060102_150405"

// errUploadName is a name that no upload can have.
var errUploadName = errors.New("not a name for an upload")

// Uploads is the plain area of the File Storage API: files under names without
// directories, as they were sent, not encrypted by us. It lies beside the
// repository, and no name leads out of it. What is replaced or deleted is kept:
//
//	files/NAME
//	kept/INSTANT/NAME   until Sweep; INSTANT is when it was replaced or deleted
//	temp/               uploads under way
//	lock                held while names change: a command may work beside a server
type Uploads struct {
	dir string
	now func() time.Time
	log *slog.Logger

	mu sync.Mutex // guards names within this process: see locked
}

// Upload describes one file of the area.
type Upload struct {
	Name string    `json:"name"`
	Size int64     `json:"size"`
	Time time.Time `json:"time"`           // when it was sent
	Kept string    `json:"kept,omitempty"` // the instant at which it was replaced or deleted; "": it is there
}

// OpenUploads opens the area in dir and makes what is missing.
func OpenUploads(dir string, now func() time.Time, log *slog.Logger) (*Uploads, error) {
	u := &Uploads{dir: dir, now: now, log: log}
	for _, sub := range []string{"files", "kept", "temp"} {
		if err := atomicfile.MkdirAll(filepath.Join(dir, sub), 0o700); err != nil {
			return nil, fmt.Errorf("open uploads: %w", err)
		}
	}
	return u, nil
}

// sweepTemp removes what an earlier server did not finish.
func (u *Uploads) sweepTemp() error { return atomicfile.Sweep(filepath.Join(u.dir, "temp")) }

// locked runs fn while nobody else, in this process or another, changes names.
func (u *Uploads) locked(fn func() error) error {
	u.mu.Lock()
	defer u.mu.Unlock()
	lock, err := os.OpenFile(filepath.Join(u.dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return err
	}
	defer lock.Close()
	if _, err := lockFile(lock, true); err != nil {
		return err
	}
	return fn()
}

// checkUploadName refuses what cannot be one name in one directory.
func checkUploadName(name string) error {
	bad := !filepath.IsLocal(name) || name == "." || len(name) > 255 ||
		!utf8.ValidString(name) || strings.ContainsAny(name, `/\`) || strings.ContainsFunc(name, unicode.IsControl)
	if bad {
		return fmt.Errorf("%q: %w", clip(name), errUploadName)
	}
	return nil
}

func (u *Uploads) file(name string) string { return filepath.Join(u.dir, "files", name) }

// Put stores what r holds under name, durably, and returns its size. What had
// the name before is kept.
func (u *Uploads) Put(name string, r io.Reader) (int64, error) {
	if err := checkUploadName(name); err != nil {
		return 0, err
	}
	f, err := atomicfile.CreateIn(filepath.Join(u.dir, "temp"), u.file(name), 0o600)
	if err != nil {
		return 0, fmt.Errorf("store %s: %w", name, err)
	}
	size, err := io.Copy(f, r)
	if err == nil && size == 0 {
		err = errEmptyUpload
	}
	if err != nil {
		f.Abort()
		return 0, fmt.Errorf("store %s: %w", name, err)
	}
	if err := f.Finish(); err != nil {
		return 0, fmt.Errorf("store %s: %w", name, err)
	}
	err = u.locked(func() error {
		if err := u.keep(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
		return f.Commit()
	})
	if err != nil {
		f.Abort()
		return 0, fmt.Errorf("store %s: %w", name, err)
	}
	return size, nil
}

// keep gives the file of that name a second one among those kept, durably;
// fs.ErrNotExist when there is none. Locked.
func (u *Uploads) keep(name string) error {
	if _, err := os.Lstat(u.file(name)); err != nil {
		return err
	}
	at := u.now().UTC().Format(instantLayout)
	for n := 1; ; n++ {
		dir := filepath.Join(u.dir, "kept", at)
		if n > 1 {
			dir += fmt.Sprintf("_%02d", n)
		}
		if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
			return err
		}
		err := os.Link(u.file(name), filepath.Join(dir, name))
		switch {
		case err == nil:
			return atomicfile.SyncDir(dir)
		case errors.Is(err, fs.ErrExist):
			continue
		}
		return err
	}
}

// List returns what is there, by name.
func (u *Uploads) List() ([]Upload, error) { return u.list("files", "") }

func (u *Uploads) list(sub, kept string) ([]Upload, error) {
	entries, err := os.ReadDir(filepath.Join(u.dir, sub))
	if err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	list := make([]Upload, 0, len(entries))
	for _, e := range entries {
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) || err == nil && !info.Mode().IsRegular() {
			continue // deleted meanwhile, or not ours
		}
		if err != nil {
			return nil, fmt.Errorf("list uploads: %w", err)
		}
		list = append(list, Upload{Name: e.Name(), Size: info.Size(), Time: info.ModTime().UTC(), Kept: kept})
	}
	return list, nil
}

// Open opens a file for reading; fs.ErrNotExist.
func (u *Uploads) Open(name string) (*os.File, error) {
	if err := checkUploadName(name); err != nil {
		return nil, fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	return os.Open(u.file(name))
}

// Delete takes a file away, and keeps it; fs.ErrNotExist.
func (u *Uploads) Delete(name string) error {
	if err := checkUploadName(name); err != nil {
		return fmt.Errorf("%w: %w", fs.ErrNotExist, err)
	}
	err := u.locked(func() error {
		if err := u.keep(name); err != nil {
			return err
		}
		return atomicfile.Remove(u.file(name))
	})
	if err != nil {
		return fmt.Errorf("delete %s: %w", name, err)
	}
	return nil
}

// Kept returns what was replaced or deleted and is still here, oldest first.
func (u *Uploads) Kept() ([]Upload, error) {
	instants, err := os.ReadDir(filepath.Join(u.dir, "kept"))
	if err != nil {
		return nil, fmt.Errorf("list uploads: %w", err)
	}
	var all []Upload
	for _, at := range instants {
		list, err := u.list(filepath.Join("kept", at.Name()), at.Name())
		if errors.Is(err, fs.ErrNotExist) {
			continue // swept meanwhile
		}
		if err != nil {
			return nil, err
		}
		all = append(all, list...)
	}
	return all, nil
}

// Restore brings back what was kept of name at that instant; "" is the newest.
// What has the name now is kept in turn.
func (u *Uploads) Restore(name, at string) (Upload, error) {
	if err := checkUploadName(name); err != nil {
		return Upload{}, err
	}
	all, err := u.Kept()
	if err != nil {
		return Upload{}, err
	}
	i := lastIndex(all, func(k Upload) bool { return k.Name == name && (at == "" || k.Kept == at) })
	if i < 0 {
		return Upload{}, fmt.Errorf("restore %s: nothing is kept of it: %w", name, fs.ErrNotExist)
	}
	old, err := os.Open(filepath.Join(u.dir, "kept", all[i].Kept, name))
	if err != nil {
		return Upload{}, fmt.Errorf("restore %s: %w", name, err)
	}
	defer old.Close()
	_, err = u.Put(name, old)
	return all[i], err
}

func lastIndex[T any](list []T, match func(T) bool) int {
	for i, v := range slices.Backward(list) {
		if match(v) {
			return i
		}
	}
	return -1
}

// Sweep removes for good what was replaced or deleted before.
func (u *Uploads) Sweep(before time.Time) error {
	return u.locked(func() error { return u.sweep(before) })
}

func (u *Uploads) sweep(before time.Time) error {
	instants, err := os.ReadDir(filepath.Join(u.dir, "kept"))
	if err != nil {
		return fmt.Errorf("sweep uploads: %w", err)
	}
	for _, e := range instants {
		text := e.Name()
		at, err := time.Parse(instantLayout, text[:min(len(text), len(instantLayout))])
		if err != nil || !at.Before(before) {
			continue
		}
		if err := os.RemoveAll(filepath.Join(u.dir, "kept", text)); err != nil {
			return fmt.Errorf("sweep uploads: %w", err)
		}
	}
	return nil
}

// sweepLoop sweeps every hour until ctx ends.
func (u *Uploads) sweepLoop(ctx context.Context, keep time.Duration) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		if err := u.Sweep(u.now().Add(-keep)); err != nil {
			u.log.Error("old uploads stay", "err", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}
