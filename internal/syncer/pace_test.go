package syncer

import (
	"testing"
	"time"
)

func TestRoundsAreQuickAfterQuietAndThenOneASecond(t *testing.T) {
	p := pace{interval: minInterval}
	start := time.Unix(1_000_000, 0)
	var waits []time.Duration
	for range quickRounds + 2 {
		next := p.next(start, 20*time.Millisecond)
		waits = append(waits, next.Sub(start))
		start = next
	}
	for i, w := range waits {
		want := quickInterval
		if i >= quickRounds {
			want = minInterval
		}
		if w != want {
			t.Errorf("round %d: the next may start after %v, want %v (all: %v)", i, w, want, waits)
		}
	}
}

func TestRoundsThatGoOnForHoursAreOneASecond(t *testing.T) {
	p := pace{interval: minInterval}
	begin := time.Unix(1_000_000, 0)
	start, rounds := begin, 0
	for start.Sub(begin) < time.Hour {
		start = p.next(start, 20*time.Millisecond)
		rounds++
	}
	if most := int(time.Hour/minInterval) + 2*quickRounds; rounds > most {
		t.Errorf("%d rounds in an hour of changes, want at most %d", rounds, most)
	}
}

func TestQuietEarnsQuickRoundsBack(t *testing.T) {
	p := pace{interval: minInterval}
	start := time.Unix(1_000_000, 0)
	for range 2 * quickRounds {
		start = p.next(start, 0)
	}
	start = start.Add(time.Hour)
	if got := p.next(start, 0).Sub(start); got != quickInterval {
		t.Errorf("after an hour of quiet the next round may start after %v, want %v", got, quickInterval)
	}
}

func TestALongRoundIsItsOwnPause(t *testing.T) {
	p := pace{interval: minInterval}
	start := time.Unix(1_000_000, 0)
	if got := p.next(start, time.Minute).Sub(start); got != time.Minute {
		t.Errorf("after a round of a minute the next may start after %v, want a minute", got)
	}
}
