package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

func TestPassphrasesComeFromTheMostDeliberatePlace(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	byFlag, byEnv := file("flag", "from the flag's file\n"), file("env", "from the variable's file\r\n")
	for _, tc := range []struct {
		name  string
		flags passphraseFlags
		vars  map[string]string
		want  string
		err   string
	}{
		{name: "a file", flags: passphraseFlags{file: byFlag}, want: "from the flag's file"},
		{name: "a command", flags: passphraseFlags{command: "echo from a command"}, want: "from a command"},
		{name: "the flag goes before the variable", flags: passphraseFlags{file: byFlag}, vars: map[string]string{"SYNCFS_PASSWORD_FILE": byEnv, "SYNCFS_PASSWORD": "plain"}, want: "from the flag's file"},
		{name: "the variable's file", vars: map[string]string{"SYNCFS_PASSWORD_FILE": byEnv, "SYNCFS_PASSWORD": "plain"}, want: "from the variable's file"},
		{name: "the variable's command", vars: map[string]string{"SYNCFS_PASSWORD_COMMAND": "printf %s secret"}, want: "secret"},
		{name: "the variable", vars: map[string]string{"SYNCFS_PASSWORD": "plain text "}, want: "plain text "},
		{name: "the new passphrase has variables of its own", flags: passphraseFlags{prefix: "new-"}, vars: map[string]string{"SYNCFS_PASSWORD": "old", "SYNCFS_NEW_PASSWORD": "new"}, want: "new"},
		{name: "stdin", flags: passphraseFlags{file: "-"}, want: "typed"},
		{name: "both", flags: passphraseFlags{file: byFlag, command: "true"}, err: "both given"},
		{name: "no such file", flags: passphraseFlags{file: filepath.Join(dir, "none")}, err: "none"},
		{name: "an empty file", flags: passphraseFlags{file: file("empty", "\n")}, err: "empty"},
		{name: "a command that fails", flags: passphraseFlags{command: "exit 3"}, err: "exit status 3"},
		{name: "a file that is no secret", flags: passphraseFlags{file: file("long", strings.Repeat("x", 5000))}, err: "4096"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			e, _, _ := testEnv(t, tc.vars)
			e.stdin = strings.NewReader("typed\n")
			got, ok, err := tc.flags.given(context.Background(), e, "")
			switch {
			case tc.err != "":
				if err == nil || !strings.Contains(err.Error(), tc.err) {
					t.Errorf("got %v, want an error with %q", err, tc.err)
				}
			case err != nil || !ok || got != tc.want:
				t.Errorf("got %q, %v, %v; want %q", got, ok, err, tc.want)
			}
		})
	}
}

func TestWithoutATerminalNobodyIsAsked(t *testing.T) {
	e, _, _ := testEnv(t, nil)
	_, err := (&passphraseFlags{}).existing(context.Background(), e, "", "passphrase")
	if !errors.Is(err, errNoSecret) {
		t.Errorf("got %v", err)
	}
	if _, hint := classify(err); !strings.Contains(hint, "SYNCFS_PASSWORD_FILE") {
		t.Errorf("the hint does not say what to do: %q", hint)
	}
}

func TestANewPassphraseMustNotBeShort(t *testing.T) {
	e, _, _ := testEnv(t, map[string]string{"SYNCFS_PASSWORD": "short"})
	if _, err := (&passphraseFlags{}).fresh(context.Background(), e, "passphrase"); err == nil {
		t.Error("a passphrase of 5 characters is accepted")
	}
}

// Every process can read every argument: no flag may take a passphrase.
func TestNoFlagTakesAPassphrase(t *testing.T) {
	e, _, _ := testEnv(t, nil)
	flags := 0
	var visit func(*cobra.Command)
	visit = func(cmd *cobra.Command) {
		for _, name := range []string{"password", "passphrase", "new-password", "secret"} {
			if cmd.Flags().Lookup(name) != nil {
				t.Errorf("%s takes a secret as --%s", cmd.CommandPath(), name)
			}
		}
		if cmd.Flags().Lookup("password-file") != nil {
			flags++
		}
		for _, sub := range cmd.Commands() {
			visit(sub)
		}
	}
	visit(newRootCommand(e))
	if flags < 3 {
		t.Errorf("only %d commands take a passphrase: the test looks at the wrong thing", flags)
	}
}

func TestTheBackgroundGetsNoSecrets(t *testing.T) {
	got := withoutSecrets([]string{
		"HOME=/h", "SYNCFS_PASSWORD=p", "SYNCFS_PASSWORD_FILE=f", "SYNCFS_NEW_PASSWORD=n", "SYNCFS_KEY=k", "SYNCFS_KEY_FILE=f", "PATH=/bin", "SYNCFS_NO_PASSTHROUGH=1",
	})
	if strings.Join(got, " ") != "HOME=/h PATH=/bin SYNCFS_NO_PASSTHROUGH=1" {
		t.Errorf("got %q", got)
	}
}

func TestNewPassphrasesDiffer(t *testing.T) {
	a, b := newPassphrase(), newPassphrase()
	if a == b || len(a) != 8*4+7 {
		t.Errorf("got %q and %q", a, b)
	}
}
