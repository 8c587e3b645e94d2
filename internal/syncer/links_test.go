package syncer_test

import (
	"os"
	"path/filepath"
	"sort"
	"strings"
	"testing"
)

// groups are the names that are one file, as "a=b=c" for each file of several.
func (m *machine) groups(names ...string) string {
	m.w.t.Helper()
	var list []string
	for len(names) > 0 {
		first, err := os.Lstat(filepath.Join(m.dir, names[0]))
		if err != nil {
			m.w.t.Fatal(err)
		}
		same, others := []string{names[0]}, []string{}
		for _, n := range names[1:] {
			if st, err := os.Lstat(filepath.Join(m.dir, n)); err == nil && os.SameFile(first, st) {
				same = append(same, n)
			} else {
				others = append(others, n)
			}
		}
		if len(same) > 1 {
			list = append(list, strings.Join(same, "="))
		}
		names = others
	}
	sort.Strings(list)
	return strings.Join(list, " ")
}

func (m *machine) link(old, name string) {
	m.w.t.Helper()
	path := filepath.Join(m.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		m.w.t.Fatal(err)
	}
	if err := os.Link(filepath.Join(m.dir, old), path); err != nil {
		m.w.t.Fatal(err)
	}
}

// Where a new name of a hard link finds the inode on the receiver.
func TestNewNamesOfAHardLinkFindItsInode(t *testing.T) {
	for _, tc := range []struct {
		name   string
		change func(a *machine)
		names  string
		want   string
	}{
		{"one more, and nothing else", func(a *machine) { a.link("one", "more") }, "one two more", "one=two=more"},
		{"one more, and the attributes of all change", func(a *machine) {
			if err := os.Chmod(filepath.Join(a.dir, "one"), 0o600); err != nil {
				a.w.t.Fatal(err)
			}
			a.link("one", "dir/more")
		}, "one two dir/more", "one=two=dir/more"},
		{"one more, and the content of all changes", func(a *machine) {
			a.write("one", "another") // through the inode
			a.link("one", "more")
		}, "one two more", "one=two=more"},
		{"one is replaced", func(a *machine) {
			a.remove("two")
			a.write("two", "apart")
		}, "one two", ""},
		{"all names are others", func(a *machine) {
			a.link("one", "x/three")
			a.link("one", "x/four")
			a.remove("one")
			a.remove("two")
		}, "x/three x/four", "x/three=x/four"},
		{"one goes over to another group", func(a *machine) {
			a.remove("two")
			a.link("other", "two")
		}, "one two other", "two=other"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			a, b := w.machine("a"), w.machine("b")
			a.write("one", "linked")
			a.link("one", "two")
			a.write("other", "other")
			a.start().flush()
			b.start()
			together(t, a, b)
			if got := b.groups("one", "two"); got != "one=two" {
				t.Fatalf("at first: %q", got)
			}
			tc.change(a)
			a.flush()
			together(t, a, b)
			names := strings.Fields(tc.names)
			eventually(t, "the names are one file", func() bool { return b.groups(names...) == tc.want })
			if got := a.groups(names...); got != tc.want {
				t.Errorf("a has %q, want %q", got, tc.want)
			}
			together(t, a, b)
			onlyBy(t, w, a, "a")
		})
	}
}
