//go:build linux

package syncer_test

import (
	"flag"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"testing"

	"github.com/syncfs/syncfs/tests/sequence"
)

// Of a long run, to look for what is rare.
var (
	sequencesRun  = flag.Int("sequences", defaultSequences, "how many random sequences the machines go through")
	firstSequence = flag.Int("first-sequence", 0, "the seed of the first of them")
	logDir        = flag.String("log-dir", "", "where the log of a sequence that failed goes")
	shrinkTries   = flag.Int("shrink", 60, "how many shorter sequences are tried of one that failed")
)

// TestRandomWorkOfMachines: whatever two to four machines do, whatever breaks,
// they end equal, no content that was closed is lost, nothing that was deleted
// comes back, nothing is doubled or made up, and then nothing happens any more.
//
// What is allowed, beside the properties of ledger, player and play: a content
// that its own machine replaced before it was captured may be in no snapshot;
// two machines that renamed one file are both right; a change of attributes
// alone does not hold off a delete; what a machine replaces after a crash in the
// middle of an apply may stay as a conflict copy, or come back.
func TestRandomWorkOfMachines(t *testing.T) {
	gen := alphabet.Sequences()
	var mu sync.Mutex
	covered, ran, rare := map[string]int{}, 0, 0
	t.Run("sequences", func(t *testing.T) {
		for seed := *firstSequence; seed < *firstSequence+*sequencesRun; seed++ {
			t.Run(fmt.Sprint(seed), func(t *testing.T) {
				t.Parallel()
				ops, cover := gen.Example(seed), map[string]int{}
				why, log := sequence.Try(t, func(t testing.TB) { run(t, ops, cover) })
				mu.Lock()
				ran++
				for what, n := range cover {
					covered[what] += n
				}
				mu.Unlock()
				if why == "" {
					return
				}
				if *logDir != "" {
					if err := os.WriteFile(filepath.Join(*logDir, fmt.Sprint(seed, ".log")), []byte(log+why+"\n"), 0o600); err != nil {
						t.Error(err)
					}
				}
				if once(t, ops) {
					mu.Lock()
					rare++
					mu.Unlock()
					t.Logf("seed %d failed once, and then %d times not: %s\n%s", seed, replays, why, log)
					return
				}
				less, smallest := sequence.Shrink(ops, why, *shrinkTries, func(ops []sequence.Op) string {
					why, _ := sequence.Try(t, func(t testing.TB) { run(t, ops, map[string]int{}) })
					return why
				})
				t.Errorf("seed %d: %s\n\nof %d operations these are enough:\n%s%s", seed, why, len(ops), sequence.Literal(less), smallest)
			})
		}
	})
	// A busy machine puts the engine's step between what a program of the test
	// looks at and what it does, and the ledger then takes one for the other. More
	// than a few of that are a fault.
	if rare > max(1, ran/100) {
		t.Errorf("%d of %d sequences failed once", rare, ran)
	}
	// What does not happen is not tested.
	for _, what := range []string{"conflict", "edit against delete", "crash during upload", "rename during a partition"} {
		if ran >= 100 && covered[what]*20 < ran {
			t.Errorf("%d of %d sequences had a %s: fewer than one in twenty", covered[what], ran, what)
		}
	}
	for _, what := range slices.Sorted(maps.Keys(covered)) {
		t.Logf("%d of %d had a %s", covered[what], ran, what)
	}
}

// replays is how often a sequence that failed must pass to count as one that
// failed once.
const replays = 3

// once tells whether a sequence that has failed does not fail again.
func once(t *testing.T, ops []sequence.Op) bool {
	for range replays {
		if why, _ := sequence.Try(t, func(t testing.TB) { run(t, ops, map[string]int{}) }); why != "" {
			return false
		}
	}
	return true
}
