//go:build linux

package folder_test

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"
	"pgregory.net/rapid"

	"github.com/syncfs/syncfs/internal/folder"
)

// machine makes random changes to a real directory, and tells the folder of
// them as a mount would, or leaves it to scans.
type machine struct {
	*bench
	rt   *rapid.T
	told bool // changes are told by Changed and Renamed
	next int
}

func (m *machine) draw(label string) string {
	names := []string{"a", "b", "c", "d\xff", "e.txt"}
	depth := rapid.IntRange(1, 3).Draw(m.rt, "depth")
	path := ""
	for range depth {
		path = filepath.Join(path, rapid.SampledFrom(names).Draw(m.rt, label))
	}
	return path
}

func (m *machine) changed(path string) {
	if m.told {
		m.f.Changed(path)
	}
}

// op makes one change; what the disk refuses is no change.
func (m *machine) op() {
	rt := m.rt
	path := m.draw("path")
	full := m.path(path)
	switch op := rapid.IntRange(0, 13).Draw(rt, "op"); op {
	case 0, 1, 2, 3:
		m.next++
		data := fmt.Sprintf("#%d:%s", m.next, string(make([]byte, rapid.SampledFrom([]int{0, 1, 4096, 70_000}).Draw(rt, "size"))))
		if os.WriteFile(full, []byte(data), 0o644) == nil {
			m.changed(path)
		}
	case 4, 5:
		if os.Mkdir(full, 0o755) == nil {
			m.changed(path)
		}
	case 6:
		if os.Remove(full) == nil {
			m.changed(path)
		}
	case 7:
		if os.RemoveAll(full) == nil {
			m.changed(path)
		}
	case 8, 9:
		to := m.draw("to")
		if os.Rename(full, m.path(to)) == nil && m.told && path != to {
			m.f.Renamed(path, to)
		}
	case 10:
		if os.Symlink("/nowhere/target\xff"+path, full) == nil {
			m.changed(path)
		}
	case 11:
		to := m.draw("to")
		if os.Link(full, m.path(to)) == nil {
			m.changed(path)
			m.changed(to)
			m.allLinks(full)
		}
	case 12:
		if os.Chmod(full, os.FileMode(rapid.SampledFrom([]int{0o600, 0o755, 0o444}).Draw(rt, "mode"))) == nil {
			m.changed(path)
			m.allLinks(full)
		}
	case 13:
		if unix.Lsetxattr(full, "user.x", []byte{byte(m.next)}, 0) == nil {
			m.changed(path)
			m.allLinks(full)
		}
	}
}

// allLinks tells of every name of a file, as nothing else knows them.
func (m *machine) allLinks(full string) {
	if !m.told {
		return
	}
	var st unix.Stat_t
	if unix.Lstat(full, &st) != nil || st.Nlink < 2 {
		return
	}
	_ = filepath.WalkDir(m.dir, func(p string, _ os.DirEntry, _ error) error {
		var other unix.Stat_t
		if unix.Lstat(p, &other) == nil && other.Ino == st.Ino {
			rel, _ := filepath.Rel(m.dir, p)
			m.f.Changed(rel)
		}
		return nil
	})
}

// TestBuildsEqualTheDisk: after any changes the tree read back is what the disk
// shows, and an incremental build gives the tree of a build from nothing.
func TestBuildsEqualTheDisk(t *testing.T) {
	for _, told := range []bool{true, false} {
		t.Run(fmt.Sprintf("told=%v", told), func(t *testing.T) {
			rapid.Check(t, func(rt *rapid.T) {
				m := &machine{bench: newBench(t), rt: rt, told: told}
				m.take(rt)
				for range rapid.IntRange(1, 5).Draw(rt, "rounds") {
					for range rapid.IntRange(0, 12).Draw(rt, "ops") {
						m.op()
					}
					// The other names of a link that lost one of its names are
					// known to a scan alone.
					if !m.told || rapid.Bool().Draw(rt, "scan") || m.hasLinks() {
						m.scan(rt)
					}
					switch rapid.IntRange(0, 3).Draw(rt, "end") {
					case 0: // not recorded: found again
						m.build(rt, folder.BuildOptions{})
						continue
					case 1: // a crash: what was told is forgotten
						m.open(rt)
						m.scan(rt)
					}
					m.check(rt)
				}
			})
		})
	}
}

func (m *machine) hasLinks() bool {
	for _, e := range m.entries(m.rt) {
		if e.Link != [16]byte{} {
			return true
		}
	}
	return false
}

func (m *machine) check(rt *rapid.T) {
	rt.Helper()
	m.commit(rt)
	root := m.recordedRoot(rt)
	m.sameAsDisk(rt, root)
	if n, _ := m.f.Pending(); n != 0 {
		rt.Fatalf("%d entries are dirty after a build", n)
	}
	if m.hasLinks() {
		return // groups are random: another build gives another tree
	}
	fresh, err := folder.Open(folder.Options{Root: m.root, Records: newRecords()})
	must(rt, err)
	must(rt, fresh.Scan(rt.Context(), nil))
	built, err := fresh.Build(rt.Context(), m.trees, m.contents, folder.BuildOptions{})
	must(rt, err)
	if built.Root.Tree != root.Tree || built.Root.Size != root.Size || built.Root.Count != root.Count {
		rt.Fatalf("incremental build gives %v, %d bytes, %d entries; from nothing %v, %d, %d",
			root.Tree, root.Size, root.Count, built.Root.Tree, built.Root.Size, built.Root.Count)
	}
}
