package main

import (
	"context"
	"regexp"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestEveryCommandHasHelpWithAnExample(t *testing.T) {
	e, _, _ := testEnv(t, nil)
	seen := 0
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
		if cmd.Name() == applyCommand || cmd.Name() == guardCommand || cmd.Name() == "help" {
			return
		}
		seen++
		if cmd.Short == "" || strings.HasSuffix(cmd.Short, ".") {
			t.Errorf("%s: a short line without a full stop is missing: %q", cmd.CommandPath(), cmd.Short)
		}
		if !strings.Contains(cmd.Example, "syncfs") {
			t.Errorf("%s has no example", cmd.CommandPath())
		}
		for _, text := range strings.Split(cmd.Long+"\n"+cmd.Example, "\n") {
			if len([]rune(text)) > 80 {
				t.Errorf("%s: a line of its help is longer than 80: %q", cmd.CommandPath(), text)
			}
		}
	}
	visit(newRootCommand(e))
	if seen < 30 {
		t.Errorf("only %d commands were looked at", seen)
	}
}

func TestWrongCommandLinesSayWhatIsRight(t *testing.T) {
	for _, tc := range []struct{ args, want string }{
		{"statsu", "did you mean stat"},
		{"key lst", `there is no command "key lst"`},
		{"get docs", "DIR is missing"},
		{"versions a b", `"b" is one argument too many`},
		{"ls --bogus", "unknown flag: --bogus"},
		{"mount", "NAME is missing"},
		{"mount --all docs", "--all mounts every folder"},
		{"mount docs --at latest", "--at needs a DIR"},
		{"completion tcsh", "there is no completion"},
		{"serve", "--data is missing"},
		{"find --type x", "none of f, d, l"},
		{"find [", "not a pattern"},
		{"find --all @latest", "no TIME can be given"},
		{"log --limit 0", "less than 1"},
		{"diff -p --json a@latest", "do not go together"},
	} {
		t.Run(tc.args, func(t *testing.T) {
			e, out, errs := testEnv(t, map[string]string{"HOME": t.TempDir()})
			code := run(context.Background(), strings.Fields(tc.args), e)
			if code != 1 || !strings.Contains(errs.String(), tc.want) || out.String() != "" {
				t.Errorf("got %d, %q, %q; want 1 and %q", code, out, errs, tc.want)
			}
			if !regexp.MustCompile(`(?m)^(\{|hint: )`).MatchString(errs.String()) {
				t.Errorf("no hint: %q", errs)
			}
		})
	}
}

func TestNumbersAreForPeople(t *testing.T) {
	for _, tc := range []struct {
		n    int64
		want string
	}{{0, "0 B"}, {1023, "1023 B"}, {1024, "1.0 KiB"}, {1536, "1.5 KiB"}, {5 << 30, "5.0 GiB"}, {1 << 62, "4.0 EiB"}} {
		if got := size(tc.n); got != tc.want {
			t.Errorf("%d: got %q, want %q", tc.n, got, tc.want)
		}
	}
}

func TestNamesCannotPlayWithTheTerminal(t *testing.T) {
	if got := clean("a\x1b[31m\nb\tc\x7f"); got != `a\x1b[31m\x0ab\x09c\x7f` {
		t.Errorf("got %q", got)
	}
	if got := clean("grün \xff"); got != "grün \xff" {
		t.Errorf("got %q", got)
	}
}
