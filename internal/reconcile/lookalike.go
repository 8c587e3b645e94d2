package reconcile

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// lookalikes tells of names that both sides have made new and that differ in
// case or Unicode form only.
func (m *merger) lookalikes(d dir, changes []change) {
	var byFold map[string]string
	for _, c := range changes {
		if c.b == nil && c.l != nil && c.r == nil {
			if byFold == nil {
				byFold = map[string]string{}
			}
			byFold[fold(c.name)] = c.name
		}
	}
	if byFold == nil {
		return
	}
	for _, c := range changes {
		if c.b != nil || c.l != nil || c.r == nil {
			continue
		}
		if local, ok := byFold[fold(c.name)]; ok {
			m.plan.Lookalike = append(m.plan.Lookalike, Lookalike{Local: d.join(local), Remote: d.join(c.name)})
		}
	}
}

// fold gives one spelling to names that other systems take for one.
func fold(name string) string {
	return norm.NFC.String(strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, norm.NFD.String(name)))
}
