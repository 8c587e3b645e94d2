package blob

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// Mem is a store in memory.
type Mem struct {
	now func() time.Time
	hub hub

	mu      sync.RWMutex // guards objects, heads
	objects map[string]memObject
	heads   map[string]Head
}

type memObject struct {
	data     []byte // never written again
	modified time.Time
}

var (
	_ Store   = (*Mem)(nil)
	_ Watcher = (*Mem)(nil)
)

// NewMem makes an empty store. now may be nil.
func NewMem(now func() time.Time) *Mem {
	if now == nil {
		now = time.Now
	}
	return &Mem{now: now, objects: map[string]memObject{}, heads: map[string]Head{}}
}

// Put is Store.Put.
func (m *Mem) Put(ctx context.Context, name string, r io.ReaderAt, size int64) error {
	if err := checkName(name); err != nil {
		return err
	}
	if size < 0 {
		return fmt.Errorf("put %s: a size of %d bytes", name, size)
	}
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.RLock()
	_, taken := m.objects[name]
	m.mu.RUnlock()
	if taken {
		return fmt.Errorf("put %s: %w", name, fs.ErrExist)
	}
	var buf bytes.Buffer
	if err := copyRange(ctx, &buf, r, size); err != nil {
		return fmt.Errorf("put %s: %w", name, err)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.put(name, buf.Bytes())
}

// put needs mu. data is kept.
func (m *Mem) put(name string, data []byte) error {
	if _, taken := m.objects[name]; taken {
		return fmt.Errorf("put %s: %w", name, fs.ErrExist)
	}
	m.objects[name] = memObject{data: data, modified: m.now()}
	return nil
}

func (m *Mem) object(name string) (memObject, error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	o, ok := m.objects[name]
	if !ok {
		return memObject{}, fmt.Errorf("%s: %w", name, fs.ErrNotExist)
	}
	return o, nil
}

// Get is Store.Get.
func (m *Mem) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	o, err := m.object(name)
	if err != nil {
		return nil, err
	}
	from, n := clip(offset, length, int64(len(o.data)))
	return io.NopCloser(bytes.NewReader(o.data[from : from+n])), nil
}

// Stat is Store.Stat.
func (m *Mem) Stat(ctx context.Context, name string) (Info, error) {
	if err := ctx.Err(); err != nil {
		return Info{}, err
	}
	o, err := m.object(name)
	if err != nil {
		return Info{}, err
	}
	return Info{Name: name, Size: int64(len(o.data)), Modified: o.modified}, nil
}

// List is Store.List.
func (m *Mem) List(ctx context.Context, prefix, after string, fn func(Info) error) error {
	m.mu.RLock()
	var infos []Info
	for name, o := range m.objects {
		if strings.HasPrefix(name, prefix) && name > after {
			infos = append(infos, Info{Name: name, Size: int64(len(o.data)), Modified: o.modified})
		}
	}
	m.mu.RUnlock()
	slices.SortFunc(infos, func(a, b Info) int { return strings.Compare(a.Name, b.Name) })
	for _, info := range infos {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := fn(info); err != nil {
			return err
		}
	}
	return nil
}

// Delete is Store.Delete.
func (m *Mem) Delete(ctx context.Context, name string) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := checkName(name); err != nil {
		return err
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
	return nil
}

// Head is Heads.Head.
func (m *Mem) Head(ctx context.Context, folder string) (Head, error) {
	if err := ctx.Err(); err != nil {
		return Head{}, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	h, ok := m.heads[folder]
	if !ok {
		return Head{}, fmt.Errorf("head of %s: %w", folder, fs.ErrNotExist)
	}
	return cloneHead(h), nil
}

// ListHeads is Heads.ListHeads.
func (m *Mem) ListHeads(ctx context.Context) ([]Head, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m.mu.RLock()
	defer m.mu.RUnlock()
	var heads []Head
	for _, folder := range slices.Sorted(maps.Keys(m.heads)) {
		heads = append(heads, cloneHead(m.heads[folder]))
	}
	return heads, nil
}

// Commit is Heads.Commit.
func (m *Mem) Commit(ctx context.Context, folder string, c Commit) (Head, error) {
	if err := checkCommit(folder, c); err != nil {
		return Head{}, err
	}
	if err := ctx.Err(); err != nil {
		return Head{}, err
	}
	c = cloneCommit(c)
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, b := range c.Blobs {
		if err := m.put(b.Name, b.Data); err != nil && !errors.Is(err, fs.ErrExist) {
			return Head{}, err
		}
	}
	head, err := nextHead(folder, m.heads[folder], c, m.now())
	if err != nil {
		return Head{}, err
	}
	if c.ID != "" {
		if err := m.put(head.Record, c.Record); err != nil {
			return Head{}, err
		}
	}
	m.heads[folder] = head
	m.hub.publish(newEvent(cloneHead(head), c))
	return cloneHead(head), nil
}

// Watch is Watcher.Watch.
func (m *Mem) Watch(ctx context.Context, ready func(), fn func(Event)) error {
	sub := m.hub.subscribe()
	defer m.hub.unsubscribe(sub)
	ready()
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-sub.slow:
			return errSlow
		case e := <-sub.events:
			fn(e)
		}
	}
}

func cloneHead(h Head) Head {
	h.Sealed = bytes.Clone(h.Sealed)
	return h
}

func cloneCommit(c Commit) Commit {
	c.Sealed, c.Record = bytes.Clone(c.Sealed), bytes.Clone(c.Record)
	c.Blobs = slices.Clone(c.Blobs)
	for i := range c.Blobs {
		c.Blobs[i].Data = bytes.Clone(c.Blobs[i].Data)
	}
	return c
}
