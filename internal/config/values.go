package config

import (
	"fmt"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/xhit/go-str2duration/v2"
)

// Size is a number of bytes, written as "2GiB", "500MB" or "1048576".
type Size int64

// units in the order in which they are tried; the longest spelling first.
var units = [...]struct {
	name  string
	bytes float64
}{
	{"KIB", 1 << 10}, {"MIB", 1 << 20}, {"GIB", 1 << 30}, {"TIB", 1 << 40},
	{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12},
	{"K", 1 << 10}, {"M", 1 << 20}, {"G", 1 << 30}, {"T", 1 << 40},
	{"B", 1}, {"", 1},
}

// ParseSize reads a number of bytes.
func ParseSize(s string) (Size, error) {
	text := strings.ToUpper(strings.TrimSpace(s))
	for _, unit := range units {
		number, ok := strings.CutSuffix(text, unit.name)
		if !ok {
			continue
		}
		v, err := strconv.ParseFloat(strings.TrimSpace(number), 64)
		if err != nil || v < 0 || math.IsNaN(v) || v*unit.bytes >= math.MaxInt64 {
			break
		}
		return Size(v * unit.bytes), nil
	}
	return 0, fmt.Errorf("%q is not a size: write it as 2GiB, 500MB or a number of bytes", s)
}

// UnmarshalText is ParseSize.
func (s *Size) UnmarshalText(text []byte) (err error) {
	*s, err = ParseSize(string(text))
	return err
}

// MarshalText writes what ParseSize reads.
func (s Size) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Set is the flag's.
func (s *Size) Set(text string) error { return s.UnmarshalText([]byte(text)) }

// Type is the flag's.
func (s *Size) Type() string { return "size" }

// String is the size in the largest binary unit that divides it.
func (s Size) String() string {
	for _, u := range []struct {
		name string
		bits uint
	}{{"TiB", 40}, {"GiB", 30}, {"MiB", 20}, {"KiB", 10}} {
		if s != 0 && s%(1<<u.bits) == 0 {
			return strconv.FormatInt(int64(s>>u.bits), 10) + u.name
		}
	}
	return strconv.FormatInt(int64(s), 10) + "B"
}

// Rate is a number of bytes a second, written as "1MiB/s", "500K" or "0" for no
// bound.
type Rate int64

// minRate is the least bound with which requests still get on.
const minRate = 1 << 10

// ParseRate reads a rate.
func ParseRate(s string) (Rate, error) {
	n, err := ParseSize(strings.TrimSuffix(strings.TrimSpace(s), "/s"))
	if err != nil {
		return 0, fmt.Errorf("%q is not a rate: write it as 1MiB, 500K or a number of bytes a second", s)
	}
	return Rate(n), nil
}

// Check refuses a bound with which nothing would get on.
func (r Rate) Check() error {
	if r != 0 && r < minRate {
		return fmt.Errorf("%s is less than 1KiB a second (0 means no limit)", r)
	}
	return nil
}

// Set is ParseRate and Check (pflag.Value).
func (r *Rate) Set(text string) (err error) {
	if *r, err = ParseRate(text); err != nil {
		return err
	}
	return r.Check()
}

// Type is what a flag's value is called (pflag.Value).
func (r *Rate) Type() string { return "rate" }

// UnmarshalText reads a rate.
func (r *Rate) UnmarshalText(text []byte) (err error) {
	*r, err = ParseRate(string(text))
	return err
}

// MarshalText writes what UnmarshalText reads.
func (r Rate) MarshalText() ([]byte, error) { return []byte(r.String()), nil }

// String is the rate as ParseRate reads it.
func (r Rate) String() string {
	if r == 0 {
		return "0"
	}
	return Size(r).String() + "/s"
}

// Duration is a time span, written as "500ms", "10m" or "30d": what
// time.ParseDuration reads, and days and weeks. It is a pflag.Value.
type Duration time.Duration

// UnmarshalText reads a span that is not negative.
func (d *Duration) UnmarshalText(text []byte) error {
	v, err := str2duration.ParseDuration(string(text))
	if err != nil || v < 0 {
		return fmt.Errorf("%q is not a time span: write it as 500ms, 10m, 2h or 30d", text)
	}
	*d = Duration(v)
	return nil
}

// Set is UnmarshalText of a flag.
func (d *Duration) Set(text string) error { return d.UnmarshalText([]byte(text)) }

// Type names the flag's argument.
func (d *Duration) Type() string { return "duration" }

// String is what Set reads, in the largest units that fit.
func (d Duration) String() string { return str2duration.String(time.Duration(d)) }

// MarshalText writes what UnmarshalText reads.
func (d Duration) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// Choice is a question that the machine may answer.
type Choice string

// The answers.
const (
	Auto Choice = "auto"
	Yes  Choice = "yes"
	No   Choice = "no"
)

// UnmarshalText accepts the answers only.
func (c *Choice) UnmarshalText(text []byte) error {
	switch v := Choice(text); v {
	case Auto, Yes, No:
		*c = v
		return nil
	}
	return fmt.Errorf("%q is none of auto, yes, no", text)
}

// Listing says in which directories .versions is listed; it answers by name
// in every one.
type Listing string

// The ways to list.
const (
	ListRoot Listing = "root"
	ListNone Listing = "none"
	ListAll  Listing = "all"
)

// UnmarshalText accepts the ways to list only.
func (l *Listing) UnmarshalText(text []byte) error {
	switch v := Listing(text); v {
	case ListRoot, ListNone, ListAll:
		*l = v
		return nil
	}
	return fmt.Errorf("%q is none of root, none, all", text)
}
