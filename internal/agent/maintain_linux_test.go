package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/syncfs/syncfs/internal/agent"
)

func TestManySmallRoundsAreMergedOnTheRemote(t *testing.T) {
	t.Setenv(maintainVariable, "1s")
	repository := filepath.Join(t.TempDir(), "repository")
	a := newHome(t, repository, agent.InitRepository).start()
	a.add("Docs", false)
	const rounds = 80 // more than what is worth merging
	for i := range rounds {
		sh(t, a.dir("Docs"), `echo "$1" > "f$1"`, fmt.Sprint(i))
		a.flush()
	}
	objects := func(prefix string) (n int) {
		err := filepath.WalkDir(repository, func(path string, d os.DirEntry, err error) error {
			if err == nil && !d.IsDir() && strings.Contains(path, prefix) {
				n++
			}
			return nil // gone meanwhile
		})
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	a.eventually("index blobs and records are merged", func() bool {
		return objects("/index/delta/") < rounds/2 && objects("/index/run/") > 0 &&
			objects("/snapshots/") < rounds/2 && objects("/log/") > 0
	})
	// Whoever comes now finds everything, and who was there goes on.
	b := newHome(t, repository, agent.ConnectRepository).start()
	b.get("Docs")
	if got, want := listing(t, b.dir("Docs")), listing(t, a.dir("Docs")); got != want {
		t.Fatalf("the second home has\n%s\nwant\n%s", got, want)
	}
	b.eventually("all versions are there", func() bool {
		names, err := os.ReadDir(b.dir("Docs/.versions"))
		return err == nil && len(names) >= rounds
	})
	sh(t, b.dir("Docs"), `echo b > b; cat .versions/*/f0 > /dev/null`)
	b.flush()
	a.eventually("a follows", func() bool { return listing(t, b.dir("Docs")) == listing(t, a.dir("Docs")) })
}
