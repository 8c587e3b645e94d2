package syncer_test

import (
	"flag"
	"fmt"
	"os"
	"testing"
)

// TestMain runs more tests side by side than there are processors: they mostly
// wait for files to rest. A -parallel on the command line is obeyed.
func TestMain(m *testing.M) {
	flag.Parse()
	given := false
	flag.Visit(func(f *flag.Flag) { given = given || f.Name == "test.parallel" })
	if !given {
		if err := flag.Set("test.parallel", "8"); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}
