package reconcile_test

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/internal/reconcile"
	"github.com/syncfs/syncfs/versions"
	"pgregory.net/rapid"
)

func copyName(name string, e versions.Entry) string {
	return reconcile.CopyName(name, options.Host, options.Instant, versions.ContentHash(e), 8)
}

func TestNamesOfConflictCopies(t *testing.T) {
	hash := [32]byte{0x12, 0x34, 0x56, 0x78, 0x9a}
	const mark = " (conflict laptop 20250131_201530 12345678)"
	long := strings.Repeat("ä", 127) + "x" // 255 bytes
	tests := map[string]string{
		"report.docx":                    "report" + mark + ".docx",
		"Makefile":                       "Makefile" + mark,
		".bashrc":                        ".bashrc" + mark,
		"archive.tar.gz":                 "archive.tar" + mark + ".gz",
		"dot.":                           "dot" + mark + ".",
		"odd." + strings.Repeat("x", 40): "odd." + strings.Repeat("x", 40) + mark,
		"report" + mark + ".docx":        "report" + mark + ".docx", // a copy of a copy has one bracket
		"report (conflict other.host 20240101_000000_02 aabbccdd).docx": "report" + mark + ".docx",
		"Makefile (conflict a.b 20240101_000000 aabbccdd)":              "Makefile" + mark,
		"notes (draft).txt":         "notes (draft)" + mark + ".txt",
		"v1.2 (final)":              "v1.2 (final)" + mark,
		"\xff\xfe.bin":              "\xff\xfe" + mark + ".bin",
		long[:251] + ".txt":         strings.Repeat("ä", 104) + mark + ".txt",
		"x" + long[:250]:            "x" + strings.Repeat("ä", 105) + mark,
		strings.Repeat("\xbf", 255): strings.Repeat("\xbf", 212) + mark,
	}
	for name, want := range tests {
		got := reconcile.CopyName(name, "laptop", options.Instant, hash, 8)
		if got != want || len(got) > 255 {
			t.Errorf("%q: got %q, want %q", name, got, want)
		}
	}
	for host, want := range map[string]string{"": "unknown", "a/b": "a_b", "a\nb": "a_b", "x)": "x_", strings.Repeat("h", 99): strings.Repeat("h", 64)} {
		if got := reconcile.CopyName("f", host, options.Instant, hash, 8); got != "f (conflict "+want+" 20250131_201530 12345678)" {
			t.Errorf("host %q: %q", host, got)
		}
	}
}

func TestAnyNameGivesAValidCopyOfItself(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		name := string(rapid.SliceOfN(rapid.Byte(), 1, 255).Draw(t, "bytes"))
		if rapid.Bool().Draw(t, "text") {
			name = rapid.StringN(1, 90, 255).Draw(t, "name")
		}
		if versions.ValidName(name) != nil {
			return
		}
		hash := [32]byte{1}
		got := reconcile.CopyName(name, rapid.String().Draw(t, "host"), options.Instant, hash, 8)
		if versions.ValidName(got) != nil || len(got) > 255 {
			t.Fatalf("%q gives %q", name, got)
		}
		if utf8.ValidString(name) && !utf8.ValidString(got) {
			t.Fatalf("%q is cut inside a character: %q", name, got)
		}
		if _, ok := reconcile.IsCopy(got); !ok {
			t.Fatalf("%q, of %q, is not known as a copy", got, name)
		}
		if again := reconcile.CopyName(got, "h", options.Instant, hash, 8); strings.Count(again, "(conflict ") > strings.Count(name, "(conflict ")+1 {
			t.Fatalf("a copy of a copy of %q is %q", name, again)
		}
	})
}

func TestEqualContentOfThreeMachinesHasOneCopy(t *testing.T) {
	w := newWorld()
	base := w.write(t, tree{"f.txt": "B"})
	same := w.write(t, tree{"f.txt": "X"})
	first := w.write(t, tree{"f.txt": "first"})
	// Two machines made the same edit; a third one was first.
	root, _ := w.merge(t, base, same, first, reconcile.Options{Host: "a", Instant: options.Instant})
	again, plan := w.merge(t, base, same, root, reconcile.Options{Host: "b", Instant: versions.Instant{Sec: 1738359999}})
	if !versions.Equal(again, root) || len(plan.Commit) > 0 || len(plan.Conflicts) != 1 || !plan.Conflicts[0].Known {
		t.Errorf("%v, then %v\n%s", w.read(t, root), w.read(t, again), show(plan))
	}
	// A third content makes a second copy.
	third, _ := w.merge(t, base, w.write(t, tree{"f.txt": "Y"}), root, options)
	if n := len(w.read(t, third)); n != 3 {
		t.Errorf("%v", w.read(t, third))
	}
}

func TestACopyThatThisMergeRemovesDoesNotCount(t *testing.T) {
	w := newWorld()
	name := w.copyOf("f.txt", "X")
	base := w.write(t, tree{"f.txt": "B", name: "X"})
	local := w.write(t, tree{"f.txt": "X", name: "X"}) // edited to what the copy holds
	remote := w.write(t, tree{"f.txt": "R"})           // the copy is deleted
	root, plan := w.merge(t, base, local, remote, options)
	found := false
	for _, content := range w.read(t, root) {
		found = found || content == "X"
	}
	if !found {
		t.Errorf("the edit is lost: %v\n%s", w.read(t, root), show(plan))
	}
}

func TestATakenNameGivesALongerOne(t *testing.T) {
	w := newWorld()
	name := w.copyOf("f.txt", "L")
	base := w.write(t, tree{"f.txt": "B"})
	local := w.write(t, tree{"f.txt": "L", name: "a program's own"})
	root, _ := w.merge(t, base, local, w.write(t, tree{"f.txt": "R"}), options)
	got := w.read(t, root)
	longer := reconcile.CopyName("f.txt", options.Host, options.Instant, versions.ContentHash(w.entry("", "L")), 16)
	if want := (tree{"f.txt": "R", name: "a program's own", longer: "L"}); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestOriginTellsHostAndInstantOfAPath(t *testing.T) {
	w := newWorld()
	o := options
	o.Origin = func(path string) (string, versions.Instant) {
		return "from " + strings.ReplaceAll(path, "/", "-"), versions.Instant{Sec: 5}
	}
	root, _ := w.merge(t, w.write(t, tree{"d": "/", "d/f": "B"}), w.write(t, tree{"d": "/", "d/f": "L"}), w.write(t, tree{"d": "/", "d/f": "R"}), o)
	for path := range w.read(t, root) {
		if strings.Contains(path, "conflict") && !strings.HasPrefix(path, "d/f (conflict from d-f 19700101_000005 ") {
			t.Errorf("%q", path)
		}
	}
}

func TestTheSameConflictHasTheSameNameOnEveryMachine(t *testing.T) {
	one, two := newWorld(), newWorld()
	var got [2]tree
	for i, w := range []*world{one, two} {
		root, _ := w.merge(t, w.write(t, tree{"f": "B"}), w.write(t, tree{"f": "L"}), w.write(t, tree{"f": "R"}), options)
		got[i] = w.read(t, root)
	}
	if !maps.Equal(got[0], got[1]) || len(got[0]) != 2 {
		t.Errorf("%v and %v", got[0], got[1])
	}
}

func TestNamesThatDifferInCaseOrFormOnlyAreTold(t *testing.T) {
	w := newWorld()
	base := w.write(t, tree{"d": "/", "Old": "O"})
	local := w.write(t, tree{"d": "/", "Old": "O", "d/README": "L", "caf\u00e9": "1", "same": "S", "old": "mine", "stra\u00dfe": "1"})
	remote := w.write(t, tree{"d": "/", "Old": "O", "d/readme": "R", "cafe\u0301": "2", "same": "S", "other": "3"})
	root, plan := w.merge(t, base, local, remote, options)
	want := []reconcile.Lookalike{{Local: "caf\u00e9", Remote: "cafe\u0301"}, {Local: "d/README", Remote: "d/readme"}}
	if !slices.Equal(plan.Lookalike, want) {
		t.Errorf("%+q", plan.Lookalike)
	}
	if got := w.read(t, root); len(got) != 10 || got["d/README"] != "L" || got["d/readme"] != "R" {
		t.Errorf("they are not both kept: %v", got)
	}
}

func TestAFirstAttachDeletesAndOverwritesNothing(t *testing.T) {
	w := newWorld()
	local := w.write(t, tree{"mine": "M", "both": "same", "d": "/", "d/x": "L"})
	remote := w.write(t, tree{"theirs": "T", "both": "same", "d": "/", "d/x": "R", "d/y": "Y"})
	root, plan := w.merge(t, versions.Entry{}, local, remote, options)
	want := tree{"mine": "M", "theirs": "T", "both": "same", "d": "/", "d/x": "R", "d/y": "Y", "d/" + w.copyOf("x", "L"): "L"}
	if got := w.read(t, root); !maps.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
	for _, s := range slices.Concat(plan.Apply, plan.Commit) {
		if s.New == nil {
			t.Errorf("%q is deleted", s.Path)
		}
	}
}

func TestAnEmptyLineTakesEverythingAndATreeWithoutARootIsRefused(t *testing.T) {
	w := newWorld()
	local := w.write(t, tree{"f": "L"})
	for _, base := range []versions.Entry{{}, w.write(t, tree{"g": "B"})} {
		if root, _ := w.merge(t, base, local, versions.Entry{}, options); !versions.Equal(root, local) {
			t.Errorf("%v", w.read(t, root))
		}
	}
	if _, err := reconcile.Merge(t.Context(), w.trees, local, versions.Entry{}, local, options); !errors.Is(err, reconcile.ErrNoRoot) {
		t.Errorf("%v", err)
	}
}

func TestAMergeReadsOnlyWhatDiffers(t *testing.T) {
	w := newWorld()
	big := tree{}
	for i := range 40 {
		d := string(rune('a'+i%26)) + string(rune('a'+i/26))
		big[d] = "/"
		for j := range 20 {
			big[d+"/"+string(rune('a'+j))] = d
		}
	}
	base := w.write(t, big)
	edit := func(path, content string) versions.Entry {
		m := maps.Clone(big)
		m[path] = content
		return w.write(t, m)
	}
	local, remote := edit("ba/c", "L"), edit("ca/d", "R")
	w.chunks.Reset()
	if _, err := reconcile.Merge(t.Context(), w.trees, base, local, remote, options); err != nil {
		t.Fatal(err)
	}
	if n := w.chunks.Gets(chunk.Tree); n > 4 {
		t.Errorf("%d listings read", n)
	}
}
