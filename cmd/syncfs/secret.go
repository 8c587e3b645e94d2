package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"runtime"
	"strings"

	"github.com/spf13/pflag"
	"github.com/zalando/go-keyring"
	"golang.org/x/term"
)

// keyringService is under what passphrases lie in the desktop's keyring; the
// account is the repository's URL.
const keyringService = "syncfs"

// errNoSecret says that nobody gave a passphrase and nobody can be asked.
var errNoSecret = errors.New("no passphrase is given and there is no terminal to ask on")

// passphraseFlags are the ways to give a passphrase on a command line: never
// the passphrase itself, which every process could read there.
type passphraseFlags struct {
	prefix  string // "" or "new-"
	file    string
	command string
	keyring bool
}

// add declares the flags; prefix tells two passphrases of one command apart.
func (p *passphraseFlags) add(flags *pflag.FlagSet, prefix, what string) {
	p.prefix = prefix
	flags.StringVar(&p.file, prefix+"password-file", "", "read the "+what+" from this `file` (- is stdin)")
	flags.StringVar(&p.command, prefix+"password-command", "", "take the "+what+" from the output of this shell `command`")
}

// addKeyring declares --keyring.
func (p *passphraseFlags) addKeyring(flags *pflag.FlagSet) {
	flags.BoolVar(&p.keyring, "keyring", false, "keep the passphrase in the desktop's keyring, and look for it there")
}

// variables are the environment's counterparts, most deliberate first.
func (p *passphraseFlags) variable(suffix string) string {
	name := "SYNCFS_PASSWORD" + suffix
	if p.prefix != "" {
		name = "SYNCFS_" + strings.ToUpper(strings.ReplaceAll(p.prefix, "-", "_")) + "PASSWORD" + suffix
	}
	return name
}

// given looks for a passphrase in flags, environment and keyring, in this
// order; false when there is none.
func (p *passphraseFlags) given(ctx context.Context, e *env, account string) (string, bool, error) {
	file, command := p.file, p.command
	if file == "" && command == "" {
		file, command = e.getenv(p.variable("_FILE")), e.getenv(p.variable("_COMMAND"))
	}
	switch {
	case file != "" && command != "":
		return "", false, usage("a passphrase from a file and one from a command are both given")
	case file != "":
		text, err := e.readSecretFile(file)
		return text, true, err
	case command != "":
		text, err := e.runSecretCommand(ctx, command)
		return text, true, err
	}
	if text := e.getenv(p.variable("")); text != "" {
		return text, true, nil
	}
	if p.keyring && account != "" {
		text, err := keyring.Get(keyringService, account)
		if errors.Is(err, keyring.ErrNotFound) {
			return "", false, nil
		}
		if err != nil {
			return "", false, fmt.Errorf("ask the keyring: %w", err)
		}
		return text, true, nil
	}
	return "", false, nil
}

// existing finds the passphrase of a repository that is there.
func (p *passphraseFlags) existing(ctx context.Context, e *env, account, prompt string) (string, error) {
	text, ok, err := p.given(ctx, e, account)
	if ok || err != nil {
		return text, err
	}
	return e.ask(prompt)
}

// fresh finds a new passphrase; a typed one is asked for twice.
func (p *passphraseFlags) fresh(ctx context.Context, e *env, prompt string) (string, error) {
	text, ok, err := p.given(ctx, e, "")
	if err != nil {
		return "", err
	}
	if !ok {
		if text, err = e.ask(prompt); err != nil {
			return "", err
		}
		again, err := e.ask("the same once more")
		if err != nil {
			return "", err
		}
		if text != again {
			return "", errors.New("the two passphrases differ")
		}
	}
	if len(text) < minPassphrase {
		return "", hinted(errors.New("the passphrase is too short"), "take at least %d characters: it is all that protects the repository", minPassphrase)
	}
	return text, nil
}

// minPassphrase is the shortest new passphrase: short ones protect nothing.
const minPassphrase = 8

// remember puts a passphrase into the keyring when --keyring is given.
func (p *passphraseFlags) remember(account, passphrase string) error {
	if !p.keyring {
		return nil
	}
	if err := keyring.Set(keyringService, account, passphrase); err != nil {
		return fmt.Errorf("keep the passphrase in the keyring: %w", err)
	}
	return nil
}

// ask reads a secret from the terminal without showing it.
func (e *env) ask(prompt string) (string, error) {
	fd, ok := terminal(e.stdin)
	if !ok {
		return "", hinted(errNoSecret, "use --password-file, --password-command, SYNCFS_PASSWORD_FILE, SYNCFS_PASSWORD_COMMAND or SYNCFS_PASSWORD")
	}
	fmt.Fprintf(e.stderr, "%s: ", prompt)
	text, err := term.ReadPassword(fd)
	fmt.Fprintln(e.stderr)
	if err != nil {
		return "", fmt.Errorf("read the passphrase: %w", err)
	}
	return checkSecret(text, "the terminal")
}

func (e *env) readSecretFile(path string) (string, error) {
	var data []byte
	var err error
	if path == "-" {
		data, err = io.ReadAll(io.LimitReader(e.stdin, maxSecret+1))
	} else {
		data, err = os.ReadFile(path)
	}
	if err != nil {
		return "", fmt.Errorf("read the secret: %w", err)
	}
	return checkSecret(data, path)
}

func (e *env) runSecretCommand(ctx context.Context, command string) (string, error) {
	shell, flag := "sh", "-c"
	if runtime.GOOS == "windows" {
		shell, flag = "cmd", "/c"
	}
	cmd := exec.CommandContext(ctx, shell, flag, command)
	cmd.Stderr = e.stderr
	data, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("the command that gives the passphrase: %w", err)
	}
	return checkSecret(data, "the command that gives the passphrase")
}

const maxSecret = 4096

// checkSecret takes the newline off that editors and echo add.
func checkSecret(data []byte, from string) (string, error) {
	data = bytes.TrimRight(data, "\r\n")
	switch {
	case len(data) == 0:
		return "", fmt.Errorf("%s gave an empty secret", from)
	case len(data) > maxSecret:
		return "", fmt.Errorf("%s gave a secret of more than %d bytes", from, maxSecret)
	}
	return string(data), nil
}

// keyFlags are the ways to give a server's key. It opens the server, not the
// repository, so an argument is allowed.
type keyFlags struct{ key, file string }

func (k *keyFlags) add(flags *pflag.FlagSet, what string) {
	flags.StringVar(&k.key, "key", "", what)
	flags.StringVar(&k.file, "key-file", "", "read the key from this `file`")
}

// value is the key, "" when none is given.
func (k *keyFlags) value(e *env) (string, error) {
	key, file := k.key, k.file
	if key == "" && file == "" {
		key, file = e.getenv("SYNCFS_KEY"), e.getenv("SYNCFS_KEY_FILE")
	}
	if key != "" && file != "" {
		return "", usage("a key and a key file are both given")
	}
	if file != "" {
		return e.readSecretFile(file)
	}
	return key, nil
}
