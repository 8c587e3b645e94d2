package versions

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// Unit is the length of the buckets that retention counts.
type Unit int

// The units. Every is no bucket: each version for itself.
const (
	Every Unit = iota
	Hourly
	Daily
	Weekly
	Monthly
	Yearly
)

// units are all of them, finest first.
var units = [...]Unit{Every, Hourly, Daily, Weekly, Monthly, Yearly}

// String is how reasons name the unit.
func (u Unit) String() string {
	return [...]string{"every", "hourly", "daily", "weekly", "monthly", "yearly"}[u]
}

// bucket is the bucket that t lies in.
func (u Unit) bucket(t time.Time) string {
	switch u {
	case Hourly:
		return t.Format("2006-01-02 15h -0700")
	case Daily:
		return t.Format("2006-01-02")
	case Weekly:
		year, week := t.ISOWeek()
		return fmt.Sprintf("%d week %02d", year, week)
	case Monthly:
		return t.Format("2006-01")
	case Yearly:
		return t.Format("2006")
	}
	panic(fmt.Sprintf("unit %d has no buckets", u)) // cannot happen: Every is handled apart
}

// All is a count without a bound.
const All = -1

// Retention says which versions of a folder are kept. One version of each
// bucket counts, the newest; what no rule keeps is forgotten. The zero value
// keeps everything.
type Retention struct {
	// Count is how many buckets of a unit that hold a version are kept, newest
	// first; All: every one.
	Count map[Unit]int
	// Within is how far back, from the newest version, the buckets of a unit are
	// kept.
	Within map[Unit]time.Duration
	// Tags: a version that has all tags of one of the lists is kept.
	Tags [][]string
	// Younger keeps what is not older than that, from the newest version; 0: no
	// such rule. It is the other side of forgetting what is older.
	Younger time.Duration
}

// DefaultRetention is what a synced folder has unless its owner says otherwise:
// everything for a day, hourly for a week, daily for a month, weekly for a year,
// monthly for ever.
func DefaultRetention() Retention {
	const day = 24 * time.Hour
	return Retention{
		Within: map[Unit]time.Duration{Every: day, Hourly: 7 * day, Daily: 31 * day, Weekly: 366 * day},
		Count:  map[Unit]int{Monthly: All},
	}
}

// IsZero tells the retention that keeps everything because it says nothing.
func (r Retention) IsZero() bool {
	return len(r.Count) == 0 && len(r.Within) == 0 && len(r.Tags) == 0 && r.Younger == 0
}

// String says the rules in one line; "everything" of those that keep it all.
func (r Retention) String() string {
	if r.IsZero() {
		return "everything"
	}
	var parts []string
	add := func(format string, args ...any) { parts = append(parts, fmt.Sprintf(format, args...)) }
	for _, u := range units {
		name := u.String()
		if u == Every {
			name = "everything"
		}
		if within, ok := r.Within[u]; ok {
			add("%s for %s", name, span(within))
		}
		switch n := r.Count[u]; {
		case n == All && u == Every:
			add("everything")
		case n == All:
			add("%s for ever", name)
		case n > 0 && u == Every:
			add("the last %d", n)
		case n > 0:
			add("%d %s", n, name)
		}
	}
	if r.Younger > 0 {
		add("nothing older than %s", span(r.Younger))
	}
	for _, tags := range r.Tags {
		add("what is tagged %s", joinTags(tags))
	}
	return strings.Join(parts, ", ")
}

// span spells a duration in days where it is so many.
func span(d time.Duration) string {
	const day = 24 * time.Hour
	if d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	return d.String()
}

// Stamp is what retention looks at of one version.
type Stamp struct {
	Received time.Time // by the remote's clock: no client's clock can push versions out
	Tags     []string
	Pinned   bool
	Bases    []string // machines whose next merge starts from it
}

// Verdict is what retention decides of one version.
type Verdict struct {
	Keep    bool
	ByRule  bool     // a rule keeps it; else what is kept is the newest, pinned, or needed
	Reasons []string // why it is kept; empty when it is not
}

// Apply decides about all versions of a folder, given in the order in which they
// were received, oldest first; buckets are those of loc. The newest version is
// always kept, and so is what is pinned or a machine's base.
func (r Retention) Apply(list []Stamp, loc *time.Location) []Verdict {
	out := make([]Verdict, len(list))
	need := func(i int, format string, args ...any) {
		out[i].Keep = true
		out[i].Reasons = append(out[i].Reasons, fmt.Sprintf(format, args...))
	}
	keep := func(i int, format string, args ...any) {
		need(i, format, args...)
		out[i].ByRule = true
	}
	if len(list) == 0 {
		return out
	}
	newest := list[len(list)-1].Received
	need(len(list)-1, "newest")
	for i, s := range list {
		if s.Pinned {
			need(i, "pinned")
		}
		for _, machine := range s.Bases {
			need(i, "base of %s", machine)
		}
		if r.IsZero() {
			keep(i, "no rule")
		}
		for _, tags := range r.Tags {
			if len(tags) > 0 && !slices.ContainsFunc(tags, func(t string) bool { return !slices.Contains(s.Tags, t) }) {
				keep(i, "tag %s", joinTags(tags))
			}
		}
		if r.Younger > 0 && newest.Sub(s.Received) <= r.Younger {
			keep(i, "not older")
		}
	}
	for _, u := range units {
		if within, ok := r.Within[u]; ok {
			r.sweep(list, u, loc, func(n, i int) bool { return newest.Sub(list[i].Received) <= within },
				func(i int) { keep(i, "%s within", u) })
		}
		if count := r.Count[u]; count != 0 {
			r.sweep(list, u, loc, func(n, _ int) bool { return count == All || n < count },
				func(i int) { keep(i, "%s", u) })
		}
	}
	return out
}

// sweep goes through the buckets of a unit, newest first, as long as more says
// so of how many there were and the newest version of the next, and gives that
// version to keep.
func (r Retention) sweep(list []Stamp, u Unit, loc *time.Location, more func(n, i int) bool, keep func(i int)) {
	n, last := 0, ""
	for i, s := range slices.Backward(list) {
		if u != Every {
			b := u.bucket(s.Received.In(loc))
			if b == last {
				continue
			}
			last = b
		}
		if !more(n, i) {
			return
		}
		n++
		keep(i)
	}
}

func joinTags(tags []string) string { return strings.Join(tags, ",") }

// ByTime tells whether the retention thins by time: some rule keeps versions
// because of when they were received, so that whoever adds many pushes none out.
// What runs unattended needs that.
func (r Retention) ByTime() bool {
	for u := range r.Count {
		if u != Every && r.Count[u] != 0 {
			return true
		}
	}
	return len(r.Within) > 0 || r.Younger > 0
}

// A folder is flooded when it gained more than floodFactor times its usual
// number of versions in a day, and more than floodLeast.
const (
	floodFactor = 10
	floodLeast  = 200
	floodDays   = 30 // that tell what is usual
)

// Flooded tells whether a folder, whose versions were received at these times,
// oldest first, has suddenly gained ten times as many as usual: how many on its
// last day, and how many on a usual one. A folder without a past is not.
func Flooded(received []time.Time) (flooded bool, now, usual int) {
	const day = 24 * time.Hour
	if len(received) == 0 {
		return false, 0, 0
	}
	newest := received[len(received)-1]
	days := map[int]int{}
	for _, t := range slices.Backward(received) {
		n := int(newest.Sub(t) / day)
		if n > floodDays {
			break
		}
		days[n]++
	}
	now = days[0]
	delete(days, 0)
	if len(days) == 0 {
		return false, now, 0
	}
	counts := slices.Sorted(maps.Values(days))
	usual = counts[len(counts)/2]
	return now > floodLeast && now > floodFactor*usual, now, usual
}
