// Package mutants takes one safety rule at a time out of the product and looks
// that the random sequences of internal/syncer notice: a test that cannot fail
// proves nothing.
package mutants

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// mutant is a rule taken away: old is replaced by new in a file.
type mutant struct{ name, file, old, new string }

var mutants = []mutant{
	{"the last writer wins without a copy", "internal/reconcile/merge.go",
		"if err := m.conflict(d, name, l, path); err != nil {\n\t\t\treturn false, err\n\t\t}\n\t\tmerged = *r", "merged = *r"},
	{"a delete beats an edit", "internal/reconcile/merge.go",
		"case r == nil && lEdited:\n\t\tm.commit(path, nil, l)\n\t\treturn true, nil\n", ""},
	{"the base names a head before it is applied", "internal/syncer/pull.go", "left, err := s.apply(ctx, p, to, head.Instant)",
		"b := Base{Repository: s.o.Repository, Folder: s.o.ID, Number: head.Number, Epoch: head.Epoch, Snapshot: head.Snapshot, Instant: head.Instant, Root: head.Root}\n" +
			"\tif err := s.setBase(b); err != nil {\n\t\treturn err\n\t}\n\tleft, err := s.apply(ctx, p, to, head.Instant)"},
	{"a head that an event told of is overwritten", "internal/syncer/remote.go", "if s.head == nil || s.head.Number < head.Number {", "if true {"},
}

// TestTheSequencesNoticeThatARuleIsMissing takes the first rule away, and in a
// soak all of them.
func TestTheSequencesNoticeThatARuleIsMissing(t *testing.T) {
	list := mutants[:1]
	if os.Getenv("SYNCFS_SOAK") != "" {
		list = mutants
	}
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range list {
		t.Run(m.name, func(t *testing.T) {
			path := filepath.Join(root, m.file)
			source, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Count(string(source), m.old) != 1 {
				t.Fatalf("%s has not once: %s", m.file, m.old)
			}
			dir := t.TempDir()
			changed := filepath.Join(dir, "changed.go")
			if err := os.WriteFile(changed, []byte(strings.Replace(string(source), m.old, m.new, 1)), 0o600); err != nil {
				t.Fatal(err)
			}
			overlay, err := json.Marshal(map[string]any{"Replace": map[string]string{path: changed}})
			if err != nil {
				t.Fatal(err)
			}
			file := filepath.Join(dir, "overlay.json")
			if err := os.WriteFile(file, overlay, 0o600); err != nil {
				t.Fatal(err)
			}
			binary := filepath.Join(dir, "sequences.test")
			build := exec.Command("go", "test", "-c", "-overlay", file, "-o", binary, "./internal/syncer")
			build.Dir = root
			if out, err := build.CombinedOutput(); err != nil {
				t.Fatalf("it does not build: %v\n%s", err, out)
			}
			// In portions, until one fails.
			for first := 0; first < 200; first += 40 {
				run := exec.Command(binary, "-test.failfast", "-test.run", "TestRandomWorkOfMachines", "-sequences", "40", "-first-sequence", strconv.Itoa(first), "-shrink", "0", "-test.timeout", "10m")
				run.Dir = filepath.Join(root, "internal/syncer")
				out, err := run.CombinedOutput()
				if err == nil {
					continue
				}
				for line := range strings.Lines(string(out)) {
					if strings.Contains(line, "seed ") {
						t.Logf("within %d sequences: %s", first+40, strings.TrimSpace(line))
						return
					}
				}
				t.Fatalf("it failed of something else:\n%s", out)
			}
			t.Error("200 sequences noticed nothing")
		})
	}
}
