//go:build linux

package folder_test

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/versions"
)

// apply makes steps as the applier of a folder that is not mounted does.
func (b *bench) stage(t fataler, d *folder.Direct, name, data string) versions.Entry {
	t.Helper()
	e, err := b.contents.Write(t.Context(), strings.NewReader(data))
	must(t, err)
	e.Name, e.Kind, e.Mode, e.MTime = name, versions.File, 0o640, 1_600_000_000_123_456_789
	r, err := b.contents.Open(t.Context(), e)
	must(t, err)
	defer r.Close()
	_, _, err = disk.DirOf(d.Stage()).Create(t.Context(), name, e, r, disk.CreateOptions{Sync: true})
	must(t, err)
	return e
}

func (b *bench) sig(t fataler, path string) disk.Sig {
	t.Helper()
	root, err := disk.OpenRoot(b.dir)
	must(t, err)
	defer root.Close()
	dir, name := "", path
	if i := strings.LastIndexByte(path, '/'); i >= 0 {
		dir, name = path[:i], path[i+1:]
	}
	d, err := root.OpenDir(dir)
	must(t, err)
	defer d.Close()
	st, err := d.Stat(name)
	must(t, err)
	return st.Sig
}

func direct(t *testing.T, b *bench) *folder.Direct {
	t.Helper()
	d, err := folder.NewDirect(b.f)
	must(t, err)
	t.Cleanup(func() { must(t, d.Close()) })
	return d
}

func TestAppliedStepsAreNoChangesOfOurs(t *testing.T) {
	b := newBench(t)
	fill(t, b, "a")
	b.take(t)
	d := direct(t, b)
	do := func(s disk.Step) {
		t.Helper()
		must(t, d.Do(t.Context(), s))
	}
	dirMeta := disk.Meta{Mode: 0o750, MTime: 1_500_000_000_000_000_001}
	placed := b.stage(t, d, "one", "placed")
	do(disk.Step{Op: disk.MakeDir, Path: "new", Staged: "dir", Meta: dirMeta})
	newDir := versions.Entry{Name: "new", Kind: versions.Dir, Mode: 0o750, MTime: dirMeta.MTime}
	must(t, b.f.Applied([]folder.Applied{{Path: "new", Entry: &newDir, Sig: b.sig(t, "new")}}))
	do(disk.Step{Op: disk.Place, Path: "new/file", Staged: "one"})
	replaced := b.stage(t, d, "two", "replaced")
	do(disk.Step{Op: disk.Replace, Path: "a/d1/e/f1", Staged: "two"})
	do(disk.Step{Op: disk.Remove, Path: "a/d1/e/f6", Staged: "three"})
	do(disk.Step{Op: disk.Move, Path: "a/moved", From: "a/d2/e/f2"})
	do(disk.Step{Op: disk.SetMeta, Path: "new", Meta: dirMeta})
	for name, want := range map[string]string{"two": "a content 1", "three": "a content 6"} {
		got, err := os.ReadFile(d.Stage().Name() + "/" + name)
		if err != nil || string(got) != want {
			t.Fatalf("displaced as %s: %q %v, want %q", name, got, err, want)
		}
		if idle, err := d.Idle(name); err != nil || !idle {
			t.Fatalf("%s is in use: %v", name, err)
		}
		must(t, os.Remove(d.Stage().Name()+"/"+name))
	}

	moved, _, err := b.f.Recorded("a/d2/e/f2")
	must(t, err)
	must(t, b.f.Applied([]folder.Applied{
		{Path: "new", Entry: &newDir, Sig: b.sig(t, "new")},
		{Path: "new/file", Entry: &placed, Sig: b.sig(t, "new/file")},
		{Path: "a/d1/e/f1", Entry: &replaced, Sig: b.sig(t, "a/d1/e/f1")},
		{Path: "a/d1/e/f6"},
		{Path: "a/d2/e/f2"},
		{Path: "a/moved", Entry: &moved, Sig: b.sig(t, "a/moved")},
	}))
	if n, _ := b.f.Pending(); n != 0 {
		t.Fatalf("%d entries are dirty after applying", n)
	}
	if e, sig, err := b.f.Recorded("new/file"); err != nil || e.Size != 6 || sig != b.sig(t, "new/file") {
		t.Fatalf("recorded: %+v %+v %v", e, sig, err)
	}
	if _, _, err := b.f.Recorded("a/d1/e/f6"); !errors.Is(err, os.ErrNotExist) {
		t.Fatalf("recorded of what is gone: %v", err)
	}
	b.chunks.Reset()
	built := b.commit(t)
	if built == nil || built.Files != 0 {
		t.Fatalf("built %+v: want new listings, nothing read", built)
	}
	for path, want := range map[string]string{"new/file": "placed", "a/d1/e/f1": "replaced", "a/moved": "a content 2"} {
		if got := b.content(t, built.Root, path); got != want {
			t.Errorf("%s is %q, want %q", path, got, want)
		}
	}
	if built.Root.Count != 40 {
		t.Errorf("%d entries, want 40", built.Root.Count)
	}
	if e, _ := b.lookup(t, built.Root, "new"); e.MTime != newDir.MTime || e.Mode != 0o750 || e.Count != 1 {
		t.Errorf("the directory became %+v", e)
	}
	b.open(t)
	b.take(t) // directories' own times moved with the steps
	b.sameAsDisk(t, b.recordedRoot(t))
}

func TestAppliedSurvivesACrashBeforeTheNextBuild(t *testing.T) {
	b := newBench(t)
	fill(t, b, "a")
	b.take(t)
	d := direct(t, b)
	e := b.stage(t, d, "x", "applied")
	must(t, d.Do(t.Context(), disk.Step{Op: disk.Place, Path: "a/d1/x", Staged: "x"}))
	must(t, b.f.Applied([]folder.Applied{{Path: "a/d1/x", Entry: &e, Sig: b.sig(t, "a/d1/x")}}))
	b.open(t)
	b.take(t)
	b.sameAsDisk(t, b.recordedRoot(t))
}

func TestAppliedBetweenBuildAndRecordIsKept(t *testing.T) {
	b := newBench(t)
	fill(t, b, "a")
	b.take(t)
	write(t, b.path("a/d1/local"), "local")
	b.scan(t)
	built := b.build(t, folder.BuildOptions{})
	d := direct(t, b)
	e := b.stage(t, d, "x", "applied")
	// The directory is dirty but the path is not: its own check passes.
	must(t, d.Do(t.Context(), disk.Step{Op: disk.Place, Path: "a/d2/x", Staged: "x"}))
	must(t, b.f.Applied([]folder.Applied{{Path: "a/d2/x", Entry: &e, Sig: b.sig(t, "a/d2/x")}}))
	b.record(t, built)
	b.commit(t)
	root := b.recordedRoot(t)
	if b.content(t, root, "a/d2/x") != "applied" || b.content(t, root, "a/d1/local") != "local" {
		t.Fatal("one of both is lost")
	}
	b.take(t)
	b.sameAsDisk(t, b.recordedRoot(t))
}

func TestUnchangedRefusesWhatIsNotAsRecorded(t *testing.T) {
	b := newBench(t)
	fill(t, b, "a")
	b.take(t)
	check := func(path string, want error) {
		t.Helper()
		if err := b.f.Unchanged(path); !errors.Is(err, want) || want == nil && err != nil {
			t.Errorf("%s: %v, want %v", path, err, want)
		}
	}
	check("a/d1/e/f1", nil)
	check("a/d1", nil)
	check("nothing/here", nil)
	write(t, b.path("a/d1/e/f1"), "edited")
	check("a/d1/e/f1", folder.ErrChanged)
	write(t, b.path("unknown"), "x")
	check("unknown", folder.ErrChanged)
	must(t, os.Remove(b.path("a/d2/e/f2")))
	check("a/d2/e/f2", folder.ErrChanged)
	b.f.Changed("a/d3/e/f3")
	check("a/d3/e/f3", folder.ErrDirty)
	check("a/d3", folder.ErrDirty)
	f, err := os.OpenFile(b.path("a/d4/e/f4"), os.O_WRONLY, 0)
	must(t, err)
	check("a/d4/e/f4", folder.ErrInUse)
	must(t, f.Close())
	check("a/d4/e/f4", nil)
}

func TestDirectRefusesToTouchWhatChanged(t *testing.T) {
	b := newBench(t)
	fill(t, b, "a")
	b.take(t)
	d := direct(t, b)
	b.stage(t, d, "x", "remote")
	write(t, b.path("a/d1/e/f1"), "local")
	err := d.Do(t.Context(), disk.Step{Op: disk.Replace, Path: "a/d1/e/f1", Staged: "x"})
	if !errors.Is(err, folder.ErrChanged) {
		t.Fatalf("replaced a changed file: %v", err)
	}
	if got, _ := os.ReadFile(b.path("a/d1/e/f1")); string(got) != "local" {
		t.Fatalf("the local file is %q", got)
	}
	must(t, os.Remove(d.Stage().Name()+"/x"))
}

func TestLeftoversOfACrashedApplierAreFound(t *testing.T) {
	b := newBench(t)
	b.take(t)
	old := folder.StagePrefix + "0123"
	write(t, b.path(old+"/displaced"), "content")
	d := direct(t, b)
	names, err := d.Leftovers()
	if err != nil || len(names) != 1 || names[0] != old {
		t.Fatalf("leftovers: %v %v", names, err)
	}
	f, err := os.Open(b.path(old + "/displaced"))
	must(t, err)
	must(t, os.Rename(b.path(old+"/displaced"), d.Stage().Name()+"/displaced"))
	if idle, err := d.Idle("displaced"); err != nil || idle {
		t.Fatalf("a file that somebody has open is idle: %v %v", idle, err)
	}
	must(t, f.Close())
	if idle, err := d.Idle("displaced"); err != nil || !idle {
		t.Fatalf("a file that nobody has open is not idle: %v %v", idle, err)
	}
	must(t, os.Remove(d.Stage().Name()+"/displaced"))
}

func TestWakePendingAndDirty(t *testing.T) {
	b := newBench(t)
	fill(t, b, "a")
	b.take(t)
	for drained := false; !drained; {
		select {
		case <-b.f.Wake():
		default:
			drained = true
		}
	}
	write(t, b.path("a/new"), strings.Repeat("x", 1000))
	b.f.Changed("a/new")
	select {
	case <-b.f.Wake():
	case <-time.After(10 * time.Second):
		t.Fatal("no wake")
	}
	b.f.Changed("a/new")
	select {
	case <-b.f.Wake():
		t.Fatal("woken by what was dirty already")
	default:
	}
	if n, size := b.f.Pending(); n != 1 || size != 1000 {
		t.Fatalf("pending: %d entries, %d bytes", n, size)
	}
	for path, want := range map[string]bool{"": true, "a": true, "a/new": true, "a/new/below": true, "a/d1": false, "b": false} {
		if got := b.f.Dirty(path); got != want {
			t.Errorf("dirty %q: %v, want %v", path, got, want)
		}
	}
	b.commit(t)
	if n, size := b.f.Pending(); n != 0 || size != 0 {
		t.Fatalf("pending in the end: %d entries, %d bytes", n, size)
	}
}

func TestWhatWasTakenInTheInstantOfItsChangeIsCertainAfterOneMoreLook(t *testing.T) {
	b := newBench(t)
	write(t, b.path("f"), "just now")
	b.take(t)
	if err := b.f.Unchanged("f"); !errors.Is(err, folder.ErrDirty) {
		t.Fatalf("its signature was believed: %v", err)
	}
	waitFor(t, "certainty", func() bool {
		b.commit(t)
		return b.f.Unchanged("f") == nil
	})
}

// The watch may tell of the applier's rename before the applier does. Nothing
// has to be looked at again: what is looked at so soon after its inode changed
// is recorded as doubtful, and the next change from elsewhere would wait for it.
func TestARenameOfTheAppliersLeavesNothingDirty(t *testing.T) {
	for _, tt := range []struct {
		name           string
		before, writes bool
	}{
		{"told after it", false, false},
		{"told before it", true, false},
		{"told before it, and written", true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			b := newBench(t)
			fill(t, b, "a")
			b.take(t)
			const from, to = "a/d1/e/f1", "a/moved"
			entry, _, err := b.f.Recorded(from)
			must(t, err)
			must(t, os.Rename(b.path(from), b.path(to)))
			sig := b.sig(t, to)
			if tt.before {
				b.f.Renamed(from, to)
			}
			if tt.writes {
				write(t, b.path(to), "a program's")
			}
			must(t, b.f.Applied([]folder.Applied{{Path: from}, {Path: to, Entry: &entry, Sig: sig, From: from}}))
			if got := b.f.Dirty(to); got != tt.writes {
				t.Errorf("%s is dirty: %v, want %v", to, got, tt.writes)
			}
		})
	}
}
