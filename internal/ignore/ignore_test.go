package ignore_test

import (
	"path"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/syncfs/syncfs/internal/ignore"
)

// decide is the rule about a path with one file of rules in the root. A path
// that ends with a slash is a directory.
func decide(file *ignore.File, p string) *ignore.Rule {
	p, dir := strings.CutSuffix(p, "/")
	in := ignore.In(ignore.Builtin(), file)
	parent, name := path.Split(p)
	for _, d := range strings.Split(strings.TrimSuffix(parent, "/"), "/") {
		if d != "" {
			in = in.Below(d)
		}
	}
	return in.Ignored(name, dir)
}

func TestEachKindOfRuleDoesWhatTheManualSays(t *testing.T) {
	cases := []struct {
		name  string
		rules string
		yes   []string
		no    []string
	}{
		{"a name, anywhere", "foo", []string{"foo", "foo/", "a/b/foo", "foo/in"}, []string{"foo.o", "afoo"}},
		{"anchored by a slash at the begin", "/foo", []string{"foo", "foo/in"}, []string{"a/foo"}},
		{"anchored by a slash in it", "a/foo", []string{"a/foo"}, []string{"b/a/foo", "foo"}},
		{"directories alone", "foo/", []string{"foo/", "foo/in", "a/foo/"}, []string{"foo", "a/foo"}},
		{"a star stays in a name", "/a*z", []string{"az", "abz"}, []string{"a/z"}},
		{"two stars before", "**/foo", []string{"foo", "a/foo", "a/b/foo"}, []string{"afoo"}},
		{"two stars after", "a/**", []string{"a/b", "a/b/c"}, []string{"a/", "b/a/b"}},
		{"two stars between", "a/**/b", []string{"a/b", "a/x/b", "a/x/y/b"}, []string{"ab", "a/xb"}},
		{"the last line decides", "*.log\n!keep.log\n", []string{"a.log"}, []string{"keep.log", "d/keep.log"}},
		{"nothing comes back in an ignored directory", "d/\n!d/keep\n", []string{"d/keep"}, nil},
		{"a comment, and one that is none", "#a\n\\#b", []string{"#b"}, []string{"#a", "a"}},
		{"an escaped exclamation mark", "\\!a", []string{"!a"}, []string{"a"}},
		{"spaces at the end go, escaped ones stay", "a  \nb\\ ", []string{"a", "b "}, []string{"a  ", "b"}},
		{"lines of Windows", "*.o\r\n/b\r\n", []string{"x.o", "b"}, []string{"b\r"}},
		{"a mark of byte order", "\xef\xbb\xbfa", []string{"a"}, nil},
		{"sets", "[a-c]x[!0-9]", []string{"axa", "cxx"}, []string{"dxa", "ax1"}},
		{"case counts", "Foo", []string{"Foo"}, []string{"foo"}},
		{"everything but", "/*\n!/docs/\n", []string{"a", "src/"}, []string{"docs/", "docs/a"}},
		{"a file of rules is taken", "*", []string{"a"}, []string{".syncfsignore"}},
		{"but not out of an ignored directory", "a/", []string{"a/.syncfsignore"}, nil},
		{"what is built in", "", []string{".a.swp", "d/.DS_Store", ".Trash-1000/", "lost+found/", "lost+found/#12"}, []string{"a~", "a.bak", "#a#", "a.swp", "d/lost+found/", ".Trash-1000", ".a.swf", ".nfs"}},
		{"what is built in and wanted", "!.*.swp\n!/lost+found/", nil, []string{".a.swp", "lost+found/"}},
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			file := ignore.Parse(ignore.Name, []byte(c.rules))
			for _, p := range c.yes {
				if decide(file, p) == nil {
					t.Errorf("%q is taken", p)
				}
			}
			for _, p := range c.no {
				if r := decide(file, p); r != nil {
					t.Errorf("%q is ignored by %s", p, r)
				}
			}
		})
	}
}

func TestARuleSaysWhereItStands(t *testing.T) {
	file := ignore.Parse("docs/.syncfsignore", []byte("# objects\n\n*.o  \n"))
	if got, want := decide(file, "a.o").String(), "docs/.syncfsignore:3: *.o"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
	if got, want := decide(nil, ".DS_Store").String(), "built-in: .DS_Store"; got != want {
		t.Errorf("it says %q, want %q", got, want)
	}
}

// A rule made for one path ignores that path and what is in it.
func TestARuleForAPathIsForNoOther(t *testing.T) {
	names := rapid.SliceOfN(rapid.StringOfN(rapid.RuneFrom([]rune(`ab*?[]\ !#-é~.`)), 1, 6, -1), 1, 3)
	rapid.Check(t, func(t *rapid.T) {
		one := strings.Join(names.Draw(t, "one"), "/")
		other := strings.Join(names.Draw(t, "other"), "/")
		line, err := ignore.For(one)
		if err != nil {
			t.Fatal(err)
		}
		file := ignore.Parse(ignore.Name, []byte(line+"\n"))
		if decide(file, one) == nil {
			t.Fatalf("%q does not ignore %q", line, one)
		}
		in := other == one || strings.HasPrefix(other, one+"/")
		if r := decide(file, other); r != nil && r.Source == ignore.Name && !in {
			t.Fatalf("%q ignores %q", line, other)
		}
	})
	if line, err := ignore.For("a\nb"); err == nil {
		t.Errorf("%q names a line break", line)
	}
}

func FuzzRules(f *testing.F) {
	for _, s := range []string{"*.o\n", "a/**/b", "[[:alpha:]-z]", "\\", "**/**/**", "[a", "!/", " \\ "} {
		f.Add([]byte(s), "a/b/c.o")
	}
	f.Fuzz(func(t *testing.T, rules []byte, p string) {
		file := ignore.Parse(ignore.Name, rules)
		if p = strings.Trim(p, "/"); p == "" || slices.Contains(strings.Split(p, "/"), "") {
			return
		}
		first := decide(file, p)
		if again := decide(ignore.Parse(ignore.Name, rules), p); (first == nil) != (again == nil) {
			t.Errorf("%q is decided in two ways", p)
		}
	})
}

// Patterns that take others years.
func TestManyStarsTakeNoTime(t *testing.T) {
	file := ignore.Parse(ignore.Name, []byte(strings.Repeat("*a", 120)+"\n/"+strings.Repeat("**/a*/", 40)+"b\n"))
	if r := decide(file, strings.Repeat("a", 200)+"b"); r != nil {
		t.Errorf("ignored by %s", r)
	}
	if r := decide(file, strings.Repeat("a/", 60)+"c"); r != nil {
		t.Errorf("ignored by %s", r)
	}
}
