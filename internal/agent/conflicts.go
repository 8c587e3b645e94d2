package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/versions"
)

// Conflict is a conflict copy and the name that it belongs to.
type Conflict struct {
	Path     []byte `json:"path"` // that both contents had; within the folder, whose bytes need not be UTF-8
	Copy     []byte `json:"copy"`
	Host     string `json:"host"`    // that wrote what is in the copy
	Instant  string `json:"instant"` // of the version that first held it
	Mine     bool   `json:"mine"`    // this machine did
	Hash     string `json:"hash"`
	Kind     byte   `json:"kind"` // of the copy: versions.Kind
	Size     int64  `json:"size"`
	MTime    int64  `json:"mtime"`
	Exists   bool   `json:"exists"` // something has the name
	PathSize int64  `json:"path_size"`
	PathTime int64  `json:"path_mtime"`
}

// lookup tells what is at a path now; io/fs.ErrNotExist.
type lookup func(path string) (versions.Entry, error)

// describe tells of conflict copies what their names and the tree say; those
// that are not there any more are left out.
func describe(ctx context.Context, trees *versions.Trees, root versions.Entry, host string, paths []string, at lookup) ([]Conflict, error) {
	list := []Conflict{}
	for _, p := range paths {
		dir, name := splitPath(p)
		c, ok := reconcile.ParseCopy(name)
		if !ok {
			continue
		}
		e, err := at(p)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		of := joinPath(dir, c.Of)
		one := Conflict{
			Copy: []byte(p), Host: c.Host, Instant: c.Instant.String(), Hash: c.Hash,
			Mine: c.Host == reconcile.CleanHost(host),
			Kind: byte(e.Kind), Size: e.Size, MTime: e.MTime,
		}
		current, err := at(of)
		if errors.Is(err, fs.ErrNotExist) && c.Cut {
			if of, err = wholeName(ctx, trees, root, dir, c); err == nil {
				current, err = at(of)
			}
		}
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		if err == nil {
			one.Exists, one.PathSize, one.PathTime = true, current.Size, current.MTime
		}
		one.Path = []byte(of)
		list = append(list, one)
	}
	return list, nil
}

// wholeName finds the name that a copy is of when its own has room for a part
// of it only.
func wholeName(ctx context.Context, trees *versions.Trees, root versions.Entry, dir string, c reconcile.Copy) (string, error) {
	of := joinPath(dir, c.Of)
	e, err := trees.Resolve(ctx, root, dir)
	if err != nil {
		return of, err
	}
	names := []string{}
	err = trees.List(ctx, e.Tree, "", func(e versions.Entry) error {
		if c.Belongs(e.Name) {
			names = append(names, e.Name)
		}
		return nil
	})
	if err == nil && len(names) != 1 {
		err = fmt.Errorf("%s: %w", of, fs.ErrNotExist)
	}
	if err != nil {
		return of, err
	}
	return joinPath(dir, names[0]), nil
}

// conflicts of a folder of this machine.
func (h *host) conflicts(ctx context.Context) ([]Conflict, error) {
	s := h.running()
	if s == nil {
		m, err := h.history().SnapshotAt(zeroInstant)
		if errors.Is(err, fs.ErrNotExist) {
			return []Conflict{}, nil
		}
		if err != nil {
			return nil, err
		}
		// Not by the path: a mount of ours may stand there, and the agent waits
		// for none.
		return conflictsOnDisk(ctx, h.copies, m.Record.Root, h.a.o.Host, "")
	}
	paths, err := h.copies.in(ctx, s.Root())
	if err != nil {
		return nil, err
	}
	return describe(ctx, h.a.trees, s.Root(), h.a.o.Host, paths, s.Look)
}

// conflictsOnDisk are those of a folder that is not served just now: what the
// newest version has and the plain directory still holds.
func conflictsOnDisk(ctx context.Context, c *copies, root versions.Entry, host, dir string) ([]Conflict, error) {
	paths, err := c.in(ctx, root)
	if err != nil {
		return nil, err
	}
	return describe(ctx, c.trees, root, host, paths, func(p string) (versions.Entry, error) {
		if dir == "" {
			return c.trees.Resolve(ctx, root, p)
		}
		info, err := os.Lstat(filepath.Join(dir, filepath.FromSlash(p)))
		if err != nil {
			return versions.Entry{}, err
		}
		kind, _ := disk.Sig{Mode: typeOf(info.Mode())}.Kind()
		return versions.Entry{Kind: kind, Size: info.Size(), MTime: info.ModTime().UnixNano()}, nil
	})
}

func typeOf(m fs.FileMode) uint32 {
	switch m.Type() {
	case 0:
		return disk.TypeFile
	case fs.ModeDir:
		return disk.TypeDir
	case fs.ModeSymlink:
		return disk.TypeLink
	}
	return 0
}

func (a *Agent) serveConflicts(ctx context.Context, r *http.Request) (any, error) {
	h, err := a.find(r.FormValue("folder"))
	if err != nil {
		return nil, err
	}
	return h.conflicts(ctx)
}

// Conflicts lists the conflict copies in a folder, by path: as they are now
// where the folder is on this machine, else in its newest version.
func (r *Reader) Conflicts(ctx context.Context, folder FolderInfo) (list []Conflict, err error) {
	if r.client != nil && folder.Path != "" {
		return list, r.client.get(ctx, "conflicts", url.Values{"folder": {folder.Name}}, &list)
	}
	all, err := r.Snapshots(ctx, folder)
	if err != nil || len(all) == 0 {
		return []Conflict{}, err
	}
	c := &copies{trees: r.trees}
	if r.db != nil {
		c.db = r.db.Folder(folder.ID)
	}
	return conflictsOnDisk(ctx, c, all[len(all)-1].Root, hostName(), folder.Path)
}

// ResolveRequest ends conflicts of a folder of this machine.
type ResolveRequest struct {
	Name   string          `json:"name"`
	Which  []ConflictNames `json:"which"`
	Keep   string          `json:"keep"` // a syncer.Keep
	DryRun bool            `json:"dry_run,omitempty"`
}

// ConflictNames are a name and the copies of it that are meant.
type ConflictNames struct {
	Path   []byte   `json:"path"`
	Copies [][]byte `json:"copies"`
}

// ResolvedConflict is what became of one of them.
type ResolvedConflict struct {
	Path    []byte   `json:"path"`
	Kept    []byte   `json:"kept,omitempty"` // where the content stood that has the name now; none: all are kept
	Removed [][]byte `json:"removed,omitempty"`
	Renamed [][]byte `json:"renamed,omitempty"`
	Error   string   `json:"error,omitempty"` // why it was not done, or not wholly
}

// Keeps are the spellings of what can be kept.
func Keeps() []string {
	var list []string
	for _, k := range []syncer.Keep{syncer.KeepCurrent, syncer.KeepCopy, syncer.KeepNewest, syncer.KeepMine, syncer.KeepTheirs, syncer.KeepBoth} {
		list = append(list, string(k))
	}
	return list
}

// Resolve ends conflicts. What is not kept is in the folder's versions.
func (c *Client) Resolve(ctx context.Context, r ResolveRequest) (list []ResolvedConflict, err error) {
	return list, c.post(ctx, "resolve", r, &list, nil)
}

func (a *Agent) resolve(ctx context.Context, r ResolveRequest) ([]ResolvedConflict, error) {
	h, err := a.find(r.Name)
	if err != nil {
		return nil, err
	}
	s, err := a.served(r.Name)
	if err != nil {
		return nil, err
	}
	var list []syncer.Dispute
	for _, w := range r.Which {
		list = append(list, syncer.Dispute{Path: string(w.Path), Copies: texts(w.Copies)})
	}
	done, err := s.Resolve(ctx, list, syncer.Keep(r.Keep), r.DryRun)
	kick(h.due)
	out := []ResolvedConflict{}
	for _, d := range done {
		one := ResolvedConflict{Path: []byte(d.Path), Kept: []byte(d.Kept), Removed: raws(d.Removed), Renamed: raws(d.Renamed)}
		if d.Err != nil {
			one.Error = d.Err.Error()
		}
		out = append(out, one)
	}
	return out, err
}

func texts(list [][]byte) (out []string) {
	for _, b := range list {
		out = append(out, string(b))
	}
	return out
}

func raws(list []string) (out [][]byte) {
	for _, s := range list {
		out = append(out, []byte(s))
	}
	return out
}

func splitPath(p string) (dir, name string) {
	dir, name = path.Split(p)
	return strings.TrimSuffix(dir, "/"), name
}

func joinPath(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}
