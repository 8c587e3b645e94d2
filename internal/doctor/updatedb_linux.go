package doctor

import (
	"context"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/syncfs/syncfs/internal/atomicfile"
)

// updatedbConf says what the database of locate leaves out.
const updatedbConf = "/etc/updatedb.conf"

// pruned is what should be left out: old versions, and mounts.
func pruned() []struct{ variable, value string } {
	return []struct{ variable, value string }{{"PRUNENAMES", ".versions"}, {"PRUNEFS", "fuse.syncfs"}}
}

// updatedb looks whether the nightly walk of updatedb stays out of the past;
// false where there is none.
func (o Options) updatedb() (Check, bool) {
	data, err := os.ReadFile(o.Root + updatedbConf)
	if err != nil {
		return Check{}, false
	}
	c := Check{Name: "updatedb", Level: OK, Text: "updatedb stays out of mounts and .versions"}
	fixed := string(data)
	for _, p := range pruned() {
		fixed = addWord(fixed, p.variable, p.value)
	}
	if fixed != string(data) {
		c.Level, c.Text = Note, "updatedb walks through mounts, and through every old version"
		c.Do = `as root: syncfs doctor --fix --only updatedb (adds .versions to PRUNENAMES and fuse.syncfs to PRUNEFS in ` + updatedbConf + `)`
		c.Fix = func(context.Context) error { return atomicfile.WriteFile(o.Root+updatedbConf, []byte(fixed), 0o644) }
	}
	return c, true
}

// addWord adds a word to the value of NAME="…", or such a line.
func addWord(text, name, word string) string {
	line := regexp.MustCompile(`(?m)^(\s*` + name + `\s*=\s*)"([^"\n]*)"`)
	at := line.FindStringSubmatchIndex(text)
	if at == nil {
		if text != "" && !strings.HasSuffix(text, "\n") {
			text += "\n"
		}
		return text + name + `="` + word + "\"\n"
	}
	words := strings.Fields(text[at[4]:at[5]])
	if slices.Contains(words, word) {
		return text
	}
	return text[:at[4]] + strings.Join(append(words, word), " ") + text[at[5]:]
}
