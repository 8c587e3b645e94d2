package meta_test

import (
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"
)

// Without compactors of its own Badger would keep every table that was ever
// written, and stop at 512 of them.
func TestWhatIsWrittenIsMerged(t *testing.T) {
	db := open(t, t.TempDir())
	r := db.Folder("one").Records()
	most := 0
	for round := range 40 {
		err := r.Update(func(set func(string, []byte) error) error {
			for i := range 500 {
				if err := set(fmt.Sprint("dir", i), []byte(strings.Repeat(fmt.Sprint(round), 1000))); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
		most = max(most, db.FreshTables())
	}
	for begin := time.Now(); db.FreshTables() >= 4; time.Sleep(10 * time.Millisecond) {
		if time.Since(begin) > time.Minute {
			t.Fatalf("%d tables are left as they were written", db.FreshTables())
		}
	}
	if most < 2 {
		t.Fatalf("at most %d tables waited: too little was written to tell", most)
	}
	for i := range 500 {
		record, err := r.Get(fmt.Sprint("dir", i))
		if err != nil || string(record) != strings.Repeat("39", 1000) {
			t.Fatalf("dir%d: %d bytes, %v", i, len(record), err)
		}
	}
}

func TestNothingLooksForWorkAtRest(t *testing.T) {
	open(t, t.TempDir())
	stacks := make([]byte, 1<<20)
	stacks = stacks[:runtime.Stack(stacks, true)]
	if strings.Contains(string(stacks), "runCompactor") {
		t.Error("Badger's compactors run: they wake 40 times a second for ever")
	}
}
