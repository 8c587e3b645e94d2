package agent

import (
	"strings"
	"testing"
	"time"
)

func TestEveryIsADurationOrACronExpression(t *testing.T) {
	at := time.Date(2025, 1, 31, 20, 15, 30, 0, time.Local)
	for every, want := range map[string]time.Time{
		"60m":          at.Add(time.Hour),
		"1d":           at.Add(24 * time.Hour),
		"15 3 * * *":   time.Date(2025, 2, 1, 3, 15, 0, 0, time.Local),
		"@hourly":      time.Date(2025, 1, 31, 21, 0, 0, 0, time.Local),
		"*/20 * * * *": time.Date(2025, 1, 31, 20, 20, 0, 0, time.Local),
	} {
		next, err := ParseEvery(every)
		if err != nil {
			t.Errorf("%s: %v", every, err)
		} else if got := next(at); !got.Equal(want) {
			t.Errorf("%s: next at %v, want %v", every, got, want)
		}
	}
	for every, why := range map[string]string{"": "neither", "59s": "once a minute", "60": "neither", "* * *": "neither", "0 0 30 2 *": "no such time"} {
		if _, err := ParseEvery(every); err == nil || !strings.Contains(err.Error(), why) {
			t.Errorf("%q: %v", every, err)
		}
	}
}

// What was missed is made up for once; who does not reach the remote tries again
// soon, ever less often, and never later than it is due.
func TestAScheduleSaysWhenItIsDueNext(t *testing.T) {
	at := time.Date(2025, 1, 31, 12, 0, 0, 0, time.UTC)
	s := Schedule{Every: "60m", Next: at}
	run := func(begun, ended time.Time, code int) time.Duration {
		s.ran(Ran{Begun: begun, Ended: ended, Code: code})
		return s.Next.Sub(ended)
	}
	// Slept through five hours: one run, then by the hour again.
	late := at.Add(5 * time.Hour)
	if got := run(late, late.Add(time.Minute), 0); got != 59*time.Minute {
		t.Errorf("after a late run: in %v", got)
	}
	// A run that takes longer than the time between two.
	if got := run(late, late.Add(3*time.Hour), 0); got != time.Hour {
		t.Errorf("after a long run: in %v", got)
	}
	for i, want := range []time.Duration{time.Minute, 2 * time.Minute, 4 * time.Minute, 8 * time.Minute, 15 * time.Minute, 15 * time.Minute} {
		if got := run(late, late, exitOffline); got != want {
			t.Errorf("after %d failures: in %v, want %v", i+1, got, want)
		}
	}
	if got := run(late, late, 1); got != time.Hour || s.Last.Failed != 7 {
		t.Errorf("after another failure: in %v, failed %d times", got, s.Last.Failed)
	}
	if run(late, late, 0); s.Last.Failed != 0 {
		t.Errorf("after a success it has failed %d times", s.Last.Failed)
	}
	s.Every = "2m"
	s.Last.Failed = 5
	if got := run(late, late, exitOffline); got != 2*time.Minute {
		t.Errorf("a frequent one is tried again in %v", got)
	}
}

func TestAClockThatWasWrongStopsNoSchedule(t *testing.T) {
	at := time.Date(2025, 1, 31, 12, 0, 0, 0, time.UTC)
	s := Schedule{Every: "60m", Created: at, Next: at}
	if got := s.dueIn(at); got != 0 {
		t.Errorf("a new one is due in %v", got)
	}
	nextYear := at.AddDate(1, 0, 0)
	s.ran(Ran{Begun: nextYear, Ended: nextYear})
	if got := s.dueIn(at.Add(time.Minute)); got != 0 {
		t.Errorf("after the clock was set back it is due in %v", got)
	}
	s.ran(Ran{Begun: at, Ended: at})
	s.Created = nextYear
	if got := s.dueIn(at.Add(time.Minute)); got != 59*time.Minute {
		t.Errorf("with a right clock it is due in %v", got)
	}
}
