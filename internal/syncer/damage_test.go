package syncer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/internal/syncer"
)

// flip changes one byte of a blob on the remote.
func (w *world) flip(name string) {
	w.t.Helper()
	ctx := context.Background()
	r, err := w.mem.Get(ctx, name, 0, 1<<30)
	if err != nil {
		w.t.Fatal(err)
	}
	data, err := io.ReadAll(r)
	r.Close()
	if err == nil {
		err = w.mem.Delete(ctx, name)
	}
	data[len(data)/2] ^= 1
	if err == nil {
		err = w.mem.Put(ctx, name, bytes.NewReader(data), int64(len(data)))
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

func TestADamagedRecordHindersNobody(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.machine("a")
	for _, c := range []string{"0", "1", "2"} {
		a.write("f", c)
		if c == "0" {
			a.start()
		}
		a.flush()
	}
	bad := w.records()[1]
	w.flip(blob.RecordName(w.folder.ID, bad.Number, bad.Received, bad.SnapshotID.String()))
	b := w.machine("b").start()
	together(t, a, b)
	list, err := b.run.history.Snapshots()
	if err != nil || len(list) != 2 {
		t.Errorf("b knows %d snapshots, want 2 (%v)", len(list), err)
	}
	told := false
	for _, x := range b.run.s.Status().Trouble {
		told = told || errors.Is(x.Err, line.ErrDamaged)
	}
	if !told {
		t.Errorf("status does not say so: %v", b.run.s.Status().Trouble)
	}
	b.write("g", "goes on")
	b.flush()
	together(t, a, b)
}

// Our commit was taken, its answer lost, and another machine has gone on; then
// something is left to do. That is no other line.
func TestACommitThatOthersWentOnFromIsNoOtherLine(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a, b := w.machine("a"), w.machine("b")
	a.write("f", "0")
	a.start().flush()
	b.start()
	together(t, a, b)
	lost := errors.New("connection reset")
	taken := make(chan struct{})
	a.net.set(func() {
		a.net.after = func(_ blob.Commit, err error) error {
			if err != nil {
				return err
			}
			a.net.set(func() { a.net.down, a.net.after = blob.ErrOffline, nil })
			close(taken)
			return lost
		}
	})
	a.write("g", "1")
	<-taken
	together(t, b)
	eventually(t, "b has it", func() bool { return b.tree()["g"] == "1" })
	hold, err := os.OpenFile(filepath.Join(a.dir, "f"), os.O_RDWR, 0) // a has to wait with f
	if err != nil {
		t.Fatal(err)
	}
	defer hold.Close()
	b.write("f", "from b")
	b.write("h", "2")
	b.flush()
	a.net.online()
	eventually(t, "a has what it may have", func() bool { return a.tree()["h"] == "2" })
	a.stop()
	a.start()
	for end := time.Now().Add(1500 * time.Millisecond); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if st := a.run.s.Status(); st.State == syncer.Refused { // it looks once a second
			t.Fatalf("it is refused: %v", st.Err)
		}
	}
	hold.Close()
	together(t, a, b)
}

func TestDamagedContentOfOneFileHindersNoOther(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	a := w.machine("a").start()
	a.write("bad", random(100_000))
	a.flush()
	packs := w.packs()
	a.write("good", random(100_000))
	a.write("dir/also", "fine")
	a.flush()
	damaged := 0
	for _, name := range packs {
		if info, err := w.mem.Stat(context.Background(), name); err == nil && info.Size > 100_000 {
			w.flip(name)
			damaged++
		}
	}
	if damaged != 1 {
		t.Fatalf("%d packs are damaged", damaged)
	}
	b := w.machine("b").start()
	eventually(t, "the others come", func() bool {
		tree := b.tree()
		return tree["good"] == a.tree()["good"] && tree["dir/also"] == "fine"
	})
	eventually(t, "status names the file", func() bool {
		for _, x := range b.run.s.Status().Trouble {
			if x.Path == "bad" && errors.Is(x.Err, store.ErrCorrupt) {
				return true
			}
		}
		return false
	})
	if _, ok := b.tree()["bad"]; ok {
		t.Error("a half of it is visible")
	}
	a.write("bad", "written anew")
	together(t, a, b)
	if list := b.run.s.Status().Trouble; len(list) > 0 {
		t.Errorf("still told: %v", list)
	}
}
