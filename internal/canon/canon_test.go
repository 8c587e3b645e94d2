package canon_test

import (
	"bytes"
	"errors"
	"math"
	"testing"

	"github.com/syncfs/syncfs/internal/canon"
)

func TestNumbersAreReadBackAndOnlyInTheirShortestForm(t *testing.T) {
	for _, v := range []uint64{0, 1, 127, 128, 1 << 14, math.MaxUint32, math.MaxUint64} {
		d := canon.NewDecoder(canon.Uvarint(nil, v))
		if got := d.Uvarint(math.MaxUint64); got != v || d.Done() != nil {
			t.Errorf("%d is read back as %d, %v", v, got, d.Err())
		}
	}
	for _, bad := range [][]byte{{}, {0x80}, {0x80, 0}, {0xff, 0x80, 0}, bytes.Repeat([]byte{0xff}, 11)} {
		d := canon.NewDecoder(bad)
		d.Uvarint(math.MaxUint64)
		if !errors.Is(d.Err(), canon.ErrFormat) {
			t.Errorf("% x is taken for a number: %v", bad, d.Err())
		}
	}
}

func TestLengthsBeyondTheDataAreRefused(t *testing.T) {
	huge := canon.Uvarint(nil, 1<<40)
	tests := map[string]func(d *canon.Decoder){
		"string": func(d *canon.Decoder) { _ = d.String(math.MaxInt) },
		"count":  func(d *canon.Decoder) { d.Count(math.MaxInt, 1) },
		"limit":  func(d *canon.Decoder) { d.Uvarint(1 << 39) },
	}
	for name, read := range tests {
		d := canon.NewDecoder(append(bytes.Clone(huge), "abc"...))
		read(&d)
		if d.Err() == nil {
			t.Errorf("%s: a length of a terabyte is accepted", name)
		}
	}
}

func TestNothingIsReadAfterAnError(t *testing.T) {
	d := canon.NewDecoder([]byte{2, 1, 'x'})
	if d.Bool(); d.Err() == nil {
		t.Fatal("2 is taken for a yes or no")
	}
	if s := d.String(10); s != "" || d.More() || d.Done() == nil {
		t.Errorf("after an error: read %q", s)
	}
}
