//go:build linux

package backup_test

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/backup"
	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/versions"
)

// bench is a repository in memory.
type bench struct {
	t      *testing.T
	remote *remote
	keys   *seal.Keys
	lines  *line.Lines
}

// remote tells before each commit of a snapshot.
type remote struct {
	blob.Store
	mu     sync.Mutex
	before func() // called once
}

// Commit is blob.Heads'.
func (r *remote) Commit(ctx context.Context, folder string, m blob.Commit) (blob.Head, error) {
	r.mu.Lock()
	before := r.before
	if m.Expect > 0 {
		r.before = nil
	}
	r.mu.Unlock()
	if before != nil && m.Expect > 0 {
		before()
	}
	return r.Store.Commit(ctx, folder, m)
}

func (r *remote) set(before func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.before = before
}

func newBench(t *testing.T) *bench {
	t.Helper()
	r := &remote{Store: blob.NewMem(nil)}
	keys, err := store.Init(t.Context(), r, "a passphrase", "test", rand.Reader, store.WorkFactor(1))
	if err != nil {
		t.Fatal(err)
	}
	return &bench{t: t, remote: r, keys: keys, lines: line.New(r, keys)}
}

// machine are options of one machine that saves dir.
func (b *bench) machine(dir string) backup.Options {
	return backup.Options{
		Remote: b.remote, Keys: b.keys, StateDir: b.t.TempDir(), CacheDir: b.t.TempDir(),
		Name: "pc:data", Host: "pc", User: "u", Device: "d", Path: dir,
	}
}

func (b *bench) take(o backup.Options) backup.Report {
	b.t.Helper()
	rep, err := backup.Take(b.t.Context(), o)
	if err != nil {
		b.t.Fatal(err)
	}
	return rep
}

func (b *bench) head() line.Folder {
	b.t.Helper()
	list, err := b.lines.Folders(b.t.Context())
	if err != nil || len(list) != 1 {
		b.t.Fatalf("%d folders, %v", len(list), err)
	}
	return list[0]
}

// saved reads everything that a tree holds, with a machine's nothing at all.
func (b *bench) saved(root versions.Entry) map[string]string {
	b.t.Helper()
	st, err := store.Open(b.t.Context(), b.remote, b.keys, store.Options{})
	if err != nil {
		b.t.Fatal(err)
	}
	defer st.Close()
	trees, contents := versions.NewTrees(st, b.keys.NameSecret()), versions.NewContents(st, b.keys.GearSecret())
	files := map[string]string{}
	err = trees.Walk(b.t.Context(), root, func(path string, e versions.Entry) error {
		if e.Kind != versions.File {
			return nil
		}
		r, err := contents.Open(b.t.Context(), e)
		if err != nil {
			return err
		}
		defer r.Close()
		var data bytes.Buffer
		_, err = r.WriteTo(&data)
		files[path] = data.String()
		return err
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return files
}

// records are all snapshots, oldest first.
func (b *bench) records() (list []line.Recorded) {
	b.t.Helper()
	err := b.lines.Records(b.t.Context(), b.head().ID, 0, false, func(r line.Recorded) error {
		list = append(list, r)
		return nil
	})
	if err != nil {
		b.t.Fatal(err)
	}
	return list
}

func write(t *testing.T, path, data string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(data), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestABackupReadsOnlyWhatHasChanged(t *testing.T) {
	b, dir := newBench(t), t.TempDir()
	write(t, filepath.Join(dir, "a"), "one")
	write(t, filepath.Join(dir, "d/b"), "two")
	o := b.machine(dir)
	if rep := b.take(o); rep.Added != 3 || rep.ReadFiles != 2 || rep.Unchanged {
		t.Errorf("the first: %+v", rep)
	}
	first := b.head()
	if rep := b.take(o); !rep.Unchanged || rep.Instant != first.Instant {
		t.Errorf("with nothing new: %+v", rep)
	}
	write(t, filepath.Join(dir, "d/b"), "three")
	if rep := b.take(o); rep.Unchanged || rep.Added != 0 || rep.Removed != 0 || rep.Files != 2 {
		t.Errorf("with one change: %+v", rep)
	}
	o.Reread = true
	if rep := b.take(o); !rep.Unchanged {
		t.Errorf("all read again: %+v", rep)
	}
	if got := b.saved(b.head().Root); got["a"] != "one" || got["d/b"] != "three" {
		t.Errorf("saved: %v", got)
	}
	if got := b.saved(first.Root); got["d/b"] != "two" {
		t.Errorf("saved at first: %v", got)
	}
	// Records of another tree than the head's prove nothing.
	if err := os.RemoveAll(o.StateDir); err != nil {
		t.Fatal(err)
	}
	o.Reread = false
	if rep := b.take(o); !rep.Unchanged {
		t.Errorf("without records: %+v", rep)
	}
}

func TestTwoBackupsOfOneFolderAtOnceLoseNothing(t *testing.T) {
	b, one, two := newBench(t), t.TempDir(), t.TempDir()
	write(t, filepath.Join(one, "f"), "of one")
	write(t, filepath.Join(two, "f"), "of two")
	b.remote.set(func() { b.take(b.machine(two)) })
	b.take(b.machine(one))
	list := b.records()
	if len(list) != 2 {
		t.Fatalf("%d snapshots", len(list))
	}
	if !slices.Contains(list[1].Parents, list[0].SnapshotID) || list[1].Instant.Compare(list[0].Instant) <= 0 {
		t.Errorf("the later does not come after the earlier: %v, %v", list[0].Instant, list[1].Instant)
	}
	if got := b.saved(list[0].Root)["f"]; got != "of two" {
		t.Errorf("the earlier has %q", got)
	}
	if got := b.saved(list[1].Root)["f"]; got != "of one" {
		t.Errorf("the later has %q", got)
	}
	if list[1].Changed != 1 || list[1].Added != 0 {
		t.Errorf("the later counts against the earlier: +%d ~%d -%d", list[1].Added, list[1].Changed, list[1].Removed)
	}
}

// A prune that comes while a backup is under way takes nothing that the backup
// relies on: what it has marked is stored once more.
func TestAPruneMeanwhileTakesNothing(t *testing.T) {
	b, dir := newBench(t), t.TempDir()
	write(t, filepath.Join(dir, "kept"), "kept")
	write(t, filepath.Join(dir, "gone"), "content that comes back")
	o := b.machine(dir)
	b.take(o)
	if err := os.Remove(filepath.Join(dir, "gone")); err != nil {
		t.Fatal(err)
	}
	b.take(o)
	write(t, filepath.Join(dir, "back"), "content that comes back") // stored already: nothing is sent
	b.remote.set(func() {
		// A prune marks the packs; what it deletes of them is not decided yet.
		st, err := store.Open(t.Context(), b.remote, b.keys, store.Options{})
		if err != nil {
			t.Error(err)
			return
		}
		defer st.Close()
		var packs []string
		err = b.remote.List(t.Context(), "packs/", "", func(i blob.Info) error {
			packs = append(packs, i.Name)
			return nil
		})
		if err != nil || len(packs) == 0 {
			t.Errorf("%d packs, %v", len(packs), err)
			return
		}
		epoch, err := st.Mark(t.Context(), packs)
		if err == nil {
			_, err = b.lines.Bump(t.Context(), b.head(), epoch)
		}
		if err != nil {
			t.Error(err)
		}
		old := b.head().Root
		if got := b.saved(old)["kept"]; got != "kept" {
			t.Errorf("the head has %q", got)
		}
	})
	b.take(o)
	has := func() bool {
		st, err := store.Open(t.Context(), b.remote, b.keys, store.Options{})
		if err != nil {
			t.Fatal(err)
		}
		defer st.Close()
		if err := st.Refresh(t.Context()); err != nil {
			t.Fatal(err)
		}
		trees := versions.NewTrees(st, b.keys.NameSecret())
		e, err := trees.Resolve(t.Context(), b.head().Root, "back")
		if err != nil {
			t.Fatal(err)
		}
		ok, err := st.Has(t.Context(), chunk.Data, e.Pieces[0].ID)
		if err != nil {
			t.Fatal(err)
		}
		return ok
	}
	if !has() {
		t.Error("what the prune had marked was not stored again")
	}
}

func TestAnInterruptedBackupGoesOnWhereItWas(t *testing.T) {
	b, dir := newBench(t), t.TempDir()
	want := map[string]string{}
	for i := range 20 {
		name := fmt.Sprintf("d%d/f%d", i%3, i)
		want[name] = strings.Repeat(name, 1000)
		write(t, filepath.Join(dir, name), want[name])
	}
	o := b.machine(dir)
	o.Slice = 1 // every build ends as soon as it has something
	// What changed just before it was read would be read again in any case.
	o.Now = func() time.Time { return time.Now().Add(time.Hour) }
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	commits := 0
	var commit func()
	commit = func() {
		if commits++; commits == 3 {
			cancel()
			return
		}
		b.remote.set(commit)
	}
	b.remote.set(commit)
	if _, err := backup.Take(ctx, o); !errors.Is(err, context.Canceled) {
		t.Fatalf("the interrupted one: %v", err)
	}
	list := b.records()
	if len(list) < 2 || len(list) > 3 { // the third may have been taken all the same
		t.Fatalf("%d snapshots", len(list))
	}
	for _, r := range list {
		if !slices.Contains(r.Tags, "partial") {
			t.Errorf("version %v is not marked as partial", r.Instant)
		}
	}
	saved := b.saved(list[1].Root)
	for name, data := range saved {
		if want[name] != data {
			t.Errorf("%s was saved as %d bytes", name, len(data))
		}
	}
	o.Slice = 0
	rep := b.take(o)
	if got := b.saved(b.head().Root); !maps.Equal(got, want) {
		t.Errorf("%d files are saved in the end", len(got))
	}
	if len(list) == 2 && rep.ReadFiles != int64(len(want)-len(saved)) {
		t.Errorf("%d files were read again, though %d of %d were saved", rep.ReadFiles, len(saved), len(want))
	}
	if newest := b.records(); slices.Contains(newest[len(newest)-1].Tags, "partial") {
		t.Error("the last version is marked as partial")
	}
}

func TestWhatIsBeingWrittenIsSavedAsItIs(t *testing.T) {
	b, dir := newBench(t), t.TempDir()
	path := filepath.Join(dir, "log")
	write(t, path, strings.Repeat("x", 1<<20))
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_APPEND, 0)
	if err != nil {
		t.Fatal(err)
	}
	stop, ended := make(chan struct{}), make(chan struct{})
	go func() { // it grows for as long as it is read
		defer close(ended)
		for {
			select {
			case <-stop:
				return
			default:
				if _, err := f.WriteString("yyyyyyyy"); err != nil {
					t.Error(err)
					return
				}
			}
		}
	}()
	rep, err := backup.Take(t.Context(), b.machine(dir))
	close(stop)
	<-ended
	f.Close()
	if err != nil {
		t.Fatal(err)
	}
	if rep.Unstable != 1 || rep.Left != 0 || rep.Files != 1 || rep.Bytes < 1<<20 {
		t.Errorf("%+v", rep)
	}
	if got := b.saved(b.head().Root)["log"]; !strings.HasPrefix(got, strings.Repeat("x", 1<<20)) || int64(len(got)) != rep.Bytes {
		t.Errorf("%d bytes were saved", len(got))
	}
}

func TestWhatVanishesMeanwhileIsGone(t *testing.T) {
	b, dir := newBench(t), t.TempDir()
	write(t, filepath.Join(dir, "d/f"), "x")
	write(t, filepath.Join(dir, "stays"), "y")
	o := b.machine(dir)
	b.take(o)
	write(t, filepath.Join(dir, "d/f"), "another content")
	var once sync.Once
	o.Progress = func(p backup.Progress) {
		if p.Looked > 0 {
			once.Do(func() { os.RemoveAll(filepath.Join(dir, "d")) })
		}
	}
	if rep := b.take(o); len(rep.Problems) > 0 || rep.Left > 1 {
		t.Errorf("%+v", rep)
	}
	o.Progress = nil
	b.take(o)
	if got := b.saved(b.head().Root); len(got) != 1 || got["stays"] != "y" {
		t.Errorf("saved: %v", got)
	}
}

func TestPatternsThatMatchNothingSaveNothing(t *testing.T) {
	b, dir := newBench(t), t.TempDir()
	write(t, filepath.Join(dir, "a.txt"), "x")
	o := b.machine(dir)
	b.take(o)
	before := b.head()
	o.Select.Patterns = []string{"*.docx"}
	if _, err := backup.Take(t.Context(), o); !errors.Is(err, backup.ErrNothing) {
		t.Errorf("got %v", err)
	}
	if b.head().Snapshot != before.Snapshot {
		t.Error("a version without the file was made")
	}
	o.Select.Patterns = nil
	if rep := b.take(o); !rep.Unchanged {
		t.Errorf("after that: %+v", rep)
	}
	o.Path = filepath.Join(dir, "nothing")
	if _, err := backup.Take(t.Context(), o); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of what is not there: %v", err)
	}
}

func TestAStreamIsOneFile(t *testing.T) {
	b := newBench(t)
	o := b.machine("")
	data := strings.Repeat("a dump of a database\n", 200_000)
	rep, err := backup.TakeStream(t.Context(), o, "dump.sql", strings.NewReader(data))
	if err != nil {
		t.Fatal(err)
	}
	if got := b.saved(b.head().Root)["dump.sql"]; got != data || rep.Files != 1 || rep.Added != 1 {
		t.Errorf("%d bytes were saved: %+v", len(got), rep)
	}
	if rep, err = backup.TakeStream(t.Context(), o, "dump.sql", strings.NewReader(data)); err != nil || !rep.Unchanged {
		t.Errorf("the same again: %+v, %v", rep, err)
	}
	broken := errors.New("broken")
	if _, err := backup.TakeStream(t.Context(), o, "dump.sql", &failing{broken}); !errors.Is(err, broken) {
		t.Errorf("a stream that fails: %v", err)
	}
	for _, name := range []string{"", "..", "a/b"} {
		if _, err := backup.TakeStream(t.Context(), o, name, strings.NewReader("x")); err == nil {
			t.Errorf("the name %q was taken", name)
		}
	}
	if got := b.saved(b.head().Root)["dump.sql"]; got != data {
		t.Error("a failure has changed what is saved")
	}
}

type failing struct{ err error }

func (f *failing) Read([]byte) (int, error) { return 0, f.err }

// A program that feeds a backup and hangs does not keep it from being interrupted.
// Meanwhile no other backup of this machine works with the same records.
func TestAStreamCanBeInterrupted(t *testing.T) {
	b := newBench(t)
	ctx, cancel := context.WithCancel(t.Context())
	o := b.machine(t.TempDir())
	var second error
	hangs := &hanging{end: make(chan struct{}), reads: func() {
		_, second = backup.Take(t.Context(), o)
		cancel()
	}}
	defer close(hangs.end)
	if _, err := backup.TakeStream(ctx, o, "dump", hangs); !errors.Is(err, context.Canceled) {
		t.Errorf("got %v", err)
	}
	if !errors.Is(second, store.ErrInUse) {
		t.Errorf("the second: %v", second)
	}
}

type hanging struct {
	reads func()
	end   chan struct{}
}

func (h *hanging) Read([]byte) (int, error) {
	h.reads()
	<-h.end
	return 0, io.EOF
}
