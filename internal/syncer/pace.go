package syncer

import "time"

// The first rounds after quiet.
const (
	quickInterval = 150 * time.Millisecond
	quickRounds   = 5
)

// pace says when the next round may start. What goes on makes a round an
// interval; the first few after quiet come sooner, so that a burst of changes (a
// tree that is unpacked, or removed) is not cut into a round at its beginning
// and one an interval later. Each interval of quiet beyond the first earns one
// of them back. A round never starts before as much time has passed as the last
// one took.
type pace struct {
	interval time.Duration // between rounds that go on
	spent    int           // quick rounds since quiet
	last     time.Time     // when the last round started
}

// next is when another round may start after one that began at start and took
// so long.
func (p *pace) next(start time.Time, took time.Duration) time.Time {
	if !p.last.IsZero() {
		p.spent -= min(p.spent, max(0, int(start.Sub(p.last)/p.interval)-1))
	}
	p.last = start
	wait := p.interval
	if p.spent < quickRounds {
		p.spent++
		wait = min(quickInterval, p.interval)
	}
	return start.Add(max(wait, took))
}
