package upkeep_test

import (
	"slices"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/line"
	"github.com/syncfs/syncfs/internal/upkeep"
	"github.com/syncfs/syncfs/versions"
)

func keepLast(n int) versions.Retention {
	return versions.Retention{Count: map[versions.Unit]int{versions.Every: n}}
}

// reasons of the versions of a plan, by position.
func reasons(p upkeep.Plan) (out [][]string) {
	for _, d := range p.All {
		out = append(out, d.Reasons)
	}
	return out
}

func TestPinsAndBasesOfAbsentMachinesAreSpared(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, clock(24*time.Hour)) // a day with every call
	f := w.create("docs")
	m := w.writer("a")
	history(t, w, m, f.ID, 3)
	lines := w.lines()
	base := w.head(f.ID)
	must(t, lines.PutBase(ctx, f.ID, line.Base{
		Device: "00112233445566778899aabbccddeeff", Host: "laptop", Number: base.Number, Snapshot: base.Snapshot,
	}))
	history(t, w, m, f.ID, 2)
	must(t, lines.PutPin(ctx, f.ID, w.head(f.ID).Snapshot, "u@h"))
	history(t, w, m, f.ID, 2)
	p, err := upkeep.Decide(ctx, lines, w.head(f.ID), keepLast(1), time.UTC)
	must(t, err)
	got := reasons(p)
	if len(got) != 7 || !slices.Equal(got[2], []string{"base of laptop"}) || !slices.Equal(got[4], []string{"pinned"}) ||
		!slices.Equal(got[6], []string{"newest", "every"}) || got[0] != nil || got[1] != nil || got[3] != nil || got[5] != nil {
		t.Errorf("%q", got)
	}
	// After half a year it is not waited for any more.
	for w.head(f.ID).Received.Sub(base.Received) < 200*24*time.Hour {
		history(t, w, m, f.ID, 5)
	}
	p, err = upkeep.Decide(ctx, lines, w.head(f.ID), keepLast(1), time.UTC)
	must(t, err)
	if p.All[2].Keep || !p.All[4].Keep {
		t.Errorf("%q", reasons(p)[:6])
	}
}

func TestRulesThatKeepNothingAreNoticed(t *testing.T) {
	w := newWorld(t, clock(time.Second))
	f := w.create("docs")
	history(t, w, w.writer("a"), f.ID, 3)
	none := versions.Retention{Tags: [][]string{{"nothing has this"}}}
	p, err := upkeep.Decide(t.Context(), w.lines(), w.head(f.ID), none, time.UTC)
	must(t, err)
	if !p.KeepsNothing() || len(p.Forgotten()) != 2 {
		t.Errorf("%q", reasons(p))
	}
	p, err = upkeep.Decide(t.Context(), w.lines(), w.head(f.ID), keepLast(2), time.UTC)
	if must(t, err); p.KeepsNothing() {
		t.Errorf("%q", reasons(p))
	}
}

func TestWhatIsUnattendedThinsByTimeAndHoldsAFlood(t *testing.T) {
	ctx := t.Context()
	w := newWorld(t, clock(time.Hour))
	f := w.create("docs")
	m := w.writer("a")
	history(t, w, m, f.ID, 30)
	lines := w.lines()
	before := w.verify()
	// Counting alone is not applied.
	must(t, lines.SetRules(ctx, f.ID, keepLast(1)))
	p, err := upkeep.Unattended(ctx, lines, w.head(f.ID), time.UTC)
	if must(t, err); len(p.Forgotten()) != 0 || w.verify() != before {
		t.Errorf("%d versions were forgotten", len(p.Forgotten()))
	}
	// Days are thinned.
	must(t, lines.SetRules(ctx, f.ID, versions.Retention{Count: map[versions.Unit]int{versions.Daily: versions.All}}))
	p, err = upkeep.Unattended(ctx, lines, w.head(f.ID), time.UTC)
	must(t, err)
	if n := w.verify(); len(p.Forgotten()) == 0 || n != before-len(p.Forgotten()) {
		t.Errorf("%d of %d versions are left, %d were forgotten", n, before, len(p.Forgotten()))
	}
}

func TestASuddenFloodOfVersionsIsNoticed(t *testing.T) {
	start := time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)
	var list []time.Time
	for day := range 20 {
		for n := range 10 {
			list = append(list, start.Add(time.Duration(day)*24*time.Hour+time.Duration(n)*time.Hour))
		}
	}
	if flooded, _, _ := versions.Flooded(list); flooded {
		t.Error("ten a day are no flood")
	}
	last := list[len(list)-1]
	for n := range 300 {
		list = append(list, last.Add(time.Duration(n)*time.Minute))
	}
	if flooded, now, usual := versions.Flooded(list); !flooded || now < 300 || usual != 10 {
		t.Errorf("%v, %d, %d", flooded, now, usual)
	}
	if flooded, _, _ := versions.Flooded(list[200:]); flooded {
		t.Error("a folder without a past is flooded")
	}
}
