package versions

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// Instant names a snapshot within its folder: a second in UTC and a number
// that tells snapshots of one second apart. Instants of one line only grow.
type Instant struct {
	Sec int64 // seconds since 1970
	Seq int   // 0 for the first in its second; "_02" is 1
}

const instantLayout = "20060102_150405"

// The seconds that have a spelling of four digits for the year.
const (
	firstSec = -62135596800 // 0001-01-01 00:00:00
	lastSec  = 253402300799 // 9999-12-31 23:59:59
	maxSeq   = 999_999_998  // nine digits
)

// String is 20060102_150405, with _02, _03 … for later ones of the second.
func (i Instant) String() string {
	s := i.Time().Format(instantLayout)
	if i.Seq > 0 {
		s += fmt.Sprintf("_%02d", i.Seq+1)
	}
	return s
}

// ParseInstant reads exactly what String writes.
func ParseInstant(s string) (Instant, error) {
	second, number, numbered := s, "", false
	if len(s) > len(instantLayout) {
		second, number, numbered = s[:len(instantLayout)], s[len(instantLayout)+1:], s[len(instantLayout)] == '_'
	}
	t, err := time.Parse(instantLayout, second)
	i := Instant{Sec: t.Unix()}
	if err == nil && number != "" {
		n, numErr := strconv.Atoi(number)
		i.Seq, err = n-1, numErr
	}
	if err != nil || len(s) > len(instantLayout) && !numbered || i.Sec < firstSec || i.Seq < 0 || i.Seq > maxSeq || i.String() != s {
		return Instant{}, fmt.Errorf("%q is not an instant such as 20250131_201530", s)
	}
	return i, nil
}

// Time is the instant's second.
func (i Instant) Time() time.Time { return time.Unix(i.Sec, 0).UTC() }

// Compare orders instants.
func (i Instant) Compare(j Instant) int {
	return cmp.Or(cmp.Compare(i.Sec, j.Sec), cmp.Compare(i.Seq, j.Seq))
}

// IsZero tells the zero Instant, which names nothing.
func (i Instant) IsZero() bool { return i == Instant{} }

// NextInstant is the instant of a state that rested at now, raised above last:
// where the clock did not move on, or was set back, it is the next number of
// last's second.
func NextInstant(now time.Time, last Instant) Instant {
	next := Instant{Sec: min(max(now.Unix(), 1), lastSec)}
	if next.Compare(last) > 0 {
		return next
	}
	if last.Seq >= maxSeq {
		return Instant{Sec: last.Sec + 1}
	}
	return Instant{Sec: last.Sec, Seq: last.Seq + 1}
}

// spellInstants is for messages: a few of many.
func spellInstants(instants []Instant) string {
	const most = 5
	var words []string
	for _, i := range instants[max(0, len(instants)-most):] {
		words = append(words, i.String())
	}
	s := strings.Join(words, ", ")
	if len(instants) > most {
		s = fmt.Sprintf("%s … %s (%d in all)", instants[0], s, len(instants))
	}
	return s
}
