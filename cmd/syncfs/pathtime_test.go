package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// testEnv is an env at a fixed moment, with the output in builders.
func testEnv(t *testing.T, vars map[string]string) (e *env, out, errs *strings.Builder) {
	t.Helper()
	out, errs = new(strings.Builder), new(strings.Builder)
	return &env{
		stdin: strings.NewReader(""), stdout: out, stderr: errs,
		getenv: func(name string) string { return vars[name] },
		now:    func() time.Time { return time.Date(2025, 2, 1, 12, 0, 0, 0, time.UTC) },
		loc:    time.UTC, exe: "syncfs",
	}, out, errs
}

func TestTargetsAreTakenApart(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	for _, name := range []string{"user@host", "plain", "x@yesterday"} {
		if err := os.WriteFile(name, nil, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	e, _, _ := testEnv(t, nil)
	for _, tc := range []struct{ name, arg, at, path, when string }{
		{"no time", "plain", "", "plain", ""},
		{"a time", "plain@yesterday", "", "plain", "yesterday"},
		{"an instant", "plain@20250131_201530", "", "plain", "20250131_201530"},
		{"a name with an @ that exists", "user@host", "", "user@host", ""},
		{"a name with an @, and a time", "user@host@latest", "", "user@host", "latest"},
		{"a name that reads as a time exists", "x@yesterday", "", "x@yesterday", ""},
		{"a name with an @ that does not exist", "gone@home", "", "gone@home", ""},
		{"only a time", "@latest", "", ".", "latest"},
		{"another folder", "docs:a/b@2025-01-31", "", "docs:a/b", "2025-01-31"},
		{"the root of another folder", "docs:@latest", "", "docs:", "latest"},
		{"a time of its own", "gone@yesterday", "latest", "gone@yesterday", "latest"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := e.parseTarget(tc.arg, tc.at)
			if err != nil {
				t.Fatal(err)
			}
			when := ""
			if got.when != nil {
				when = got.when.Spelled
			}
			if got.path != tc.path || when != tc.when {
				t.Errorf("got %q at %q, want %q at %q", got.path, when, tc.path, tc.when)
			}
		})
	}
	if _, err := e.parseTarget("plain", "someday"); err == nil {
		t.Error("--at someday is accepted")
	}
}

func TestAPatternIsTakenOffAPath(t *testing.T) {
	t.Chdir(t.TempDir())
	if err := os.WriteFile("real[1]", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, tc := range []struct{ path, dir, pattern string }{
		{"*.go", ".", "*.go"},
		{"src/*.go", "src", "*.go"},
		{"docs:*.go", "docs:", "*.go"},
		{"docs:src/?", "docs:src", "?"},
		{"/*", "/", "*"},
		{"src", "src", ""},
		{"real[1]", "real[1]", ""},
		{"a*/b", "a*/b", ""},
	} {
		if dir, pattern := splitPattern(tc.path); dir != tc.dir || pattern != tc.pattern {
			t.Errorf("%q: got %q and %q, want %q and %q", tc.path, dir, pattern, tc.dir, tc.pattern)
		}
	}
}

func TestSymlinksOnTheWayAreResolvedButNotTheLast(t *testing.T) {
	dir, err := filepath.EvalSymlinks(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Join(dir, "real", "sub"), 0o700); err != nil {
		t.Fatal(err)
	}
	for link, to := range map[string]string{"way": "real", "real/last": "sub"} {
		if err := os.Symlink(to, filepath.Join(dir, link)); err != nil {
			t.Fatal(err)
		}
	}
	for _, tc := range []struct{ path, want string }{
		{"way/sub", "real/sub"},
		{"way/gone/deeper", "real/gone/deeper"},
		{"way/last", "real/last"},
	} {
		got, err := realPath(filepath.Join(dir, tc.path))
		if err != nil || got != filepath.Join(dir, tc.want) {
			t.Errorf("%s: got %q, %v; want %q", tc.path, got, err, tc.want)
		}
	}
}

func TestWhatIsMovedAsideKeepsANameThatFits(t *testing.T) {
	for _, tc := range []struct {
		path string
		n    int
		want string
	}{
		{"a/report.docx", 1, "a/report (before restore T).docx"},
		{"report", 2, "report (before restore T 2)"},
		{".bashrc", 1, ".bashrc (before restore T)"},
		{"a.tar.gz", 1, "a.tar (before restore T).gz"},
	} {
		if got := asideName(tc.path, "T", tc.n); got != tc.want {
			t.Errorf("%s: got %q, want %q", tc.path, got, tc.want)
		}
	}
	for _, long := range []string{strings.Repeat("ä", 127) + ".txt", "." + strings.Repeat("e", 254), "x." + strings.Repeat("e", 253), strings.Repeat("\xff", 255)} {
		got := asideName("d/"+long, "20250131_201530", 1)
		if name := filepath.Base(got); len(name) > 255 || !strings.Contains(name, "(before restore 20250131_201530)") {
			t.Errorf("%q: got %q of %d bytes", long, name, len(name))
		}
	}
	if got := asideName(strings.Repeat("ä", 127), "T", 1); strings.Contains(got, "�") || strings.ToValidUTF8(got, "") != got {
		t.Errorf("a character was cut in two: %q", got)
	}
}
