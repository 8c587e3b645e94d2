package syncer_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/meta"
	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/versions"
)

// settle is how long files rest in tests before they are captured.
const settle = 30 * time.Millisecond

// patience is how long a test waits for what must happen, on a machine with much
// else to do.
const patience = 90 * time.Second

// world is a remote and the machines that sync with it.
type world struct {
	t      testing.TB
	mem    *blob.Mem
	keys   *seal.Keys
	folder line.Folder
	ahead  atomic.Int64 // nanoseconds that every machine's clock is ahead
	server *server      // nil: machines reach mem without one
	log    io.Writer    // nil: nobody reads it
}

// far is what a new machine syncs with.
func (w *world) far() far {
	if w.server == nil {
		return w.mem
	}
	return w.server.client()
}

func newWorld(t testing.TB) *world {
	t.Helper()
	keys, err := seal.NewKeys(nil)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, mem: blob.NewMem(time.Now), keys: keys}
	if testing.Verbose() {
		w.log = os.Stderr
	}
	w.folder, err = line.New(w.mem, keys).Create(context.Background(), "docs", "sync")
	if err != nil {
		t.Fatal(err)
	}
	return w
}

// machine is one HOME with the folder.
type machine struct {
	w     *world
	name  string
	home  string // state, spool, database
	dir   string // the folder
	net   *network
	opts  func(*syncer.Options)
	limit int64 // of the spool
	// moment is called between the gate's yes and the step.
	moment func(op disk.Op, path string)

	run *running // nil: stopped
}

// running is a started machine.
type running struct {
	s        *syncer.Syncer
	store    *store.Store
	db       *meta.DB
	history  *meta.Folder
	trees    *versions.Trees
	contents *versions.Contents
	root     *disk.Root
	plain    *syncer.Plain
	folder   *folder.Folder
	cancel   context.CancelFunc
	work     sync.WaitGroup
}

func (w *world) machine(name string) *machine {
	home := filepath.Join(w.t.TempDir(), name)
	m := &machine{w: w, name: name, home: filepath.Join(home, "state"), dir: filepath.Join(home, "dir"), net: &network{far: w.far()}}
	if err := os.MkdirAll(m.dir, 0o755); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(m.stop)
	return m
}

// start opens everything and runs it, as the agent does.
func (m *machine) start() *machine {
	m.w.t.Helper()
	if err := m.tryStart(); err != nil {
		m.w.t.Fatalf("start %s: %v", m.name, err)
	}
	return m
}

func (m *machine) tryStart() (err error) {
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{cancel: cancel}
	m.run = r
	log := slog.New(slog.DiscardHandler)
	if m.w.log != nil {
		log = slog.New(slog.NewTextHandler(m.w.log, &slog.HandlerOptions{Level: slog.LevelDebug})).With("machine", m.name)
	}
	path := func(name string) string { return filepath.Join(m.home, name) }
	if err := os.MkdirAll(path("spool"), 0o700); err != nil {
		return err
	}
	r.store, err = store.Open(ctx, m.net, m.w.keys, store.Options{
		SpoolDir: path("spool"), SpoolLimit: m.limit, CacheDir: path("cache"), Logger: log,
	})
	if err != nil {
		return err
	}
	if r.db, err = openDatabase(path("db"), log); err != nil {
		return err
	}
	r.history = r.db.Folder(m.w.folder.ID)
	if r.root, err = disk.OpenRoot(m.dir); err != nil {
		return err
	}
	_, baseErr := syncer.ReadBase(path("folder"))
	r.folder, err = folder.Open(folder.Options{
		Root: r.root, Records: r.history.Records(), Settle: settle, ID: m.w.folder.ID, Attach: baseErr != nil,
		TempDir: m.home, Logger: log, Now: time.Now,
	})
	if err != nil {
		return err
	}
	r.trees = versions.NewTrees(&syncer.Chunks{Store: r.store}, m.w.keys.NameSecret())
	r.contents = versions.NewContents(&syncer.Chunks{Store: r.store}, m.w.keys.GearSecret())
	late := &lateApplier{}
	o := syncer.Options{
		ID: m.w.folder.ID, Name: "docs", Kind: "sync", Repository: m.w.keys.RepositoryID(),
		StateDir: path("folder"), QueueDir: path("queue"), Settle: settle,
		Root: r.root, Disk: r.folder, Applier: late, Owners: disk.NewOwners(),
		Hidden: func(n string) bool { return strings.HasPrefix(n, folder.StagePrefix) },
		Trees:  r.trees, Contents: r.contents, Store: r.store, Lines: line.New(m.net, m.w.keys), Meta: r.history,
		Device: m.name, Host: m.name, User: "tester", ScanAtFlush: true,
		Now: func() time.Time { return time.Now().Add(time.Duration(m.w.ahead.Load())) }, Logger: log,
	}
	if m.opts != nil {
		m.opts(&o)
	}
	if r.s, err = syncer.New(o); err != nil {
		return err
	}
	syncer.KeepTime(r.root, func() { r.plain, err = syncer.NewPlain(r.root, m.check(r.s)) })
	if err != nil {
		return err
	}
	late.Applier = r.plain
	r.work.Go(func() { _ = r.folder.Watch(ctx, nil) })
	r.work.Go(func() {
		if err := r.s.Attach(ctx); err == nil {
			_ = r.s.Run(ctx)
		}
	})
	r.work.Go(func() { m.events(ctx, r) })
	return nil
}

// openDatabase makes one that is broken anew, as the agent does.
func openDatabase(dir string, log *slog.Logger) (*meta.DB, error) {
	db, err := meta.Open(dir, log)
	if !errors.Is(err, meta.ErrBroken) {
		return db, err
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	return meta.Open(dir, log)
}

func (m *machine) check(s *syncer.Syncer) func(op disk.Op, path string) error {
	return func(op disk.Op, path string) error {
		err := s.Check(op, path)
		if err == nil && m.moment != nil {
			m.moment(op, path)
		}
		return err
	}
}

// holds tells whether some file has this content.
func (m *machine) holds(content string) bool {
	for _, c := range m.tree() {
		if c == content {
			return true
		}
	}
	return false
}

// events follows the remote's events, and asks while there are none.
func (m *machine) events(ctx context.Context, r *running) {
	for ctx.Err() == nil {
		_ = m.net.Watch(ctx, r.s.Stale, func(e blob.Event) {
			if e.Head.Folder != m.w.folder.ID {
				return
			}
			head, record, err := line.New(m.net, m.w.keys).Open(e)
			if err != nil {
				m.w.t.Errorf("open an event: %v", err)
				return
			}
			learned := len(e.Blobs) > 0 && r.store.Learn(ctx, e.Blobs) == nil
			r.s.HeadMoved(head, record, learned)
		})
		select {
		case <-ctx.Done():
		case <-time.After(20 * time.Millisecond):
			r.s.Kick()
			r.s.Stale()
		}
	}
}

// stop ends a machine; stopped already is fine.
func (m *machine) stop() {
	r := m.run
	if r == nil {
		return
	}
	m.run = nil
	m.end(r)
}

// end closes everything of a run.
func (m *machine) end(r *running) {
	r.cancel()
	r.work.Wait()
	if r.plain != nil {
		syncer.KeepTime(r.root, r.plain.Wait)
	}
	if r.root != nil {
		r.root.Close()
	}
	if r.db != nil {
		if err := r.db.Close(); err != nil {
			m.w.t.Errorf("close the database: %v", err)
		}
	}
	if r.store != nil {
		if err := r.store.Close(); err != nil {
			m.w.t.Errorf("close the store: %v", err)
		}
	}
}

type lateApplier struct{ syncer.Applier }

// flush waits until everything is on the remote.
func (m *machine) flush() {
	m.w.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := m.run.s.Flush(ctx); err != nil {
		m.w.t.Fatalf("flush %s: %v", m.name, err)
	}
}

func (m *machine) write(name, content string) {
	m.w.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.w.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o644); err != nil {
		m.w.t.Fatal(err)
	}
}

func (m *machine) remove(name string) {
	m.w.t.Helper()
	if err := os.RemoveAll(filepath.Join(m.dir, name)); err != nil {
		m.w.t.Fatal(err)
	}
}

// tree is what a directory holds, by path: "dir", or a file's mode and content.
func (m *machine) tree() map[string]string {
	m.w.t.Helper()
	out := map[string]string{}
	err := filepath.WalkDir(m.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			return err
		}
		rel, _ := filepath.Rel(m.dir, path)
		if strings.HasPrefix(rel, folder.StagePrefix) {
			if d.IsDir() {
				return filepath.SkipDir
			}
			return nil // the mark of the root
		}
		switch {
		case rel == ".":
		case d.IsDir():
			out[rel] = "dir"
		case d.Type() == fs.ModeSymlink:
			target, err := os.Readlink(path)
			if err != nil {
				return err
			}
			out[rel] = "-> " + target
		default:
			data, err := os.ReadFile(path)
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil {
				return err
			}
			out[rel] = string(data)
		}
		return nil
	})
	if err != nil {
		m.w.t.Fatal(err)
	}
	return out
}

// treeOf is tree for a snapshot, read by a machine.
func (r *running) treeOf(t testing.TB, root versions.Entry) map[string]string {
	t.Helper()
	ctx := context.Background()
	out := map[string]string{}
	err := r.trees.Walk(ctx, root, func(path string, e versions.Entry) error {
		switch {
		case path == "":
		case e.Kind == versions.Dir:
			out[path] = "dir"
		case e.Kind == versions.Symlink:
			out[path] = "-> " + e.Target
		default:
			c, err := r.contents.Open(ctx, e)
			if err != nil {
				return err
			}
			defer c.Close()
			var b bytes.Buffer
			if _, err := c.WriteTo(&b); err != nil {
				return err
			}
			out[path] = b.String()
		}
		return nil
	})
	if err != nil {
		t.Fatalf("read a snapshot: %v", err)
	}
	return out
}

// head is the line's head now.
func (w *world) head() line.Folder {
	w.t.Helper()
	f, err := line.New(w.mem, w.keys).Folder(context.Background(), w.folder.ID)
	if err != nil {
		w.t.Fatal(err)
	}
	return f
}

// packs are the packs of file content on the remote.
func (w *world) packs() (names []string) {
	w.t.Helper()
	err := w.mem.List(context.Background(), "packs/", "", func(i blob.Info) error {
		names = append(names, i.Name)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return names
}

// forgetCache removes what a machine that stands keeps of the remote's chunks.
func (m *machine) forgetCache() {
	m.w.t.Helper()
	if err := os.RemoveAll(filepath.Join(m.home, "cache")); err != nil {
		m.w.t.Fatal(err)
	}
}

// records are all snapshots on the remote, oldest first.
func (w *world) records() []line.Recorded {
	w.t.Helper()
	var list []line.Recorded
	err := line.New(w.mem, w.keys).Records(context.Background(), w.folder.ID, 0, false, func(r line.Recorded) error {
		list = append(list, r)
		return nil
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return list
}

// eventually waits for what must come true.
func eventually(t testing.TB, what string, ok func() bool) {
	t.Helper()
	end := time.Now().Add(patience)
	for !ok() {
		if time.Now().After(end) {
			t.Fatalf("it never came true: %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

func itoa(n int) string { return fmt.Sprint(n) }

// random is content that nothing compresses.
func random(n int) string {
	b := make([]byte, n)
	rand.Read(b)
	return string(b)
}
