package syncer_test

import (
	"context"
	"fmt"
	"sort"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/syncer"
	"github.com/syncfs/syncfs/versions"
)

// same compares two trees.
func same(t testing.TB, what string, got, want map[string]string) {
	t.Helper()
	if d := difference(got, want); d != "" {
		t.Fatalf("%s:\n%s", what, d)
	}
}

func difference(got, want map[string]string) string {
	var out []string
	for p, c := range want {
		if g, ok := got[p]; !ok {
			out = append(out, fmt.Sprintf("  %s is missing (%.30q)", p, c))
		} else if g != c {
			out = append(out, fmt.Sprintf("  %s is %.30q, want %.30q", p, g, c))
		}
	}
	for p := range got {
		if _, ok := want[p]; !ok {
			out = append(out, fmt.Sprintf("  %s is too much (%.30q)", p, got[p]))
		}
	}
	sort.Strings(out)
	return strings.Join(out, "\n")
}

// together waits until machines hold the same tree and have nothing to send.
func together(t testing.TB, machines ...*machine) {
	t.Helper()
	var why string
	end := time.Now().Add(patience)
	for {
		why = apart(machines)
		if why == "" {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the machines do not come together:\n%s", why)
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func apart(machines []*machine) string {
	first := machines[0].tree()
	for _, m := range machines {
		if d := difference(m.tree(), first); d != "" {
			return m.name + " against " + machines[0].name + ":\n" + d
		}
		if st := m.run.s.Status(); st.State != syncer.Safe {
			return fmt.Sprintf("%s is %v: %d pending, %d queued, %v", m.name, st.State, st.PendingFiles, st.Queued, st.Err)
		}
	}
	return ""
}

// onlyBy verifies that one machine alone has made snapshots.
func onlyBy(t testing.TB, w *world, m *machine, host string) {
	t.Helper()
	list := w.records()
	for i, r := range list {
		if r.Host == host || i == 0 {
			continue
		}
		t.Errorf("%s made snapshot %s, though it changed nothing", r.Host, r.Instant)
		err := m.run.trees.Diff(context.Background(), list[i-1].Root, r.Root, func(c versions.Change) error {
			t.Errorf("  %s: %+v, was %+v", c.Path, c.New, c.Old)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}
}
