package versions

import "time"

// When is a spelling of a time that a user gave: an instant, 2025-01-31,
// 2025-01-31T20:15, yesterday, 2h-ago, latest.
type When struct {
	Latest  bool
	Exact   Instant   // set when an instant was spelled out (2025..._..., exactly)
	At      time.Time // otherwise: the state that held then
	Spelled string
}

// ParseWhen reads any spelling. Spellings with "-" are local time (loc), a
// bare date means its end; instants are UTC. The error names the spellings.
func ParseWhen(s string, now time.Time, loc *time.Location) (When, error) { panic("skeleton") }

// Pick returns the index in instants (ascending) of the one whose state held
// at w: the last not after it. False where w is before the first, or in the
// future, or names an instant that is not there exactly.
func (w When) Pick(instants []Instant, now time.Time) (int, bool) { panic("skeleton") }
