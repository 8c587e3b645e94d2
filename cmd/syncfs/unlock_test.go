package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/zalando/go-keyring"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/config"
)

func TestThePassphraseIsLookedForWhereTheUserSaid(t *testing.T) {
	keyring.MockInit()
	dir := t.TempDir()
	write := func(name, text string, mode os.FileMode) string {
		t.Helper()
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(path, mode); err != nil {
			t.Fatal(err)
		}
		return path
	}
	env := map[string]string{"HOME": dir, "CREDENTIALS_DIRECTORY": dir, "XDG_RUNTIME_DIR": ""}
	e, _, _ := testEnv(t, env)
	dirs, err := e.dirs()
	if err != nil {
		t.Fatal(err)
	}
	write(".local/state/syncfs/repository.json", `{"format":1,"url":"http://server","id":"00"}`, 0o600)
	write("syncfs.passphrase", "from systemd\n", 0o400)
	if err := keyring.Set(keyringService, "http://server", "from the keyring"); err != nil {
		t.Fatal(err)
	}
	all := config.Unlock{
		Credential: "syncfs.passphrase", File: write("private", "from a file\n", 0o600),
		Command: "echo from a command", Keyring: true,
	}
	for _, tc := range []struct {
		name   string
		unlock config.Unlock
		env    string // DBUS_SESSION_BUS_ADDRESS
		want   []string
		err    error // of the last
		text   string
	}{
		{"all, in this order", all, "unix:path=/nowhere", []string{"from systemd", "from a file", "from a command", "from the keyring"}, nil, ""},
		{"no credential of that name", config.Unlock{Credential: "other"}, "", nil, agent.ErrNoSecret, ""},
		{"a file that others may read", config.Unlock{File: write("public", "x", 0o640)}, "", nil, nil, "chmod 600"},
		{"a file that is not there", config.Unlock{File: filepath.Join(dir, "absent")}, "", nil, os.ErrNotExist, ""},
		{"a command that fails", config.Unlock{Command: "exit 3"}, "", nil, nil, "exit status 3"},
		{"a keyring that has not started", config.Unlock{Keyring: true}, "", nil, agent.ErrNotYet, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			env["DBUS_SESSION_BUS_ADDRESS"] = tc.env
			var got []string
			var last error
			for _, s := range e.unlockSecrets(dirs, tc.unlock) {
				text, err := s.Get(context.Background())
				if last = err; err == nil {
					got = append(got, text)
				}
			}
			if strings.Join(got, "|") != strings.Join(tc.want, "|") {
				t.Errorf("got %q, want %q", got, tc.want)
			}
			if tc.err != nil && !errors.Is(last, tc.err) || tc.text != "" && (last == nil || !strings.Contains(last.Error(), tc.text)) {
				t.Errorf("got error %v, want %v %q", last, tc.err, tc.text)
			}
		})
	}
}
