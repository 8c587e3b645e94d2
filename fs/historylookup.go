//go:build linux

package fs

import (
	"context"
	"errors"
	"hash/fnv"
	iofs "io/fs"
	"slices"

	"github.com/hanwen/go-fuse/v2/fuse"
	"golang.org/x/sys/unix"

	"github.com/syncfs/syncfs/versions"
)

// The names in .versions that are no instants.
const (
	latestName     = "latest"
	incompleteName = ".incomplete"
	tagName        = "CACHEDIR.TAG"
)

// Lookup finds one name.
func (h *History) Lookup(cancel <-chan struct{}, in *fuse.InHeader, name string, out *fuse.EntryOut) fuse.Status {
	n := h.nodes.get(in.NodeId)
	if n == nil {
		return fuse.Status(unix.ESTALE)
	}
	ctx := requestContext(cancel)
	switch n.kind {
	case versionsNode:
		return h.lookupVersion(ctx, n, name, out)
	case followDir:
		if name == h.o.VersionsName {
			return h.EnterDir(cancel, n.dir.path, out)
		}
		return h.lookupEntry(ctx, n, name, out)
	case frozenDir:
		return h.lookupEntry(ctx, n, name, out)
	}
	return fuse.ENOTDIR
}

// lookupEntry finds a name in a directory of the past.
func (h *History) lookupEntry(ctx context.Context, n *pastNode, name string, out *fuse.EntryOut) fuse.Status {
	tree, err := h.treeOf(ctx, n)
	if err != nil {
		return h.failed("directory "+n.where(), err)
	}
	e, place, err := h.lookup(ctx, n.dir, tree, name)
	if err != nil {
		return h.failed("lookup of "+name+" in "+n.where(), err)
	}
	if e == nil {
		if !n.dir.frozen {
			return fuse.ENOENT
		}
		// A zero node id with a time is a name that the kernel keeps as missing.
		*out = fuse.EntryOut{EntryValid: frozenValid}
		return fuse.OK
	}
	h.nodes.mu.Lock()
	id, ino := h.childLocked(n, e, place)
	h.nodes.mu.Unlock()
	h.pruneSoon()
	entryFound(n, id, ino, e, out)
	return fuse.OK
}

// childLocked is the node of entry e in directory n, with one more lookup. Its
// place in the listing is -1 when it is not known. The caller holds nodes.mu.
func (h *History) childLocked(n *pastNode, e *versions.Entry, place int) (id, ino uint64) {
	if e.Kind != versions.Dir {
		if id, ok := h.nodes.place(n, place); ok {
			return id, entryIno(n, e)
		}
	}
	key := nodeKey{parent: n.id, name: e.Name}
	if !n.dir.frozen {
		key = h.followingKey(n, e)
	}
	c := h.nodes.findLocked(key, func(c *pastNode) {
		c.parent, c.name, c.kind = n, key.name, frozenFile
		if !n.dir.frozen {
			c.name = e.Name
		}
		c.ino = entryIno(n, e)
		if e.Kind != versions.Dir {
			return
		}
		c.kind = frozenDir
		c.dir = &pastDir{tree: e.Tree, frozen: true}
		if !n.dir.frozen {
			c.kind = followDir
			c.dir = &pastDir{path: join(n.dir.path, e.Name)}
		}
	})
	return c.id, c.ino
}

// followingKey is the key of an entry whose directory changes: a directory goes
// by its path; a file that changed is another file, so that nobody's page cache
// or open file is changed below him.
func (h *History) followingKey(n *pastNode, e *versions.Entry) nodeKey {
	if e.Kind == versions.Dir {
		return followKey(join(n.dir.path, e.Name))
	}
	sum := fnv.New128a()
	sum.Write(versions.AppendEntry(nil, *e))
	return nodeKey{parent: n.id, name: e.Name + "\x00" + string(sum.Sum(nil))}
}

func join(dir, name string) string {
	if dir == "" {
		return name
	}
	return dir + "/" + name
}

// entryFound answers with entry e of directory n.
func entryFound(n *pastNode, id, ino uint64, e *versions.Entry, out *fuse.EntryOut) {
	fillAttr(&out.Attr, e, ino)
	valid := uint64(listValid)
	if n.dir.frozen {
		valid = frozenValid
	}
	entryOut(out, id, valid, valid)
}

// follow is a directory as of now, in a mount that follows.
func (h *History) follow(ctx context.Context, n *pastNode) (versions.Entry, error) {
	epoch := h.epoch.Load() + 1
	n.dir.mu.Lock()
	if n.dir.epoch == epoch {
		defer n.dir.mu.Unlock()
		return n.dir.now, nil
	}
	n.dir.mu.Unlock()
	at, err := h.newest(ctx)
	if err != nil {
		return versions.Entry{}, err
	}
	e := versions.Entry{Kind: versions.Dir, Mode: 0o555}
	if !at.IsZero() {
		e, err = h.o.Source.Dir(ctx, n.dir.path, at)
	}
	if errors.Is(err, iofs.ErrNotExist) {
		err = unix.ESTALE
	}
	if err != nil {
		return e, err
	}
	n.dir.mu.Lock()
	defer n.dir.mu.Unlock()
	n.dir.now, n.dir.epoch = e, epoch
	return e, nil
}

// lookupVersion finds a name in .versions: an instant, or any other spelling of
// a time. Absent names are never kept by the kernel.
func (h *History) lookupVersion(ctx context.Context, n *pastNode, name string, out *fuse.EntryOut) fuse.Status {
	list, complete, err := h.momentsOf(ctx, n.dir.path)
	if err != nil {
		return h.failed("moments of "+n.dir.path, err)
	}
	switch name {
	case tagName:
		h.specialFound(n, tagNode, name, out)
		return fuse.OK
	case incompleteName:
		if complete {
			return fuse.ENOENT
		}
		h.specialFound(n, incompleteNode, name, out)
		return fuse.OK
	}
	if at, err := versions.ParseInstant(name); err == nil {
		if i, ok := slices.BinarySearchFunc(list, at, compareMoment); ok {
			return h.instantFound(ctx, n, list[i], out)
		}
	}
	m, ok := h.pick(list, name)
	if !ok {
		return fuse.ENOENT
	}
	h.aliasFound(n, name, m.Instant.String(), out)
	return fuse.OK
}

func compareMoment(m Moment, at versions.Instant) int { return m.Instant.Compare(at) }

// pick is the moment whose state held at the time that name spells.
func (h *History) pick(list []Moment, name string) (m Moment, ok bool) {
	now := h.o.Now()
	when, err := versions.ParseWhen(name, now, h.o.Location)
	if err != nil || len(list) == 0 {
		return m, false
	}
	if !when.Exact.IsZero() {
		// The folder may have that instant, though this directory did not
		// change then.
		if when.Exact.Time().After(now) && when.Exact.Compare(list[len(list)-1].Instant) > 0 {
			return m, false
		}
		i, _ := slices.BinarySearchFunc(list, when.Exact, compareMoment)
		if i == 0 {
			return m, false
		}
		return list[i-1], true
	}
	instants := make([]versions.Instant, len(list))
	for i := range list {
		instants[i] = list[i].Instant
	}
	i, ok := when.Pick(instants, now)
	if !ok {
		return m, false
	}
	return list[i], true
}

// instantFound answers with the directory of an instant.
func (h *History) instantFound(ctx context.Context, n *pastNode, m Moment, out *fuse.EntryOut) fuse.Status {
	e, err := h.o.Source.Dir(ctx, n.dir.path, m.Instant)
	if err != nil {
		return h.failed("directory "+n.dir.path+" at "+m.Instant.String(), err)
	}
	name := m.Instant.String()
	child := h.nodes.find(nodeKey{parent: n.id, name: name}, func(c *pastNode) {
		c.parent, c.name, c.kind = n, name, frozenDir
		c.ino = newIno(h.o.Folder, name, n.dir.path)
		c.dir = &pastDir{tree: m.Tree, entry: &e, frozen: true}
	})
	instantAttr(&out.Attr, &e, child.ino, m.Instant)
	entryOut(out, child.id, instantValid, frozenValid)
	return fuse.OK
}

// aliasFound answers with a symlink to an instant. It is another node for every
// target, since the kernel may keep where a symlink points.
func (h *History) aliasFound(n *pastNode, name, target string, out *fuse.EntryOut) {
	child := h.nodes.find(nodeKey{parent: n.id, name: name + "\x00" + target}, func(c *pastNode) {
		c.parent, c.name, c.kind = n, target, aliasNode
		c.ino = childIno(childIno(n.ino, name), target)
	})
	specialAttr(&out.Attr, child)
	entryOut(out, child.id, 0, 0)
}

func (h *History) specialFound(n *pastNode, kind pastKind, name string, out *fuse.EntryOut) {
	child := h.nodes.find(nodeKey{parent: n.id, name: name}, func(c *pastNode) {
		c.parent, c.name, c.kind = n, name, kind
		c.ino = childIno(n.ino, name)
	})
	specialAttr(&out.Attr, child)
	entryOut(out, child.id, listValid, listValid)
}
