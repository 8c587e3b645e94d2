//go:build linux

// Package machines does random work on two to four machines with real agents,
// mounts and a real server, breaks what can break, and looks afterwards whether
// all have the same and nothing is lost.
package machines

import (
	"flag"
	"maps"
	"os"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/tests/sequence"
)

var (
	sequencesRun  = flag.Int("sequences", standard(), "how many random sequences the machines go through")
	firstSequence = flag.Int("first-sequence", 0, "the seed of the first of them")
	atOnce        = flag.Int("at-once", 5, "how many of them are under way at a time: most of it is waiting")
	logDir        = flag.String("log-dir", "", "where the agents of a sequence that failed leave what they logged of everything")
	shrinkFor     = flag.Duration("shrink-for", 4*time.Minute, "how long shorter sequences are tried of one that failed")
)

// standard is what `make test` runs; `make soak` sets SYNCFS_SOAK.
func standard() int {
	if os.Getenv("SYNCFS_SOAK") != "" {
		return 1000
	}
	return 20
}

// TestRandomWorkOfRealMachines: whatever two to four machines do, whatever breaks,
// they end equal, no content that was closed is lost, nothing that was deleted
// comes back, nothing is doubled or made up, and then nothing happens any more.
// What is allowed is what TestRandomWorkOfMachines of internal/syncer allows.
func TestRandomWorkOfRealMachines(t *testing.T) {
	gen := alphabet.Sequences()
	var mu sync.Mutex
	covered, failed := map[string]int{}, 0
	seeds := make(chan int)
	var players sync.WaitGroup
	for range *atOnce {
		players.Go(func() {
			for seed := range seeds {
				ops, cover := gen.Example(seed), map[string]int{}
				why, log := sequence.Try(t, func(t testing.TB) { run(t, ops, cover) })
				mu.Lock()
				for what, n := range cover {
					covered[what] += n
				}
				if why != "" {
					failed++
				}
				first := failed == 1
				mu.Unlock()
				if why == "" {
					continue
				}
				t.Errorf("seed %d: %s\n%s", seed, why, log)
				if first {
					shrink(t, seed, ops, why)
				}
			}
		})
	}
	for seed := *firstSequence; seed < *firstSequence+*sequencesRun; seed++ {
		mu.Lock()
		stop := failed > 2 // more of them tell nothing new
		mu.Unlock()
		if stop {
			break
		}
		seeds <- seed
	}
	close(seeds)
	players.Wait()
	for _, what := range slices.Sorted(maps.Keys(covered)) {
		t.Logf("%d of %d had: %s", covered[what], *sequencesRun, what)
	}
	// What does not happen is not tested.
	for _, what := range []string{"conflict", "edit against delete", "crash on the way"} {
		if *sequencesRun >= 20 && failed == 0 && covered[what] == 0 {
			t.Errorf("no sequence had a %s", what)
		}
	}
}

// shrink shows which operations of a sequence that failed are enough.
func shrink(t *testing.T, seed int, ops []sequence.Op, why string) {
	end := time.Now().Add(*shrinkFor)
	less, smallest := sequence.Shrink(ops, why, len(ops), func(ops []sequence.Op) string {
		if time.Now().After(end) {
			return ""
		}
		why, _ := sequence.Try(t, func(t testing.TB) { run(t, ops, map[string]int{}) })
		return why
	})
	t.Errorf("seed %d: of %d operations these are enough:\n%s%s", seed, len(ops), sequence.Literal(less), smallest)
}
