//go:build linux

package folder_test

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/syncfs/syncfs/internal/disk"
	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/ignore"
	"github.com/syncfs/syncfs/versions"
)

// holds fails unless the recorded tree has these paths, and no others of those
// asked for.
func (b *bench) holds(t fataler, want map[string]bool) {
	t.Helper()
	root := b.recordedRoot(t)
	for p, there := range want {
		if _, ok := b.lookup(t, root, p); ok != there {
			t.Fatalf("%s is in the tree: %v, want %v", p, ok, there)
		}
	}
}

// now writes a file as a program does, and tells of it as the mount does.
func (b *bench) now(t fataler, p, data string) {
	t.Helper()
	write(t, b.path(p), data)
	b.f.Changed(p)
}

func TestIgnoredPathsAreNotTakenUnlessTracked(t *testing.T) {
	b := newBench(t)
	write(t, b.path("tracked/x.o"), "1")
	write(t, b.path("out/in"), "1")
	b.take(t)
	write(t, b.path(ignore.Name), "*.o\nbuild/\nout/\n")
	write(t, b.path("tracked/x.o"), "22")
	write(t, b.path("tracked/y.o"), "3")
	write(t, b.path("build/z"), "4")
	write(t, b.path("out/in"), "55")
	write(t, b.path("out/new"), "5")
	write(t, b.path("src/w"), "5")
	write(t, b.path("src/.w.swp"), "5")
	b.take(t)
	b.holds(t, map[string]bool{
		ignore.Name: true, "tracked/x.o": true, "tracked/y.o": false, "build": false, "build/z": false,
		"out/in": true, "out/new": false, "src/w": true, "src/.w.swp": false,
	})
	root := b.recordedRoot(t)
	for p, want := range map[string]string{"tracked/x.o": "22", "out/in": "55"} {
		if got := b.content(t, root, p); got != want {
			t.Errorf("the tracked %s is %q, want %q", p, got, want)
		}
	}
	must(t, os.Remove(b.path("out/in")))
	b.take(t)
	b.holds(t, map[string]bool{"out/in": false})
}

func TestIgnoredDirectoriesCostNothing(t *testing.T) {
	w := newWatched(t)
	write(t, w.path(ignore.Name), "node_modules/\n")
	for i := range 40 {
		write(t, w.path(fmt.Sprintf("a/node_modules/m%d/index.js", i)), "x")
	}
	waitFor(t, "the rules to be taken", func() bool {
		time.Sleep(60 * time.Millisecond) // until no time of change is too fresh to say anything
		w.scan(t)
		w.commit(t)
		_, _, err := w.f.Recorded(ignore.Name)
		n, _ := w.f.Pending()
		return err == nil && n == 0
	})
	w.holds(t, map[string]bool{"a/node_modules": false})
	for p, want := range map[string]bool{"a/node_modules": true, "a/node_modules/m1/index.js": true, "a/d1": false, "a": false} {
		if got := w.f.Unwatched(func() (string, bool) { return p, true }); got != want {
			t.Errorf("%s is unwatched: %v, want %v", p, got, want)
		}
	}
	if !w.wasTold("a/node_modules") { // what the kernel has cached of it
		t.Error("nobody was told of the ignored directory")
	}
	watched := w.f.Watched()
	if watched > 20 {
		t.Errorf("%d directories are watched", watched)
	}
	w.f.Changed("a/node_modules/m1/index.js")
	w.f.Changed("a/node_modules/m1/new.js")
	w.f.Renamed("a/node_modules/m1", "a/node_modules/m41")
	w.scan(t)
	if n, _ := w.f.Pending(); n != 0 {
		t.Errorf("%d entries are dirty", n)
	}
	// What leaves it is taken, what moves in goes.
	must(t, os.Rename(w.path("a/node_modules/m2"), w.path("a/mine")))
	w.f.Renamed("a/node_modules/m2", "a/mine")
	must(t, os.Rename(w.path("a/d1"), w.path("a/node_modules/d1")))
	w.f.Renamed("a/d1", "a/node_modules/d1")
	w.commit(t)
	w.holds(t, map[string]bool{"a/mine/index.js": true, "a/d1": false, "a/node_modules": false})
}

func TestAChangeOfTheRulesFindsWhatTheyKeptOut(t *testing.T) {
	kept := []string{"x.o", "d/y.o", "d/e/z.o", "build/deep/er/f", "d/e/build/g"}
	prepare := func(t *testing.T) *bench {
		b := newBench(t)
		write(t, b.path(ignore.Name), "*.o\nbuild/\n")
		for _, p := range append(kept, "d/e/take", "d/.w.swp") {
			write(t, b.path(p), "x")
		}
		b.take(t)
		for _, p := range kept {
			b.holds(t, map[string]bool{p: false})
		}
		return b
	}
	all := map[string]bool{"d/e/take": true, "d/.w.swp": false}
	for _, p := range kept {
		all[p] = true
	}
	t.Run("changed by a program", func(t *testing.T) {
		b := prepare(t)
		b.now(t, ignore.Name, "nothing\n")
		b.commit(t)
		b.holds(t, all)
	})
	t.Run("removed by a program", func(t *testing.T) {
		b := prepare(t)
		must(t, os.Remove(b.path(ignore.Name)))
		b.f.Changed(ignore.Name)
		b.commit(t)
		b.holds(t, all)
	})
	t.Run("saved through another name", func(t *testing.T) {
		b := prepare(t)
		write(t, b.path("tmp"), "# nothing\n")
		must(t, os.Rename(b.path("tmp"), b.path(ignore.Name)))
		b.f.Renamed("tmp", ignore.Name)
		b.commit(t)
		b.holds(t, all)
	})
	t.Run("overridden deeper down", func(t *testing.T) {
		b := prepare(t)
		b.now(t, "d/e/"+ignore.Name, "!*.o\n!build/\n")
		b.commit(t)
		b.holds(t, map[string]bool{"d/e/z.o": true, "d/e/build/g": true, "d/y.o": false, "build": false})
	})
	t.Run("put there by another machine", func(t *testing.T) {
		b := prepare(t)
		e, _, err := b.f.Recorded(ignore.Name)
		must(t, err)
		write(t, b.path(ignore.Name), "nothing\n")
		must(t, b.f.Applied([]folder.Applied{{Path: ignore.Name, Entry: &e, Sig: b.sig(t, ignore.Name)}}))
		select {
		case <-b.f.Wake():
		default:
			t.Error("nobody is woken")
		}
		b.commit(t)
		b.holds(t, all)
	})
	t.Run("while nobody looked", func(t *testing.T) {
		b := prepare(t)
		write(t, b.path(ignore.Name), "nothing\n")
		b.open(t)
		b.take(t)
		b.holds(t, all)
	})
}

func TestNothingIsTakenWhileTheRulesAreBeingWritten(t *testing.T) {
	b := newBench(t)
	write(t, b.path(ignore.Name), "build/\n")
	write(t, b.path("build/f"), "x")
	b.take(t)
	file, err := os.OpenFile(b.path(ignore.Name), os.O_RDWR|os.O_TRUNC, 0)
	must(t, err)
	b.f.Changed(ignore.Name)
	b.now(t, "new", "x")
	b.take(t)
	b.holds(t, map[string]bool{"build": false, "new": false})
	if n, _ := b.f.Pending(); n == 0 {
		t.Error("nothing waits")
	}
	_, err = file.WriteString("build/\n# and more\n")
	must(t, err)
	must(t, file.Close())
	b.f.Changed(ignore.Name)
	b.commit(t)
	b.holds(t, map[string]bool{"build": false, "new": true})
}

func TestRulesThatCannotBeReadHoldBackWhatIsNew(t *testing.T) {
	b := newBench(t)
	write(t, b.path("d/old"), "1")
	b.take(t)
	write(t, b.path("d/"+ignore.Name), strings.Repeat("#", ignore.MaxFile+1))
	write(t, b.path("d/new"), "1")
	write(t, b.path("d/old"), "22")
	b.take(t)
	b.holds(t, map[string]bool{"d/new": false, "d/old": true})
	if got := b.content(t, b.recordedRoot(t), "d/old"); got != "22" {
		t.Errorf("what is tracked is %q", got)
	}
	list := b.f.Trouble()
	if len(list) == 0 || list[0].Path != "d/.syncfsignore" && !strings.Contains(list[0].Err.Error(), "d/.syncfsignore") || list[0].Note {
		t.Fatalf("trouble: %v", list)
	}
	b.now(t, "d/"+ignore.Name, "# short\n")
	b.commit(t)
	b.holds(t, map[string]bool{"d/new": true})
	if list := b.f.Trouble(); len(list) != 0 {
		t.Errorf("trouble stays: %v", list)
	}
}

func TestATrackedFileAgainstTheRulesSurvivesBeingSaved(t *testing.T) {
	b := newBench(t, func(o *folder.Options) { o.Settle = 50 * time.Millisecond })
	write(t, b.path(".env"), "1")
	b.take(t)
	b.now(t, ignore.Name, ".env\n")
	b.commit(t)
	must(t, os.Remove(b.path(".env"))) // some programs save like that
	b.f.Changed(".env")
	b.commit(t)
	b.now(t, ".env", "22")
	waitFor(t, "the new content", func() bool {
		b.commit(t)
		e, _, err := b.f.Recorded(".env")
		return err == nil && e.Size == 2
	})
	must(t, os.Remove(b.path(".env")))
	b.f.Changed(".env")
	waitFor(t, "the removal", func() bool {
		b.commit(t)
		_, _, err := b.f.Recorded(".env")
		return err != nil
	})
}

func TestADirectoryOfIgnoredThingsAloneIsNotNew(t *testing.T) {
	b := newBench(t)
	write(t, b.path(ignore.Name), "*.o\n")
	write(t, b.path("left/x.o"), "1")
	write(t, b.path("left/deep/y.o"), "1")
	must(t, os.Mkdir(b.path("empty"), 0o755))
	write(t, b.path("both/x.o"), "1")
	must(t, os.Mkdir(b.path("both/empty"), 0o755))
	b.take(t)
	b.holds(t, map[string]bool{"left": false, "empty": true, "both/empty": true})
	for p, want := range map[string]bool{"left": true, "left/deep": true, "empty": false, "both": false} {
		if got, err := b.f.Leftover(p); err != nil || got != want {
			t.Errorf("%s is left over: %v %v, want %v", p, got, err, want)
		}
	}
	// It is taken with the first thing in it that is.
	b.now(t, "left/deep/z", "1")
	b.commit(t)
	b.holds(t, map[string]bool{"left/deep/z": true, "left/x.o": false})
	// A file that became such a directory is gone.
	write(t, b.path("turns"), "1")
	b.take(t)
	must(t, os.Remove(b.path("turns")))
	write(t, b.path("turns/x.o"), "1")
	b.take(t)
	b.holds(t, map[string]bool{"turns": false})
}

func TestARenamedDirectoryIsLookedAtByTheRulesOfItsNewPlace(t *testing.T) {
	b := newBench(t)
	write(t, b.path(ignore.Name), "/a/build\n/b/private\n")
	for _, p := range []string{"a/build/f", "a/private/f", "a/g"} {
		write(t, b.path(p), "x")
	}
	b.take(t)
	b.holds(t, map[string]bool{"a/build": false, "a/private/f": true})
	must(t, os.Rename(b.path("a"), b.path("b")))
	b.f.Renamed("a", "b")
	b.commit(t)
	b.holds(t, map[string]bool{"b/build/f": true, "b/private/f": true, "b/g": true, "a": false})
}

func TestIgnoredIsListedWithItsRule(t *testing.T) {
	b := newBench(t)
	write(t, b.path("d/old.o"), "1")
	b.take(t)
	write(t, b.path("d/"+ignore.Name), "\n*.o\n")
	for _, p := range []string{"d/x.o", "d/y", "d/left/z.o", ".DS_Store", "lost+found/f"} {
		write(t, b.path(p), "1")
	}
	b.take(t)
	var got []string
	must(t, b.f.Ignored(context.Background(), "", func(v folder.Verdict) error {
		got = append(got, fmt.Sprintf("%s %v %s:%d %s", v.Path, v.Dir, v.Source, v.Line, v.Rule))
		return nil
	}))
	want := []string{".DS_Store false built-in:0 .DS_Store", "d/left/z.o false d/.syncfsignore:2 *.o", "d/x.o false d/.syncfsignore:2 *.o", "lost+found true built-in:0 /lost+found/"}
	if !slices.Equal(got, want) {
		t.Errorf("ignored are\n%q, want\n%q", got, want)
	}
	v, err := b.f.Verdict("d/old.o")
	if err != nil || !v.Tracked || v.Ignored() || v.Rule != "*.o" {
		t.Errorf("of a tracked file it says %+v, %v", v, err)
	}
}

// ruleModel is what a folder with rules must hold, kept beside it.
type ruleModel struct{ tracked map[string]bool }

// expect brings the model to what a build of the disk must find.
func (m *ruleModel) expect(t fataler, root string) {
	next := map[string]bool{}
	var walk func(dir string, rules *ignore.Rules) (taken, out int)
	walk = func(dir string, rules *ignore.Rules) (taken, out int) {
		names, err := os.ReadDir(filepath.Join(root, dir))
		must(t, err)
		for _, n := range names {
			p := path.Join(dir, n.Name())
			if !m.tracked[p] && rules.Ignored(n.Name(), n.IsDir()) != nil {
				out++
				continue
			}
			if !n.IsDir() {
				next[p], taken = true, taken+1
				continue
			}
			below := rules.Below(n.Name()).With(rulesIn(t, root, p))
			in, lost := walk(p, below)
			if !m.tracked[p] && in == 0 && lost > 0 {
				out++
				continue
			}
			next[p], taken = true, taken+1
		}
		return taken, out
	}
	walk("", ignore.In(ignore.Builtin(), rulesIn(t, root, "")))
	m.tracked = next
}

func rulesIn(t fataler, root, dir string) *ignore.File {
	data, err := os.ReadFile(filepath.Join(root, dir, ignore.Name))
	if os.IsNotExist(err) {
		return nil
	}
	must(t, err)
	return ignore.Parse(path.Join(dir, ignore.Name), data)
}

// TestRulesAndEventsMakeTheTreeThatAScanMakes: whatever is changed in files and
// rules, the tree is the one that a model makes of the disk and of what was
// tracked, both when events told of it and when a scan looked for it.
func TestRulesAndEventsMakeTheTreeThatAScanMakes(t *testing.T) {
	dirs := []string{"", "a", "b", "a/c", "a/build", "b/x.d"}
	files := []string{"f", "x.o", "keep.o", ".v.swp"}
	lines := []string{"*.o", "!keep.o", "build/", "/a", "/b/", "a/c", "**/c/f", "!/a/", "x.d", "f", "!f", "!.*.swp", "*"}
	rapid.Check(t, func(rt *rapid.T) {
		b := newBench(t)
		m := ruleModel{}
		told := rapid.Bool().Draw(rt, "events tell")
		tell := func(p string) {
			if told {
				b.f.Changed(p)
			}
		}
		b.take(rt)
		for range rapid.IntRange(2, 12).Draw(rt, "steps") {
			dir := rapid.SampledFrom(dirs).Draw(rt, "dir")
			p := path.Join(dir, rapid.SampledFrom(files).Draw(rt, "file"))
			switch rapid.IntRange(0, 6).Draw(rt, "what") {
			case 0, 1, 2:
				if os.MkdirAll(b.path(dir), 0o755) == nil {
					for i := range len(dir) + 1 {
						if i == len(dir) || dir[i] == '/' {
							tell(dir[:i])
						}
					}
					write(rt, b.path(p), fmt.Sprint(rapid.IntRange(0, 9999).Draw(rt, "content")))
					tell(p)
				}
			case 3, 4:
				if st, err := os.Stat(b.path(dir)); err == nil && st.IsDir() {
					rules := strings.Join(rapid.SliceOfN(rapid.SampledFrom(lines), 0, 3).Draw(rt, "rules"), "\n")
					write(rt, b.path(path.Join(dir, ignore.Name)), rules)
					tell(path.Join(dir, ignore.Name))
				}
			case 5:
				must(rt, os.RemoveAll(b.path(p)))
				tell(p)
			case 6:
				if dir != "" {
					must(rt, os.RemoveAll(b.path(dir)))
					tell(dir)
				}
			}
			if !told {
				b.scan(rt)
			}
			built := b.build(rt, folder.BuildOptions{Force: true})
			if built != nil {
				b.record(rt, built)
			}
			m.expect(rt, b.dir)
			got := map[string]bool{}
			must(rt, b.trees.Walk(rt.Context(), b.recordedRoot(rt), func(p string, _ versions.Entry) error {
				if p != "" {
					got[p] = true
				}
				return nil
			}))
			if !maps.Equal(got, m.tracked) {
				rt.Fatalf("the tree has %v, want %v", slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(m.tracked)))
			}
		}
	})
}

// A file of rules that is a stub reads as zeros, which would have everything
// taken.
func TestRulesThatAreNotHereHoldBackWhatIsNew(t *testing.T) {
	b := newBench(t)
	write(t, b.path("d/old"), "1")
	b.take(t)
	dir, err := b.root.OpenDir("d")
	must(t, err)
	defer dir.Close()
	e := versions.Entry{Name: ignore.Name, Kind: versions.File, Mode: 0o644, Size: 9, Pieces: []versions.Piece{{ID: [32]byte{1}, Length: 9}}}
	_, _, err = dir.CreateStub(ignore.Name, e, disk.CreateOptions{})
	must(t, err)
	write(t, b.path("d/secret"), "1")
	b.take(t)
	b.holds(t, map[string]bool{"d/secret": false, "d/old": true})
	must(t, os.Remove(b.path("d/"+ignore.Name)))
	write(t, b.path("d/"+ignore.Name), "/secret\n")
	write(t, b.path("d/new"), "1")
	b.take(t)
	b.holds(t, map[string]bool{"d/secret": false, "d/new": true})
}
