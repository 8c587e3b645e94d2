package versions_test

import (
	"strings"
	"testing"
	"time"
	_ "time/tzdata" // the tests name zones, whatever the machine knows

	"github.com/syncfs/syncfs/versions"
	"pgregory.net/rapid"
)

func zone(t testing.TB, name string) *time.Location {
	t.Helper()
	loc, err := time.LoadLocation(name)
	return must(t, loc, err)
}

func TestSpellingsOfTime(t *testing.T) {
	berlin := zone(t, "Europe/Berlin")
	now := time.Date(2025, 3, 15, 14, 30, 10, 5, berlin)
	at := func(y int, mo time.Month, d, h, mi, s int) time.Time {
		return time.Date(y, mo, d, h, mi, s, 999_999_999, berlin)
	}
	tests := map[string]versions.When{
		"latest":                    {Latest: true},
		"now":                       {Latest: true},
		"Latest":                    {Latest: true},
		"20250131_201530":           {Exact: versions.Instant{Sec: 1738354530}},
		"20250131_201530_02":        {Exact: versions.Instant{Sec: 1738354530, Seq: 1}},
		"today":                     {At: now},
		"yesterday":                 {At: at(2025, 3, 14, 23, 59, 59)},
		"2025-01-31":                {At: at(2025, 1, 31, 23, 59, 59)},
		"2025-03-15":                {At: now}, // its end is still to come
		"2025-03":                   {At: now},
		"2025-02":                   {At: at(2025, 2, 28, 23, 59, 59)},
		"2025-01-31T20:15":          {At: at(2025, 1, 31, 20, 15, 59)},
		"2025-01-31t20:15":          {At: at(2025, 1, 31, 20, 15, 59)},
		"2025-01-31_20:15":          {At: at(2025, 1, 31, 20, 15, 59)},
		"2025-01-31 20:15":          {At: at(2025, 1, 31, 20, 15, 59)},
		"2025-01-31T20:15:05":       {At: at(2025, 1, 31, 20, 15, 5)},
		"2025-01-31T20:15:05Z":      {At: at(2025, 1, 31, 21, 15, 5)},
		"2025-01-31T20:15:05-05:00": {At: at(2025, 2, 1, 2, 15, 5)},
		"2025-03-15T14:30":          {At: now}, // this minute
		"2025-03-15T14:31":          {At: at(2025, 3, 15, 14, 31, 59)},
		"2026-01-01":                {At: at(2026, 1, 1, 23, 59, 59)},
		"90s-ago":                   {At: now.Add(-90 * time.Second)},
		"30m-ago":                   {At: now.Add(-30 * time.Minute)},
		"2h-ago":                    {At: now.Add(-2 * time.Hour)},
		"3d-ago":                    {At: now.AddDate(0, 0, -3)},
		"1w-ago":                    {At: now.AddDate(0, 0, -7)},
		"6mo-ago":                   {At: now.AddDate(0, -6, 0)},
		"1y-ago":                    {At: now.AddDate(-1, 0, 0)},
	}
	for s, want := range tests {
		got, err := versions.ParseWhen(s, now, berlin)
		if err != nil {
			t.Errorf("%q: %v", s, err)
			continue
		}
		if got.Latest != want.Latest || got.Exact != want.Exact || !got.At.Equal(want.At) || got.Spelled != s {
			t.Errorf("%q: got %+v, want %+v", s, got, want)
		}
	}
}

func TestWhatIsNoTimeIsToldWithTheSpellings(t *testing.T) {
	for _, s := range []string{"", " ", "noon", "2025", "2025-1-31", "2025-13", "2025-02-30", "2025-01-31T25:00", "2025-01-31T20", "2025-01-31T20:15:05.5",
		"20250131", "20250131_2015", "20250131_201530_01", "20250131_201530_2", "20250131_201530_", "20250230_000000", "ago", "-ago", "h-ago", "2x-ago", "-2h-ago", "+2h-ago", "2h", "99999999999999h-ago", "2025-01-31T20:15:05+"} {
		w, err := versions.ParseWhen(s, time.Now(), time.UTC)
		if err == nil {
			t.Errorf("%q is %+v", s, w)
		} else if !strings.Contains(err.Error(), "2025-01-31T20:15") || !strings.Contains(err.Error(), "2h-ago") || !strings.Contains(err.Error(), "latest") {
			t.Errorf("%q: %v", s, err)
		}
	}
}

func TestTheEndOfADateIsTheLastMomentOfThatDate(t *testing.T) {
	for _, name := range []string{"UTC", "Europe/Berlin", "America/Sao_Paulo", "America/New_York", "Asia/Beirut", "Africa/Cairo", "Pacific/Apia", "Australia/Lord_Howe", "America/Havana"} {
		loc := zone(t, name)
		now := time.Date(2030, 1, 1, 0, 0, 0, 0, loc)
		for d := time.Date(2011, 1, 1, 12, 0, 0, 0, time.UTC); d.Year() < 2025; d = d.AddDate(0, 0, 1) {
			day := d.Format("2006-01-02")
			if day == "2011-12-30" && name == "Pacific/Apia" {
				continue // never was there
			}
			w, err := versions.ParseWhen(day, now, loc)
			if err != nil {
				t.Fatal(err)
			}
			if last, next := w.At.In(loc), w.At.Add(1).In(loc); last.Format("2006-01-02") != day || next.Format("2006-01-02") == day {
				t.Errorf("%s: %s ends at %v", name, day, last)
			}
		}
	}
}

func TestPickFindsTheStateThatHeld(t *testing.T) {
	instants := []versions.Instant{{Sec: 100}, {Sec: 200}, {Sec: 200, Seq: 1}, {Sec: 300}}
	now := time.Unix(1000, 0)
	at := func(sec int64) versions.When { return versions.When{At: time.Unix(sec, 0), Spelled: "x"} }
	tests := []struct {
		name string
		w    versions.When
		want int
		ok   bool
	}{
		{"latest", versions.When{Latest: true}, 3, true},
		{"before the first", at(99), -1, false},
		{"the first", at(100), 0, true},
		{"between", at(199), 0, true},
		{"two in a second", at(200), 2, true},
		{"after the last", at(999), 3, true},
		{"the future", at(1001), -1, false},
		{"exactly", versions.When{Exact: versions.Instant{Sec: 200}}, 1, true},
		{"exactly the second", versions.When{Exact: versions.Instant{Sec: 200, Seq: 1}}, 2, true},
		{"not there", versions.When{Exact: versions.Instant{Sec: 250}}, 0, false},
	}
	for _, tt := range tests {
		got, ok := tt.w.Pick(instants, now)
		if ok != tt.ok || ok && got != tt.want {
			t.Errorf("%s: %d, %v", tt.name, got, ok)
		}
		if !ok && !strings.Contains(tt.w.Missing(instants, now).Error(), "19700101_000140") {
			t.Errorf("%s: %v", tt.name, tt.w.Missing(instants, now))
		}
		if _, ok := tt.w.Pick(nil, now); ok {
			t.Errorf("%s: found among no versions", tt.name)
		}
	}
}

func TestInstantsAreSpelledInOneWay(t *testing.T) {
	for s, want := range map[string]versions.Instant{
		"20250131_201530":      {Sec: 1738354530},
		"20250131_201530_02":   {Sec: 1738354530, Seq: 1},
		"20250131_201530_99":   {Sec: 1738354530, Seq: 98},
		"20250131_201530_100":  {Sec: 1738354530, Seq: 99},
		"20250131_201530_1000": {Sec: 1738354530, Seq: 999},
	} {
		if got, err := versions.ParseInstant(s); err != nil || got != want || want.String() != s {
			t.Errorf("%q is %+v (%v); %+v is %q", s, got, err, want, want.String())
		}
	}
	for _, s := range []string{"", "20250131_201530_", "20250131_201530_1", "20250131_201530_01", "20250131_201530_002", "20250131_201530_+2", "20250131_201530x02", "20250131T201530", "20251331_201530", "20250131_201530_99999999999999999999"} {
		if i, err := versions.ParseInstant(s); err == nil {
			t.Errorf("%q is %+v", s, i)
		}
	}
}

func TestInstantsOnlyGrow(t *testing.T) {
	start := time.Date(2025, 1, 31, 20, 15, 30, 0, time.UTC)
	last := versions.NextInstant(start, versions.Instant{})
	seen := []string{last.String()}
	for _, now := range []time.Time{start, start.Add(time.Second), start.AddDate(-1, 0, 0), start.AddDate(1, 0, 0), time.Unix(-5, 0)} {
		last = versions.NextInstant(now, last)
		seen = append(seen, last.String())
	}
	want := "20250131_201530 20250131_201530_02 20250131_201531 20250131_201531_02 20260131_201530 20260131_201530_02"
	if got := strings.Join(seen, " "); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	rapid.Check(t, func(t *rapid.T) {
		last := versions.Instant{}
		for range rapid.IntRange(1, 250).Draw(t, "n") {
			now := time.Unix(rapid.Int64().Draw(t, "clock"), 0)
			if rapid.Bool().Draw(t, "near") {
				now = time.Unix(last.Sec, 0)
			}
			next := versions.NextInstant(now, last)
			if next.Compare(last) <= 0 {
				t.Fatalf("%v after %v", next, last)
			}
			if back, err := versions.ParseInstant(next.String()); err != nil || back != next {
				t.Fatalf("%v is read back as %v, %v", next, back, err)
			}
			last = next
		}
	})
}

func FuzzParseWhen(f *testing.F) {
	for _, s := range []string{"latest", "20250131_201530_02", "2025-01-31T20:15:05Z", "2h-ago", "2025-01"} {
		f.Add(s)
	}
	berlin := zone(f, "Europe/Berlin")
	now := time.Date(2025, 3, 15, 14, 30, 10, 5, berlin)
	f.Fuzz(func(t *testing.T, s string) {
		w, err := versions.ParseWhen(s, now, berlin)
		if err != nil {
			return
		}
		if !w.Exact.IsZero() && w.Exact.String() != s {
			t.Fatalf("%q is the instant %v", s, w.Exact)
		}
		if !w.Latest && w.Exact.IsZero() && w.At.IsZero() {
			t.Fatalf("%q is no time at all", s)
		}
		w.Pick([]versions.Instant{{Sec: 5}}, now)
	})
}
