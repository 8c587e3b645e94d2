package versions

import (
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// FoldName gives one spelling to names that some systems take for one: those
// that differ in case or Unicode form only.
func FoldName(name string) string {
	ascii := true
	for i := range len(name) {
		if name[i] >= 0x80 {
			ascii = false
			break
		}
	}
	if ascii {
		return strings.ToUpper(name)
	}
	return norm.NFC.String(strings.Map(func(r rune) rune {
		least := r
		for next := unicode.SimpleFold(r); next != r; next = unicode.SimpleFold(next) {
			least = min(least, next)
		}
		return least
	}, norm.NFD.String(name)))
}
