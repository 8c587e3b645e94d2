package upkeep_test

import (
	"bytes"
	"errors"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/upkeep"
)

func TestACopyHasEverythingAndGoesOn(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, clock(time.Second))
	f := w.create("docs")
	m := w.writer("a")
	history(t, w, m, f.ID, 6)
	if err := w.lines().Fold(ctx, f.ID, time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC)); err != nil {
		t.Fatal(err)
	}
	target := &world{t: t, remote: blob.NewMem(clock(time.Second)), keys: w.keys}
	res, err := upkeep.Copy(ctx, w.remote, target.remote, nil)
	must(t, err)
	if n := target.verify(); n != 6 || res.Objects == 0 || res.Folders != 1 {
		t.Errorf("%d versions, %+v", n, res)
	}
	// Again: only what is new, and what was forgotten is forgotten there, too.
	history(t, w, m, f.ID, 2)
	must(t, forgetAllBut(ctx, w.lines(), w.head(f.ID), 3))
	again, err := upkeep.Copy(ctx, w.remote, target.remote, nil)
	must(t, err)
	if n := target.verify(); n != 3 || again.Bytes >= res.Bytes {
		t.Errorf("%d versions, %+v", n, again)
	}
	a, b := w.head(f.ID), target.head(f.ID)
	if a.Number != b.Number || a.Snapshot != b.Snapshot {
		t.Errorf("%+v, copied %+v", a, b)
	}
	// A copy that somebody uses as a repository is not overwritten.
	history(t, target, target.writer("b"), f.ID, 1)
	if _, err := upkeep.Copy(ctx, w.remote, target.remote, nil); !errors.Is(err, upkeep.ErrDiverged) {
		t.Errorf("%v", err)
	}
}

func TestNothingElseIsOverwrittenByACopy(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, time.Now)
	other := newWorld(t, time.Now)
	f := other.create("theirs")
	history(t, other, other.writer("a"), f.ID, 2)
	if _, err := upkeep.Copy(ctx, w.remote, other.remote, nil); !errors.Is(err, upkeep.ErrForeign) {
		t.Errorf("%v", err)
	}
	plain := blob.NewMem(time.Now)
	must(t, plain.Put(ctx, "something/else", bytes.NewReader([]byte("x")), 1))
	if _, err := upkeep.Copy(ctx, w.remote, plain, nil); !errors.Is(err, upkeep.ErrForeign) {
		t.Errorf("%v", err)
	}
	if n := other.verify(); n != 2 {
		t.Errorf("%d versions", n)
	}
}
