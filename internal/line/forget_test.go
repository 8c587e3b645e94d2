package line_test

import (
	"errors"
	"reflect"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/versions"
)

func TestRulesAndPinsStayInTheirBytes(t *testing.T) {
	rules := versions.Retention{
		Count:   map[versions.Unit]int{versions.Every: 3, versions.Monthly: versions.All},
		Within:  map[versions.Unit]time.Duration{versions.Every: 24 * time.Hour, versions.Daily: 31 * 24 * time.Hour},
		Younger: time.Hour, Tags: [][]string{{"release", "v1"}, {"keep"}},
	}
	data := line.EncodeRules(rules)
	golden(t, "rules", data)
	back, err := line.DecodeRules(data)
	if must(t, back, err); !reflect.DeepEqual(back, rules) {
		t.Errorf("%+v", back)
	}
	pin := line.EncodePin("user@laptop")
	golden(t, "pin", pin)
	if by, err := line.DecodePin(pin); must(t, by, err) != "user@laptop" {
		t.Errorf("%q", by)
	}
	for cut := range len(data) {
		if _, err := line.DecodeRules(data[:cut]); err == nil {
			t.Errorf("the first %d bytes are taken for rules", cut)
		}
	}
}

func FuzzDecodeRules(f *testing.F) {
	f.Add(line.EncodeRules(versions.DefaultRetention()))
	f.Fuzz(func(t *testing.T, data []byte) {
		r, err := line.DecodeRules(data)
		if err == nil && !slices.Equal(line.EncodeRules(r), data) {
			t.Errorf("% x reads as %+v, which is written otherwise", data, r)
		}
	})
}

func TestThePolicyOfAFolderIsReplacedAndPinsComeAndGo(t *testing.T) {
	l, f := newLines(t)
	folder := grow(t, l, create(t, l, "docs"), 3)
	p, err := l.Policy(t.Context(), folder.ID)
	if must(t, p, err); p.Set || len(p.Pins) > 0 {
		t.Errorf("%+v", p)
	}
	for n := range 3 {
		rules := versions.Retention{Count: map[versions.Unit]int{versions.Daily: n + 1}}
		if err := l.SetRules(t.Context(), folder.ID, rules); err != nil {
			t.Fatal(err)
		}
		p, err := l.Policy(t.Context(), folder.ID)
		if must(t, p, err); !p.Set || !reflect.DeepEqual(p.Rules, rules) {
			t.Errorf("%+v", p)
		}
	}
	if names := f.names(t, "policy/"); len(names) != 1 {
		t.Errorf("%q", names)
	}
	for range 2 {
		if err := l.PutPin(t.Context(), folder.ID, folder.Snapshot, "u@h"); err != nil {
			t.Fatal(err)
		}
	}
	p, err = l.Policy(t.Context(), folder.ID)
	if must(t, p, err); len(p.Pins) != 1 || p.Pins[0].Snapshot != folder.Snapshot || p.Pins[0].By != "u@h" {
		t.Errorf("%+v", p.Pins)
	}
	if err := l.DropPin(t.Context(), folder.ID, folder.Snapshot); err != nil {
		t.Fatal(err)
	}
	if p, err = l.Policy(t.Context(), folder.ID); len(must(t, p, err).Pins) != 0 {
		t.Errorf("%+v", p.Pins)
	}
	// What is damaged must not pass for rules that nobody has set.
	f.replace(t, f.names(t, "policy/")[0], func(b []byte) []byte { b[len(b)-1] ^= 1; return b })
	if _, err := l.Policy(t.Context(), folder.ID); !errors.Is(err, line.ErrDamaged) {
		t.Errorf("%v", err)
	}
}

// Whatever is forgotten, folded and cut off in between: what was to be forgotten
// is gone, and nothing else is.
func TestForgettingTakesExactlyWhatItIsTold(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		l, f := newLines(t)
		folder := create(t, l, "docs")
		kept := map[chunk.ID]bool{}
		gone := map[chunk.ID]struct{}{}
		stop := errors.New("cut off")
		for range rapid.IntRange(1, 5).Draw(rt, "rounds") {
			folder = grow(t, l, folder, rapid.IntRange(1, 12).Draw(rt, "versions"))
			all, err := collect(l, folder.ID)
			must(t, all, err)
			for _, r := range all {
				if _, dropped := gone[r.SnapshotID]; !dropped {
					kept[r.SnapshotID] = true
				}
			}
			if rapid.Bool().Draw(rt, "fold") {
				before := all[rapid.IntRange(0, len(all)-1).Draw(rt, "before")].Received
				if err := l.Fold(t.Context(), folder.ID, before); err != nil {
					rt.Fatal(err)
				}
			}
			for _, r := range all {
				if r.SnapshotID != folder.Snapshot && rapid.IntRange(0, 2).Draw(rt, "forget") == 0 {
					gone[r.SnapshotID] = struct{}{}
					delete(kept, r.SnapshotID)
				}
			}
			var left atomic.Int64 // deletes run beside each other
			left.Store(int64(rapid.IntRange(0, 6).Draw(rt, "cut")))
			f.deletes = func() error {
				if left.Add(-1) == 0 {
					return stop
				}
				return nil
			}
			err = l.Forget(t.Context(), folder.ID, gone)
			f.deletes = nil
			if err != nil && !errors.Is(err, stop) {
				rt.Fatal(err)
			}
			if err := l.Forget(t.Context(), folder.ID, gone); err != nil {
				rt.Fatal(err)
			}
			have := map[chunk.ID]bool{}
			if err := l.AllRecords(t.Context(), folder.ID, func(r line.Recorded) error {
				have[r.SnapshotID] = true
				return nil
			}); err != nil {
				rt.Fatal(err)
			}
			if !reflect.DeepEqual(have, kept) {
				rt.Fatalf("%d versions are left, not %d", len(have), len(kept))
			}
		}
		if err := l.Forget(t.Context(), folder.ID, map[chunk.ID]struct{}{folder.Snapshot: {}}); !errors.Is(err, line.ErrNewest) {
			rt.Errorf("%v", err)
		}
	})
}
