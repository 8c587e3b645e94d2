package versions_test

import (
	"fmt"
	"slices"
	"testing"
	"time"
	_ "time/tzdata" // Berlin, on any machine

	"pgregory.net/rapid"

	"github.com/syncfs/syncfs/versions"
)

const day = 24 * time.Hour

// stamps are versions received at these times.
func stamps(t *testing.T, times ...string) []versions.Stamp {
	t.Helper()
	var list []versions.Stamp
	for _, s := range times {
		at, err := time.Parse("2006-01-02 15:04:05", s)
		if err != nil {
			t.Fatal(err)
		}
		list = append(list, versions.Stamp{Received: at})
	}
	return list
}

func kept(list []versions.Verdict) []int {
	var out []int
	for i, v := range list {
		if v.Keep {
			out = append(out, i)
		}
	}
	return out
}

func TestRetentionKeepsTheNewestOfEachBucket(t *testing.T) {
	list := stamps(t,
		"2024-12-31 23:59:59", // 0
		"2025-01-01 00:00:00", // 1
		"2025-01-05 10:00:00", // 2: Sunday
		"2025-01-06 10:00:00", // 3: Monday
		"2025-01-31 20:00:00", // 4
		"2025-01-31 20:15:00", // 5
		"2025-01-31 20:59:59", // 6
		"2025-01-31 21:00:00", // 7
		"2025-02-01 09:00:00", // 8
	)
	tagged := slices.Clone(list)
	tagged[2].Tags = []string{"release", "v1"}
	tagged[4].Tags = []string{"v1"}
	tagged[1].Pinned = true
	type count = map[versions.Unit]int
	type within = map[versions.Unit]time.Duration
	tests := []struct {
		name string
		list []versions.Stamp
		r    versions.Retention
		want []int
	}{
		{"no rule", list, versions.Retention{}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		{"the last three", list, versions.Retention{Count: count{versions.Every: 3}}, []int{6, 7, 8}},
		{"more than there are", list, versions.Retention{Count: count{versions.Every: 100}}, []int{0, 1, 2, 3, 4, 5, 6, 7, 8}},
		{"three hours that hold one", list, versions.Retention{Count: count{versions.Hourly: 3}}, []int{6, 7, 8}},
		{"three days", list, versions.Retention{Count: count{versions.Daily: 3}}, []int{3, 7, 8}},
		{"all weeks", list, versions.Retention{Count: count{versions.Weekly: versions.All}}, []int{2, 3, 8}},
		{"all months", list, versions.Retention{Count: count{versions.Monthly: versions.All}}, []int{0, 7, 8}},
		{"all years", list, versions.Retention{Count: count{versions.Yearly: versions.All}}, []int{0, 8}},
		{"rules add up", list, versions.Retention{Count: count{versions.Every: 2, versions.Yearly: 2}}, []int{0, 7, 8}},
		{"everything of a day", list, versions.Retention{Within: within{versions.Every: day}}, []int{4, 5, 6, 7, 8}},
		{"hourly of a day", list, versions.Retention{Within: within{versions.Hourly: day}}, []int{6, 7, 8}},
		{"daily of a month", list, versions.Retention{Within: within{versions.Daily: 31 * day}}, []int{2, 3, 7, 8}},
		{"younger than two days", list, versions.Retention{Younger: 2 * day}, []int{4, 5, 6, 7, 8}},
		{"a tag, and a pin", tagged, versions.Retention{Tags: [][]string{{"release", "v1"}}}, []int{1, 2, 8}},
		{"either tag", tagged, versions.Retention{Tags: [][]string{{"release"}, {"v1"}}}, []int{1, 2, 4, 8}},
		{"a tag that none has", tagged, versions.Retention{Tags: [][]string{{"other"}}}, []int{1, 8}},
		{"nothing there", nil, versions.DefaultRetention(), nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := tt.r.Apply(tt.list, time.UTC)
			if !slices.Equal(kept(got), tt.want) {
				t.Errorf("keeps %v, want %v", kept(got), tt.want)
			}
			for i, v := range got {
				if v.Keep != (len(v.Reasons) > 0) {
					t.Errorf("version %d: kept %v for %q", i, v.Keep, v.Reasons)
				}
			}
		})
	}
}

func TestTheDefaultRetentionThinsWithAge(t *testing.T) {
	end := time.Date(2025, 6, 30, 12, 0, 0, 0, time.UTC)
	var list []versions.Stamp
	for at := end.AddDate(-3, 0, 0); !at.After(end); at = at.Add(10 * time.Minute) {
		list = append(list, versions.Stamp{Received: at})
	}
	verdicts := versions.DefaultRetention().Apply(list, time.UTC)
	count := func(from, to time.Duration) int {
		n := 0
		for i, v := range verdicts {
			if age := end.Sub(list[i].Received); v.Keep && age > from && age <= to {
				n++
			}
		}
		return n
	}
	for _, tt := range []struct {
		name     string
		from, to time.Duration
		min, max int
	}{
		{"the last day", -1, day, 145, 145},
		{"the rest of the week", day, 7 * day, 6 * 24, 6*24 + 1},
		{"the rest of the month", 7 * day, 31 * day, 24, 25},
		{"the rest of the year", 31 * day, 366 * day, 48, 60}, // months that weeks do not hold
		{"before", 366 * day, 4 * 366 * day, 23, 25},
	} {
		if n := count(tt.from, tt.to); n < tt.min || n > tt.max {
			t.Errorf("%s: %d kept, want %d to %d", tt.name, n, tt.min, tt.max)
		}
	}
}

func TestBucketsAreThoseOfThePlace(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	list := stamps(t, "2025-01-31 22:30:00", "2025-01-31 23:30:00") // 23:30 and 00:30 there
	daily := versions.Retention{Count: map[versions.Unit]int{versions.Daily: versions.All}}
	if got := kept(daily.Apply(list, berlin)); len(got) != 2 {
		t.Errorf("there are two days in Berlin, kept %v", got)
	}
	if got := kept(daily.Apply(list, time.UTC)); len(got) != 1 {
		t.Errorf("there is one day in UTC, kept %v", got)
	}
	// The hour that comes twice when summer ends is two hours.
	twice := stamps(t, "2025-10-26 00:30:00", "2025-10-26 01:30:00")
	hourly := versions.Retention{Count: map[versions.Unit]int{versions.Hourly: versions.All}}
	if got := kept(hourly.Apply(twice, berlin)); len(got) != 2 {
		t.Errorf("kept %v", got)
	}
}

func TestRetentionLosesNothingThatItPromised(t *testing.T) {
	allUnits := []versions.Unit{versions.Every, versions.Hourly, versions.Daily, versions.Weekly, versions.Monthly, versions.Yearly}
	rapid.Check(t, func(t *rapid.T) {
		at := time.Date(2024, 12, 25, 0, 0, 0, 0, time.UTC)
		list := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) versions.Stamp {
			at = at.Add(time.Duration(rapid.Int64Range(1, int64(40*day)).Draw(t, "gap")) >> rapid.IntRange(0, 30).Draw(t, "shift"))
			s := versions.Stamp{Received: at, Pinned: rapid.IntRange(0, 9).Draw(t, "pinned") == 0}
			if rapid.Bool().Draw(t, "tagged") {
				s.Tags = []string{"t"}
			}
			return s
		}), 1, 60).Draw(t, "versions")
		r := versions.Retention{Count: map[versions.Unit]int{}, Within: map[versions.Unit]time.Duration{}}
		for _, u := range allUnits {
			if rapid.Bool().Draw(t, "count?") {
				r.Count[u] = rapid.IntRange(-1, 5).Draw(t, fmt.Sprint("count ", u))
			}
			if rapid.Bool().Draw(t, "within?") {
				r.Within[u] = time.Duration(rapid.Int64Range(0, int64(400*day)).Draw(t, fmt.Sprint("within ", u)))
			}
		}
		if rapid.Bool().Draw(t, "tags?") {
			r.Tags = [][]string{{"t"}}
		}
		got := r.Apply(list, time.UTC)

		if !got[len(got)-1].Keep {
			t.Fatal("the newest is forgotten")
		}
		var left []versions.Stamp
		for i, s := range list {
			if s.Pinned && !got[i].Keep {
				t.Fatalf("version %d is pinned and forgotten", i)
			}
			if got[i].Keep {
				left = append(left, s)
			}
		}
		// What it has kept it keeps when it is asked again.
		if again := kept(r.Apply(left, time.UTC)); len(again) != len(left) {
			t.Fatalf("of the %d that were kept it keeps %d", len(left), len(again))
		}
		// A rule more keeps no less.
		r.Count[versions.Daily] = versions.All
		for i, v := range r.Apply(list, time.UTC) {
			if got[i].Keep && !v.Keep {
				t.Fatalf("version %d is forgotten for a rule that keeps", i)
			}
		}
	})
}
