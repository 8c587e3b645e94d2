//go:build linux

package ignore_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strconv"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/syncfs/syncfs/internal/ignore"
)

// tree is a directory with files of rules in some of its directories.
type tree struct {
	dirs  []string // "" first, parents before what is in them
	files []string
	rules map[string]string // by directory
}

var (
	treeNames = []string{"a", "b", "ab", "a b", "foo", "foo.o", ".x", "#c", "!d", "x]", "-", "é", "\xff", "a\\", " s "}
	pieces    = []string{
		"a", "b", "ab", "foo", "foo.o", ".o", "x", "é", "\xff", "/", "/", "*", "*", "**", "**/", "/**", "/**/", "?", "[ab]", "[!a]", "[^b]",
		"[a-f]", "[]x]", "[!]a]", "[a", "[[:alpha:]]", "[[:bogus:]]", "[[:alnum]", "[\\]x]", "[a-\\c]", "[--a]", "\\", "\\a", "\\*",
		"\\!", "\\#", " ", "\\ ", "\t", "!", "#", ".", "..", "-",
	}
	lineEnds = []string{"\n", "\n", "\n", "\r\n", " \n", "  \r\n", "\\ \n", "/\n", "\r\r\n"}
)

func drawTree(t *rapid.T) tree {
	tr := tree{dirs: []string{""}, rules: map[string]string{}}
	seen := map[string]bool{}
	for range rapid.IntRange(1, 14).Draw(t, "n") {
		dir := rapid.SampledFrom(tr.dirs).Draw(t, "dir")
		path := filepath.Join(dir, rapid.SampledFrom(treeNames).Draw(t, "name"))
		if seen[path] || strings.Count(path, "/") > 3 {
			continue
		}
		seen[path] = true
		if rapid.Bool().Draw(t, "isDir") {
			tr.dirs = append(tr.dirs, path)
		} else {
			tr.files = append(tr.files, path)
		}
	}
	for i, dir := range tr.dirs {
		if i > 0 && rapid.IntRange(0, 2).Draw(t, "has rules") > 0 {
			continue
		}
		tr.rules[dir] = drawRules(t, append(append([]string{}, tr.dirs[1:]...), tr.files...))
	}
	return tr
}

// drawRules makes a file of rules: of pieces alone hardly a line would match, so
// that some lines are paths that are there with a piece put in.
func drawRules(t *rapid.T, paths []string) string {
	var b strings.Builder
	if rapid.IntRange(0, 9).Draw(t, "mark") == 0 {
		b.WriteString("\xef\xbb\xbf")
	}
	for range rapid.IntRange(1, 5).Draw(t, "lines") {
		b.WriteString(rapid.SampledFrom([]string{"", "", "", "!", "/", "!/"}).Draw(t, "begin"))
		if len(paths) > 0 && rapid.Bool().Draw(t, "from path") {
			p := rapid.SampledFrom(paths).Draw(t, "path")
			if rapid.Bool().Draw(t, "name alone") {
				p = filepath.Base(p)
			}
			i := rapid.IntRange(0, len(p)).Draw(t, "at")
			j := rapid.IntRange(i, len(p)).Draw(t, "to")
			b.WriteString(p[:i] + rapid.SampledFrom(append([]string{""}, pieces...)).Draw(t, "piece") + p[j:])
		} else {
			for range rapid.IntRange(1, 5).Draw(t, "pieces") {
				b.WriteString(rapid.SampledFrom(pieces).Draw(t, "piece"))
			}
		}
		b.WriteString(rapid.SampledFrom(lineEnds).Draw(t, "end"))
	}
	s := b.String()
	if rapid.IntRange(0, 5).Draw(t, "cut") == 0 {
		s = strings.TrimSuffix(s, "\n")
	}
	return s
}

// asGit asks git of every path which line decides.
func asGit(t fataler, tr tree) map[string]string {
	root, err := os.MkdirTemp("", "ignore-git-")
	must(t, err)
	defer os.RemoveAll(root)
	must(t, os.Mkdir(filepath.Join(root, ".git"), 0o755)) // as git init makes it, which takes ten times as long
	for _, dir := range []string{".git/objects", ".git/refs"} {
		must(t, os.Mkdir(filepath.Join(root, dir), 0o755))
	}
	must(t, os.WriteFile(filepath.Join(root, ".git/HEAD"), []byte("ref: refs/heads/main\n"), 0o644))
	var ask bytes.Buffer
	for _, dir := range tr.dirs[1:] {
		must(t, os.Mkdir(filepath.Join(root, dir), 0o755))
		ask.WriteString(dir + "\x00")
	}
	for _, file := range tr.files {
		must(t, os.WriteFile(filepath.Join(root, file), nil, 0o644))
		ask.WriteString(file + "\x00")
	}
	for dir, rules := range tr.rules {
		must(t, os.WriteFile(filepath.Join(root, dir, ".gitignore"), []byte(rules), 0o644))
	}
	cmd := exec.Command("git", "check-ignore", "--no-index", "--stdin", "-z", "-v", "-n")
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_SYSTEM=/dev/null", "GIT_CEILING_DIRECTORIES="+filepath.Dir(root))
	cmd.Stdin = &ask
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil && cmd.ProcessState.ExitCode() != 1 { // 1: nothing is ignored
		t.Fatalf("git check-ignore: %v\n%s", err, stderr.String())
	}
	answer := map[string]string{}
	fields := strings.Split(string(out), "\x00")
	for i := 0; i+3 < len(fields); i += 4 {
		answer[fields[i+3]] = strings.ReplaceAll(fields[i], ".gitignore", ignore.Name) + ":" + fields[i+1]
	}
	return answer
}

// asWe is asGit by the package.
func asWe(tr tree) map[string]string {
	in := map[string]*ignore.Rules{}
	file := func(dir string) *ignore.File {
		text, ok := tr.rules[dir]
		if !ok {
			return nil
		}
		return ignore.Parse(filepath.Join(dir, ignore.Name), []byte(text))
	}
	answer := map[string]string{}
	tell := func(path string, dir bool) {
		parent, name := filepath.Split(path)
		answer[path] = ":"
		if r := in[strings.TrimSuffix(parent, "/")].Match(name, dir); r != nil {
			answer[path] = r.Source + ":" + strconv.Itoa(r.Line)
		}
	}
	in[""] = ignore.In(nil, file(""))
	for _, dir := range tr.dirs[1:] {
		tell(dir, true)
		parent, name := filepath.Split(dir)
		in[dir] = in[strings.TrimSuffix(parent, "/")].Below(name).With(file(dir))
	}
	for _, f := range tr.files {
		tell(f, false)
	}
	return answer
}

// TestRulesDecideAsGitDoes asks git check-ignore of Debian which line decides
// about every path of random trees with random rules.
func TestRulesDecideAsGitDoes(t *testing.T) {
	if _, err := exec.LookPath("git"); err != nil {
		t.Fatal("git is needed for this test: apt-get install git")
	}
	decided := 0
	rapid.Check(t, func(t *rapid.T) {
		tr := drawTree(t)
		git, we := asGit(t, tr), asWe(tr)
		for path, want := range git {
			if want != ":" {
				decided++
			}
			if we[path] != want {
				t.Fatalf("%q: git says %q, we say %q\n%s", path, want, we[path], tr)
			}
		}
		if len(git) != len(we) {
			t.Fatalf("git answers for %d paths, of %d", len(git), len(we))
		}
	})
	if decided == 0 {
		t.Error("no rule ever decided anything")
	}
	t.Logf("%d paths were decided by a rule", decided)
}

func (tr tree) String() string {
	var b strings.Builder
	for _, d := range tr.dirs {
		fmt.Fprintf(&b, "dir  %q\n", d)
	}
	for _, f := range tr.files {
		fmt.Fprintf(&b, "file %q\n", f)
	}
	var dirs []string
	for d := range tr.rules {
		dirs = append(dirs, d)
	}
	sort.Strings(dirs)
	for _, d := range dirs {
		fmt.Fprintf(&b, "rules in %q: %q\n", d, tr.rules[d])
	}
	return b.String()
}

type fataler interface {
	Fatalf(format string, args ...any)
}

func must(t fataler, err error) {
	if err != nil {
		t.Fatalf("%v", err)
	}
}
