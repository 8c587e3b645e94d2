package agent

import (
	"testing"
	"time"
)

func TestAMachineThatSleptIsNoticedByItsClocks(t *testing.T) {
	wall := time.Date(2025, 1, 31, 20, 15, 0, 0, time.UTC)
	mono := time.Now()
	for _, tc := range []struct {
		name             string
		wall, mono, want time.Duration
	}{
		{"awake", 5 * time.Second, 5 * time.Second, 0},
		{"a slow tick", 20 * time.Second, 20 * time.Second, 0},
		{"slept for an hour", time.Hour + 5*time.Second, 5 * time.Second, time.Hour},
		{"set back", -time.Hour, 5 * time.Second, -time.Hour - 5*time.Second},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := newClocks(wall, mono)
			if got := c.slept(wall.Add(tc.wall), mono.Add(tc.mono)); got != tc.want {
				t.Errorf("it slept %v, want %v", got, tc.want)
			}
			if got := c.slept(wall.Add(tc.wall+time.Second), mono.Add(tc.mono+time.Second)); got != 0 {
				t.Errorf("and then %v", got)
			}
		})
	}
}

// A clock that time.Now gives has a monotonic reading, which must not count.
func TestTheWallClockIsTheWalls(t *testing.T) {
	now := time.Now()
	c := newClocks(now, now)
	if got := c.slept(time.Unix(0, now.UnixNano()).Add(time.Hour), now); got != time.Hour {
		t.Errorf("it slept %v, want an hour", got)
	}
}
