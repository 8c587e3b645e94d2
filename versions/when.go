package versions

import (
	"fmt"
	"sort"
	"strconv"
	"strings"
	"time"
)

// When is a spelling of a time that a user gave: an instant, 2025-01-31,
// 2025-01-31T20:15, yesterday, 2h-ago, latest.
type When struct {
	Latest  bool
	Exact   Instant   // set when an instant was spelled out (20250131_201530, exactly)
	At      time.Time // otherwise: the state that held then
	Spelled string
}

// Spellings is what ParseWhen reads, for messages and help.
const Spellings = "latest, an instant (20250131_201530), a time of this machine's zone " +
	"(2025-01-31T20:15, 2025-01-31, 2025-01), today, yesterday, or an age (30m-ago, 2h-ago, 3d-ago, 1w-ago)"

// ParseWhen reads any spelling. Spellings with "-" are local time (loc), unless
// they name a zone (2025-01-31T20:15:05Z); instants are UTC. What names a
// period (a minute, a day, a month) means its end, and today's end is now. The
// error names the spellings.
func ParseWhen(s string, now time.Time, loc *time.Location) (When, error) {
	w := When{Spelled: s}
	if i, err := ParseInstant(s); err == nil {
		w.Exact = i
		return w, nil
	}
	now = now.In(loc)
	var end time.Time
	switch word := strings.ToLower(strings.TrimSpace(s)); word {
	case "latest", "now":
		w.Latest = true
		return w, nil
	case "today":
		end = endOfDay(now.Year(), now.Month(), now.Day(), loc)
	case "yesterday":
		end = endOfDay(now.Year(), now.Month(), now.Day()-1, loc)
	default:
		if at, ok := parseAgo(word, now); ok {
			w.At = at
			return w, nil
		}
		var start time.Time
		var ok bool
		if start, end, ok = parsePeriod(word, loc); !ok {
			return When{}, fmt.Errorf("%q is not a time; use %s", s, Spellings)
		}
		if start.After(now) {
			w.At = end
			return w, nil
		}
	}
	// The period that has begun but not ended goes as far as now.
	w.At = end
	if end.After(now) {
		w.At = now
	}
	return w, nil
}

// parseAgo reads 90s-ago, 30m-ago, 2h-ago, 3d-ago, 1w-ago, 6mo-ago, 1y-ago. Days
// and longer go by the calendar: the same time of day.
func parseAgo(s string, now time.Time) (time.Time, bool) {
	amount, ok := strings.CutSuffix(s, "-ago")
	if !ok {
		return time.Time{}, false
	}
	digits := strings.TrimRight(amount, "abcdefghijklmnopqrstuvwxyz")
	n, err := strconv.Atoi(digits)
	if err != nil || n < 0 || n > 1_000_000 || digits[0] == '+' {
		return time.Time{}, false
	}
	var t time.Time
	switch amount[len(digits):] {
	case "s":
		t = now.Add(-time.Duration(n) * time.Second)
	case "m":
		t = now.Add(-time.Duration(n) * time.Minute)
	case "h":
		t = now.Add(-time.Duration(n) * time.Hour)
	case "d":
		t = now.AddDate(0, 0, -n)
	case "w":
		t = now.AddDate(0, 0, -7*n)
	case "mo":
		t = now.AddDate(0, -n, 0)
	case "y":
		t = now.AddDate(-n, 0, 0)
	default:
		return time.Time{}, false
	}
	return t, true
}

// parsePeriod reads a month, a day, a minute or a second, and returns when it
// begins and ends.
func parsePeriod(s string, loc *time.Location) (start, end time.Time, ok bool) {
	s = strings.ToUpper(s)
	if t, err := time.Parse(time.RFC3339, s); err == nil {
		return t, t.Add(time.Second - 1), true
	}
	if t, err := time.Parse("2006-01", s); err == nil {
		return startOfDay(t.Year(), t.Month(), 1, loc), startOfDay(t.Year(), t.Month()+1, 1, loc).Add(-1), true
	}
	if t, err := time.Parse("2006-01-02", s); err == nil {
		return startOfDay(t.Year(), t.Month(), t.Day(), loc), endOfDay(t.Year(), t.Month(), t.Day(), loc), true
	}
	if len(s) <= 10 || !strings.ContainsRune("T_ ", rune(s[10])) {
		return time.Time{}, time.Time{}, false
	}
	s = s[:10] + "T" + s[11:]
	for layout, length := range map[string]time.Duration{
		"2006-01-02T15:04":    time.Minute,
		"2006-01-02T15:04:05": time.Second,
	} {
		// Parse refuses what is no date and takes a fraction of a second, which
		// nothing here has.
		if t, err := time.ParseInLocation(layout, s, loc); err == nil && len(s) == len(layout) {
			return t, t.Add(length - 1), true
		}
	}
	return time.Time{}, time.Time{}, false
}

func endOfDay(y int, m time.Month, d int, loc *time.Location) time.Time {
	return startOfDay(y, m, d+1, loc).Add(-1)
}

// startOfDay is the first moment of a date. It need not be midnight: there are
// zones whose clocks go forward then.
func startOfDay(y int, m time.Month, d int, loc *time.Location) time.Time {
	noon := time.Date(y, m, d, 12, 0, 0, 0, loc)
	day := func(t time.Time) int { return t.Year()*366 + t.YearDay() }
	before := noon.Add(-36 * time.Hour)
	n := sort.Search(36*3600, func(i int) bool {
		return day(before.Add(time.Duration(i)*time.Second)) >= day(noon)
	})
	return before.Add(time.Duration(n) * time.Second)
}

// Pick returns the index in instants (ascending) of the one whose state held
// at w: the last not after it. False where w is before the first, or in the
// future, or names an instant that is not there exactly; Missing says which.
func (w When) Pick(instants []Instant, now time.Time) (int, bool) {
	switch {
	case w.Latest:
		return len(instants) - 1, len(instants) > 0
	case !w.Exact.IsZero():
		return sort.Find(len(instants), func(i int) int { return w.Exact.Compare(instants[i]) })
	case w.At.After(now):
		return -1, false
	}
	i := sort.Search(len(instants), func(i int) bool { return instants[i].Time().After(w.At) }) - 1
	return i, i >= 0
}

// Missing says why Pick found nothing, and which instants there are.
func (w When) Missing(instants []Instant, now time.Time) error {
	there := "there are " + spellInstants(instants)
	switch {
	case len(instants) == 0:
		return fmt.Errorf("%q: there are no versions yet", w.Spelled)
	case !w.Exact.IsZero():
		return fmt.Errorf("%q: no version has this instant; %s", w.Spelled, there)
	case w.At.After(now):
		return fmt.Errorf("%q is in the future; %s", w.Spelled, there)
	}
	return fmt.Errorf("%q is before the first version; %s", w.Spelled, there)
}
