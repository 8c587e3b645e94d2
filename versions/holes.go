package versions

import (
	"cmp"
	"fmt"
	"slices"
)

// normalHoles sorts holes, joins those that touch, cuts them at size, and keeps
// the largest MaxHoles of them.
func normalHoles(holes []Range, size int64) ([]Range, error) {
	sorted := slices.Clone(holes)
	slices.SortFunc(sorted, func(a, b Range) int { return cmp.Compare(a.Offset, b.Offset) })
	var out []Range
	for _, h := range sorted {
		if h.Offset < 0 || h.Length < 0 || h.Offset+h.Length < 0 {
			return nil, fmt.Errorf("a hole of %d bytes at %d cannot be", h.Length, h.Offset)
		}
		end := min(h.Offset+h.Length, size)
		if end <= h.Offset {
			continue
		}
		if n := len(out); n > 0 && h.Offset <= out[n-1].end() {
			out[n-1].Length = max(out[n-1].end(), end) - out[n-1].Offset
			continue
		}
		out = append(out, Range{Offset: h.Offset, Length: end - h.Offset})
	}
	if len(out) > MaxHoles {
		slices.SortFunc(out, func(a, b Range) int {
			return cmp.Or(cmp.Compare(b.Length, a.Length), cmp.Compare(a.Offset, b.Offset))
		})
		out = out[:MaxHoles]
		slices.SortFunc(out, func(a, b Range) int { return cmp.Compare(a.Offset, b.Offset) })
	}
	return out, nil
}

func (r Range) end() int64 { return r.Offset + r.Length }

// DataRanges are the parts of a file that its pieces describe: all but the
// holes, in order.
func (e *Entry) DataRanges() []Range {
	out := make([]Range, 0, len(e.Holes)+1)
	at := int64(0)
	for _, h := range e.Holes {
		if h.Offset > at {
			out = append(out, Range{Offset: at, Length: h.Offset - at})
		}
		at = h.end()
	}
	if e.Size > at {
		out = append(out, Range{Offset: at, Length: e.Size - at})
	}
	return out
}
