package upkeep_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/internal/upkeep"
	"github.com/syncfs/syncfs/versions"
)

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// world is a remote and its keys; an hour passes there with every call when
// hourly is set.
type world struct {
	t      testing.TB
	remote blob.Store
	keys   *seal.Keys
}

func newWorld(t testing.TB, now func() time.Time) *world {
	t.Helper()
	remote := blob.NewMem(now)
	keys, err := store.Init(context.Background(), remote, "p", "test", nil, store.WorkFactor(2))
	must(t, err)
	return &world{t: t, remote: remote, keys: keys}
}

// clock is one that steps on with every call.
func clock(step time.Duration) func() time.Time {
	var mu sync.Mutex
	now := time.Date(2025, 1, 31, 20, 0, 0, 0, time.UTC)
	return func() time.Time {
		mu.Lock()
		defer mu.Unlock()
		now = now.Add(step)
		return now
	}
}

func (w *world) lines() *line.Lines { return line.New(w.remote, w.keys) }

// reader is a store without spool and cache.
func (w *world) reader(hook func(string) error) *store.Store {
	w.t.Helper()
	s, err := store.Open(context.Background(), w.remote, w.keys, store.Options{Hook: hook})
	must(w.t, err)
	w.t.Cleanup(func() { s.Close() })
	return s
}

func (w *world) prune(o store.PruneOptions, hook func(string) error) (store.PruneResult, error) {
	s := w.reader(hook)
	defer s.Close()
	return s.Prune(context.Background(), upkeep.Roots{Lines: w.lines(), Chunks: s}, o)
}

// writer is a machine that follows the protocol of writers.
type writer struct {
	w     *world
	store *store.Store
	lines *line.Lines
	trees *versions.Trees
	files *versions.Contents
	name  string
	at    int64
}

func (w *world) writer(name string) *writer {
	w.t.Helper()
	return w.writerIn(name, w.t.TempDir())
}

func (w *world) writerIn(name, dir string) *writer {
	w.t.Helper()
	s, err := store.Open(context.Background(), w.remote, w.keys, store.Options{SpoolDir: filepath.Join(dir, "spool")})
	must(w.t, err)
	w.t.Cleanup(func() { s.Close() })
	return &writer{
		w: w, store: s, lines: w.lines(), name: name,
		trees: versions.NewTrees(s, w.keys.NameSecret()), files: versions.NewContents(s, w.keys.GearSecret()),
	}
}

// commit makes a version of the folder whose files have these contents; it
// decides anew when another was first.
func (m *writer) commit(ctx context.Context, folder string, files map[string][]byte) (chunk.ID, error) {
	for {
		head, err := m.lines.Folder(ctx, folder)
		if err != nil {
			return chunk.ID{}, err
		}
		id, err := m.commitOn(ctx, head, files)
		if !errors.Is(err, line.ErrMoved) {
			return id, err
		}
	}
}

func (m *writer) commitOn(ctx context.Context, head line.Folder, files map[string][]byte) (chunk.ID, error) {
	if err := m.store.Refresh(ctx); err != nil { // after the head: the marks
		return chunk.ID{}, err
	}
	snap, err := m.snapshot(ctx, head, files)
	if err != nil {
		return chunk.ID{}, err
	}
	blobs, err := m.store.Small(1 << 20)
	if err != nil {
		return chunk.ID{}, err
	}
	if blobs == nil || rand.N(2) == 0 {
		if err := m.store.Upload(ctx, nil); err != nil {
			return chunk.ID{}, err
		}
		blobs = nil
	}
	names, _ := m.store.Pending()
	if _, err := m.lines.Commit(ctx, head, snap, blobs); err != nil {
		return chunk.ID{}, err
	}
	return snap.ID(), m.store.Committed(ctx, names)
}

// snapshot stores a tree and makes its record; everything is durable here.
func (m *writer) snapshot(ctx context.Context, head line.Folder, files map[string][]byte) (*versions.Snapshot, error) {
	var entries []versions.Entry
	total := int64(0)
	for _, name := range sorted(files) {
		e, err := m.files.Write(ctx, bytes.NewReader(files[name]))
		if err != nil {
			return nil, err
		}
		e.Name, e.Mode = name, 0o644
		entries = append(entries, e)
		total += e.Size
	}
	tree, err := m.trees.Write(ctx, entries)
	if err != nil {
		return nil, err
	}
	if err := m.store.Flush(ctx); err != nil {
		return nil, err
	}
	m.at++
	snap := &versions.Snapshot{
		Folder: head.ID, Instant: versions.NextInstant(time.Unix(1738354530+m.at, 0), head.Instant),
		Root: versions.Entry{Kind: versions.Dir, Mode: 0o755, Tree: tree, Count: int64(len(entries)), Size: total},
		Host: m.name, User: "u", Device: "00112233445566778899aabbccddeeff", Kind: "sync",
	}
	if !head.Snapshot.IsZero() {
		snap.Parents = []chunk.ID{head.Snapshot}
	}
	return snap, nil
}

func sorted(files map[string][]byte) []string {
	var names []string
	for i := range 64 {
		if name := fmt.Sprintf("f%02d", i); files[name] != nil {
			names = append(names, name)
		}
	}
	return names
}

// content is n bytes that do not compress, others for every seed.
func content(seed, n int) []byte {
	out := make([]byte, n)
	var key [32]byte
	key[0], key[1], key[2] = byte(seed), byte(seed>>8), byte(seed>>16)
	rand.NewChaCha8(key).Read(out)
	return out
}

// verify reads every version of every folder whole, as a machine that knows
// nothing yet; it returns how many there are.
func (w *world) verify() (n int) {
	w.t.Helper()
	ctx := context.Background()
	s := w.reader(nil)
	defer s.Close()
	trees, files := versions.NewTrees(s, w.keys.NameSecret()), versions.NewContents(s, w.keys.GearSecret())
	lines := w.lines()
	heads, err := lines.Folders(ctx)
	must(w.t, err)
	for _, h := range heads {
		must(w.t, lines.AllRecords(ctx, h.ID, func(rec line.Recorded) error {
			n++
			err := trees.Walk(ctx, rec.Root, func(path string, e versions.Entry) error {
				if e.Kind != versions.File {
					return nil
				}
				r, err := files.Open(ctx, e)
				if err != nil {
					return err
				}
				defer r.Close()
				read, err := r.WriteTo(io.Discard)
				if err == nil && read != e.Size {
					err = io.ErrUnexpectedEOF
				}
				return err
			})
			if err != nil {
				w.t.Errorf("%s, version %v (number %d): %v", h.Name, rec.Instant, rec.Number, err)
			}
			return nil
		}))
	}
	return n
}

func (w *world) create(name string) line.Folder {
	w.t.Helper()
	f, err := w.lines().Create(context.Background(), name, "sync")
	must(w.t, err)
	return f
}

func (w *world) head(id string) line.Folder {
	w.t.Helper()
	f, err := w.lines().Folder(context.Background(), id)
	must(w.t, err)
	return f
}

func (w *world) names(prefix string) (names []string) {
	w.t.Helper()
	must(w.t, w.remote.List(context.Background(), prefix, "", func(i blob.Info) error {
		names = append(names, i.Name)
		return nil
	}))
	return names
}

// jumpy is a store in which others come first at every step.
type jumpy struct {
	blob.Store
}

func (j jumpy) pause() {
	for range rand.N(6) {
		runtime.Gosched()
	}
	if rand.N(8) == 0 {
		time.Sleep(time.Duration(rand.N(300)) * time.Microsecond)
	}
}

func (j jumpy) Put(ctx context.Context, name string, r io.ReaderAt, size int64) error {
	j.pause()
	return j.Store.Put(ctx, name, r, size)
}

func (j jumpy) Get(ctx context.Context, name string, offset, length int64) (io.ReadCloser, error) {
	j.pause()
	return j.Store.Get(ctx, name, offset, length)
}

func (j jumpy) List(ctx context.Context, prefix, after string, fn func(blob.Info) error) error {
	j.pause()
	return j.Store.List(ctx, prefix, after, fn)
}

func (j jumpy) Delete(ctx context.Context, name string) error {
	j.pause()
	return j.Store.Delete(ctx, name)
}

func (j jumpy) Commit(ctx context.Context, folder string, c blob.Commit) (blob.Head, error) {
	j.pause()
	return j.Store.Commit(ctx, folder, c)
}

// everyPack is a part to check.
func everyPack(string) bool { return true }
