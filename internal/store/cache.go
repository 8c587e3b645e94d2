package store

import (
	"container/list"
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/syncfs/syncfs/internal/atomicfile"
)

// cache keeps parts of the remote on this disk, sealed as they are there, within
// a bound; what was used longest ago goes first. It may be deleted at any time,
// and whoever reads from it verifies what he gets.
type cache struct {
	dir   string // "": nothing is kept
	limit int64
	now   func() time.Time
	log   *slog.Logger

	mu    sync.Mutex // guards all below
	items map[string]*list.Element
	order *list.List // of *cacheItem, the last used in front
	total int64
}

type cacheItem struct {
	key   string
	size  int64
	noted time.Time // when its use was last written to the file's mtime
}

// Keys of the cache: whole packs, blocks of packs, index blobs.
func packKey(d digest) string { return "packs/" + d.String() }

func blockKey(d digest, n int64) string {
	return "blocks/" + d.String() + "." + strconv.FormatInt(n, 10)
}

// indexKey keeps the kind of the blob, so that the cache alone can tell the
// index when the remote is away.
func indexKey(name string) string { return strings.Replace(name, "index/", "index-", 1) }

const cacheTag = "Signature: 8a477f597d28d172789f06886806bc55\n# This is a cache of syncfs. It may be deleted at any time.\n"

// openCache opens the cache in dir. One that cannot be used is no error: the
// store works without.
func openCache(dir string, limit int64, now func() time.Time, log *slog.Logger) *cache {
	c := &cache{dir: dir, limit: limit, now: now, log: log, items: map[string]*list.Element{}, order: list.New()}
	if dir == "" {
		return c
	}
	if err := c.prepare(); err != nil {
		log.Warn("there is no cache on the disk", "error", err)
		c.dir, c.total = "", 0
		clear(c.items)
		c.order.Init()
	}
	return c
}

func (c *cache) prepare() error {
	for _, sub := range []string{"packs", "blocks", "index-delta", "index-run", "index-shard"} {
		if err := os.MkdirAll(filepath.Join(c.dir, sub), 0o700); err != nil {
			return err
		}
	}
	// Backup programs leave out what has the tag; nothing needs it.
	tag := filepath.Join(c.dir, "CACHEDIR.TAG")
	if data, err := os.ReadFile(tag); err != nil || string(data) != cacheTag {
		if err := os.WriteFile(tag, []byte(cacheTag), 0o600); err != nil {
			c.log.Debug("the cache has no tag", "error", err)
		}
	}
	return c.scan()
}

// scan finds what earlier runs have left, by the time of its last use.
func (c *cache) scan() error {
	type found struct {
		item *cacheItem
		used time.Time
	}
	var all []found
	err := filepath.WalkDir(c.dir, func(path string, e fs.DirEntry, err error) error {
		if errors.Is(err, fs.ErrNotExist) {
			return nil // another process uses the cache too
		}
		if err != nil || e.IsDir() || e.Name() == "CACHEDIR.TAG" {
			return err
		}
		info, err := e.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		if atomicfile.IsTemp(e.Name()) {
			if c.now().Sub(info.ModTime()) > noteAfter { // younger ones are being written
				os.Remove(path)
			}
			return nil
		}
		rel, err := filepath.Rel(c.dir, path)
		if err != nil {
			return err
		}
		all = append(all, found{&cacheItem{key: filepath.ToSlash(rel), size: info.Size(), noted: info.ModTime()}, info.ModTime()})
		return nil
	})
	if err != nil {
		return err
	}
	slices.SortFunc(all, func(a, b found) int { return b.used.Compare(a.used) })
	for _, f := range all {
		c.items[f.item.key] = c.order.PushBack(f.item)
		c.total += f.item.size
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trim()
	return nil
}

func (c *cache) path(key string) string { return filepath.Join(c.dir, filepath.FromSlash(key)) }

// trim needs mu.
func (c *cache) trim() {
	for c.total > c.limit && c.order.Len() > 0 {
		c.remove(c.order.Back())
	}
}

// remove needs mu.
func (c *cache) remove(el *list.Element) {
	item := el.Value.(*cacheItem)
	c.order.Remove(el)
	delete(c.items, item.key)
	c.total -= item.size
	if err := os.Remove(c.path(item.key)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		c.log.Warn("the cache cannot remove a file", "error", err)
	}
}

// noteAfter is how exactly the files' times tell the order of use.
const noteAfter = time.Hour

// touch tells whether key is there, and that it is used.
func (c *cache) touch(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	el, ok := c.items[key]
	if !ok {
		return false
	}
	c.order.MoveToFront(el)
	item := el.Value.(*cacheItem)
	if now := c.now(); now.Sub(item.noted) > noteAfter {
		item.noted = now
		// The order of eviction is all that a failure costs.
		_ = os.Chtimes(c.path(key), now, now)
	}
	return true
}

// get reads an item; nil when it is not there.
func (c *cache) get(key string) []byte {
	if !c.touch(key) {
		return nil
	}
	data, err := os.ReadFile(c.path(key))
	if err != nil {
		c.drop(key)
		return nil
	}
	return data
}

// readAt fills buf from an item; false when it cannot.
func (c *cache) readAt(key string, buf []byte, offset int64) bool {
	if !c.touch(key) {
		return false
	}
	f, err := os.Open(c.path(key))
	if err == nil {
		_, err = f.ReadAt(buf, offset)
		f.Close()
	}
	if err != nil {
		c.drop(key)
		return false
	}
	return true
}

// put keeps data, if that can be done: a cache that cannot be written to is no
// error, only slower. It is not synced, since what a crash breaks is noticed.
func (c *cache) put(key string, data []byte) {
	if c.dir == "" || int64(len(data)) > c.limit {
		return
	}
	temp, err := os.CreateTemp(filepath.Dir(c.path(key)), ".tmp-")
	if err != nil {
		c.log.Debug("not cached", "key", key, "error", err)
		return
	}
	_, err = temp.Write(data)
	if cerr := temp.Close(); err == nil {
		err = cerr
	}
	if err == nil {
		err = os.Rename(temp.Name(), c.path(key))
	}
	if err != nil {
		os.Remove(temp.Name())
		c.log.Debug("not cached", "key", key, "error", err)
		return
	}
	c.added(key, int64(len(data)))
}

// adopt takes a file over, which must be on the cache's filesystem; where it
// cannot the file stays where it is.
func (c *cache) adopt(key, path string, size int64) {
	if c.dir == "" || size > c.limit {
		return
	}
	if err := os.Rename(path, c.path(key)); err != nil {
		c.log.Debug("not cached", "key", key, "error", err)
		return
	}
	now := c.now()
	_ = os.Chtimes(c.path(key), now, now)
	c.added(key, size)
}

func (c *cache) added(key string, size int64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.items[key]; ok {
		c.total -= el.Value.(*cacheItem).size
		c.order.Remove(el)
	}
	c.items[key] = c.order.PushFront(&cacheItem{key: key, size: size, noted: c.now()})
	c.total += size
	c.trim()
}

// drop forgets an item, because it is damaged or not needed.
func (c *cache) drop(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if el, ok := c.items[key]; ok {
		c.remove(el)
	}
}

// keys lists what begins with prefix.
func (c *cache) keys(prefix string) []string {
	c.mu.Lock()
	defer c.mu.Unlock()
	var out []string
	for key := range c.items {
		if strings.HasPrefix(key, prefix) {
			out = append(out, key)
		}
	}
	return out
}

func (c *cache) size() int64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.total
}

func (c *cache) has(key string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	_, ok := c.items[key]
	return ok
}
