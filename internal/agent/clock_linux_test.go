package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/syncfs/syncfs/internal/agent"
)

// A clock that is set back a year, while the agent runs or before it starts,
// costs nothing: versions keep their order, and all goes on.
func TestAClockThatIsSetBack(t *testing.T) {
	a := newHome(t, filepath.Join(t.TempDir(), "repository"), agent.InitRepository).start()
	a.add("Docs", false)
	sh(t, a.dir("Docs"), `echo 0 > f`)
	a.flush()
	set := func(offset string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(a.dirs.State, "test-clock"), []byte(offset), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want := 1
	change := func() {
		t.Helper()
		sh(t, a.dir("Docs"), `echo "$1" > f`, fmt.Sprint(want))
		a.flush()
		if got := sh(t, a.dir("Docs"), `cat .versions/latest/f`); got != fmt.Sprintf("%d\n", want) {
			t.Errorf("change %d: the latest version has %q", want, got)
		}
		want++
	}
	set("-8760h")
	change()
	a.stop()
	a.start()
	change()
	set("-17520h")
	change()
	a.kill()
	a.start()
	change()
	set("0s")
	change()
	r, err := agent.OpenReader(t.Context(), a.dirs, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	p, err := r.Locate(t.Context(), a.dir("Docs/f"))
	if err != nil {
		t.Fatal(err)
	}
	list, err := r.FileVersions(t.Context(), p)
	// More where a look came between truncation and write: that is a state, too.
	if err != nil || len(list) < want {
		t.Fatalf("%d versions of %d, %v", len(list), want, err)
	}
	for i := range list[1:] {
		if list[i].Instant.Compare(list[i+1].Instant) >= 0 {
			t.Errorf("version %d is %s, the next one %s", i, list[i].Instant, list[i+1].Instant)
		}
	}
	a.eventually("all is safe", func() bool {
		st, err := a.c.Status(t.Context())
		return err == nil && st.Folders[0].State == agent.StateSafe
	})
}
