package agent

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/syncfs/syncfs/internal/atomicfile"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/ondemand"
	"github.com/syncfs/syncfs/internal/syncer"
)

// demand brings what of an on-demand folder is not here, and takes it away.
type demand interface {
	syncer.Stubs
	Run(ctx context.Context) error
	Settle()
	Kept() int64
	SetPinned(ctx context.Context, path string, pinned bool) error
	Bring(ctx context.Context, path string, progress func(files, bytes int64)) error
	EvictAll(ctx context.Context, path string) (ondemand.Report, error)
}

// onDemandDir holds what is here of on-demand folders, each in a directory.
func onDemandDir(d config.Dirs) string { return filepath.Join(d.Data, "on-demand") }

func (h *host) onDemand() bool { return h.folder.Content != "" }

// contentPath is the directory that holds the folder's plain files: what is
// mounted over itself or, of an on-demand folder, another one.
func (h *host) contentPath() string {
	if h.onDemand() {
		return filepath.Join(onDemandDir(h.a.o.Dirs), h.folder.Content)
	}
	return h.folder.Path
}

// contentFor makes the directory for what will be here of an on-demand folder;
// "" when everything is.
func (a *Agent) contentFor(r GetRequest, path, id string) (string, error) {
	if !r.OnDemand {
		return "", nil
	}
	if r.NoMount {
		return "", fmt.Errorf("%w: only what is mounted can bring content on demand: leave --no-mount out", ErrRefused)
	}
	if err := checkEmpty(path); err != nil {
		return "", err
	}
	name := fmt.Sprintf("%.8s-%s", id, strings.ToLower(rand.Text()[:8]))
	dir := filepath.Join(onDemandDir(a.o.Dirs), name)
	if err := atomicfile.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	if err := tryStubs(dir); err != nil {
		return "", fmt.Errorf("%w: the disk of %s cannot hold files without their content: %w", ErrRefused, dir, err)
	}
	return name, nil
}

func checkEmpty(path string) error {
	empty, err := isEmptyDir(path)
	if err == nil && !empty {
		err = fmt.Errorf("%w: %s is not empty, and what is in it could not be seen: choose an empty directory, or move its files away", ErrRefused, path)
	}
	return err
}

// checkMountPoint refuses to cover files that somebody has put where an
// on-demand folder is mounted.
func (h *host) checkMountPoint() error {
	if !h.onDemand() {
		return nil
	}
	return checkEmpty(h.folder.Path)
}

// restoreFolded makes a new on-demand folder stand for the newest snapshot, and
// fills its root.
func (h *host) restoreFolded(ctx context.Context, s *syncer.Syncer, root *disk.Root) error {
	_, err := syncer.ReadBase(folderDir(h.a.o.Dirs, h.folder.ID))
	if err != nil {
		if err := checkEmpty(h.contentPath()); err != nil {
			return err
		}
		if err := s.AttachFolded(ctx); err != nil {
			return err
		}
	}
	if err := h.unfoldRoot(ctx, root); err != nil {
		return fmt.Errorf("list the folder: %w", err)
	}
	h.demand.Settle()
	return nil
}

// errNotOnDemand is a folder of which everything is here anyway.
var errNotOnDemand = errors.New("this is no on-demand folder: everything in it is here")

// inDemand finds the on-demand folder of an absolute path.
func (a *Agent) inDemand(path string) (demand, string, error) {
	for _, h := range a.allHosts() {
		if !config.Below(path, h.folder.Path) {
			continue
		}
		if !h.onDemand() {
			return nil, "", fmt.Errorf("%w: %s: %w", ErrRefused, path, errNotOnDemand)
		}
		h.mu.Lock()
		d, ready := h.demand, h.ready
		h.mu.Unlock()
		if d == nil || !ready {
			return nil, "", fmt.Errorf("%w: the folder %q is not served just now", ErrRefused, h.folder.Name)
		}
		rel := strings.TrimPrefix(strings.TrimPrefix(path, h.folder.Path), string(filepath.Separator))
		return d, filepath.ToSlash(rel), nil
	}
	return nil, "", fmt.Errorf("%w: %s", ErrOutside, path)
}

// pin keeps what is at a path here, and brings it; or lets it go.
func (a *Agent) pin(ctx context.Context, r PinRequest, progress func(Progress)) error {
	d, rel, err := a.inDemand(r.Path)
	if err != nil {
		return err
	}
	if err := d.SetPinned(ctx, rel, r.Pin); err != nil || !r.Pin {
		return err
	}
	var mu sync.Mutex // guards all below
	total := Progress{Stage: "fetch"}
	var last time.Time
	tell := func(f, b int64, now bool) {
		mu.Lock()
		defer mu.Unlock()
		total.Files, total.Bytes = total.Files+f, total.Bytes+b
		if t := time.Now(); now || t.Sub(last) >= progressInterval {
			last = t
			progress(total)
		}
	}
	err = d.Bring(ctx, rel, func(f, b int64) { tell(f, b, false) })
	tell(0, 0, true)
	return err
}

func (a *Agent) evict(ctx context.Context, r EvictRequest) (EvictResult, error) {
	d, rel, err := a.inDemand(r.Path)
	if err != nil {
		return EvictResult{}, err
	}
	report, err := d.EvictAll(ctx, rel)
	result := EvictResult{Files: report.Files, Bytes: report.Bytes, Stay: report.Stays}
	for _, why := range report.Why {
		result.Why = append(result.Why, why.Error())
	}
	return result, err
}
