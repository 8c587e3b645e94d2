package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"

	"github.com/godbus/dbus/v5"
	"github.com/spf13/cobra"
	"github.com/zalando/go-keyring"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/config"
)

func newUnlockCommand(e *env) *cobra.Command {
	var p passphraseFlags
	cmd := &cobra.Command{
		Use:   "unlock",
		Short: "Open what a passphrase protects on this machine",
		Long: `Open what a passphrase protects on this machine: the background process, which
is started if it does not run, mounts and syncs from then on until it ends.
"syncfs key protect" makes the passphrase necessary.`,
		Example: `  syncfs unlock
  pass show syncfs | syncfs unlock --password-file -`,
		Args: exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error { return runUnlock(ctx, e, p) }),
	}
	p.add(cmd.Flags(), "", "passphrase")
	p.addKeyring(cmd.Flags())
	return cmd
}

func runUnlock(ctx context.Context, e *env, p passphraseFlags) error {
	return e.withStartedAgent(ctx, func(c *agent.Client) error {
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		if !s.Locked {
			e.say("nothing is locked")
			return nil
		}
		passphrase, err := p.existing(ctx, e, s.URL, "passphrase")
		if err != nil {
			return err
		}
		if err := c.Unlock(ctx, passphrase); err != nil {
			return err
		}
		if err := p.remember(s.URL, passphrase); err != nil {
			return err
		}
		e.say("unlocked: folders are mounted and synced")
		return nil
	})
}

func newKeyProtectCommand(e *env) *cobra.Command {
	var p passphraseFlags
	cmd := &cobra.Command{
		Use:   "protect",
		Short: "Ask for the passphrase whenever syncfs starts on this machine",
		Long: `Ask for the passphrase whenever syncfs starts on this machine: the machine's own
key, which otherwise lies in a file that only the user can read, is encrypted
with it. The background process then looks for the passphrase in a credential of
systemd (syncfs.passphrase), in the file or command of [unlock] in config.toml,
and in the desktop's keyring, where --keyring puts it. Until one has it nothing
is mounted, and "syncfs unlock" asks for it. A passphrase that is changed later
with "syncfs key passwd" does not change this one: protect again.`,
		Example: `  syncfs stop && syncfs key protect --keyring`,
		Args:    exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error {
			dirs, err := e.dirs()
			if err != nil {
				return err
			}
			was, err := agent.Connected(dirs)
			if err != nil {
				return err
			}
			passphrase, err := p.existing(ctx, e, was.URL, "passphrase of the repository")
			if err != nil {
				return err
			}
			if err := agent.Protect(ctx, dirs, passphrase); err != nil {
				return err
			}
			if err := p.remember(was.URL, passphrase); err != nil {
				return err
			}
			e.say("this machine needs the passphrase from now on, whenever syncfs starts")
			return nil
		}),
	}
	p.add(cmd.Flags(), "", "passphrase")
	p.addKeyring(cmd.Flags())
	return cmd
}

func newKeyUnprotectCommand(e *env) *cobra.Command {
	var p passphraseFlags
	cmd := &cobra.Command{
		Use:     "unprotect",
		Short:   "Start without a passphrase on this machine again",
		Example: `  syncfs stop && syncfs key unprotect`,
		Args:    exactArgs(),
		RunE: runE(func(ctx context.Context, _ []string) error {
			dirs, err := e.dirs()
			if err != nil {
				return err
			}
			was, err := agent.Connected(dirs)
			if err != nil {
				return err
			}
			passphrase, err := p.existing(ctx, e, was.URL, "passphrase")
			if err != nil {
				return err
			}
			if err := agent.Unprotect(dirs, passphrase); err != nil {
				return err
			}
			e.say("this machine starts without a passphrase from now on")
			return nil
		}),
	}
	p.add(cmd.Flags(), "", "passphrase")
	p.addKeyring(cmd.Flags())
	return cmd
}

// unlockSecrets are where the background process looks for the passphrase that
// protects this machine's key.
func (e *env) unlockSecrets(dirs config.Dirs, c config.Unlock) []agent.Secret {
	secrets := []agent.Secret{{Name: "the credential " + c.Credential, Get: func(context.Context) (string, error) {
		return e.credentialSecret(c.Credential)
	}}}
	if c.File != "" {
		secrets = append(secrets, agent.Secret{Name: "the file " + c.File, Get: func(context.Context) (string, error) {
			return e.privateSecret(c.File)
		}})
	}
	if c.Command != "" {
		secrets = append(secrets, agent.Secret{Name: "the command of unlock.command", Get: func(ctx context.Context) (string, error) {
			return e.runSecretCommand(ctx, c.Command)
		}})
	}
	if c.Keyring {
		secrets = append(secrets, agent.Secret{Name: "the keyring", Get: func(context.Context) (string, error) {
			was, err := agent.Connected(dirs)
			if err != nil {
				return "", err
			}
			return e.keyringSecret(was.URL)
		}})
	}
	return secrets
}

// credentialSecret reads what LoadCredential= of a unit hands over.
func (e *env) credentialSecret(name string) (string, error) {
	dir := e.getenv("CREDENTIALS_DIRECTORY")
	if dir == "" || name == "" {
		return "", agent.ErrNoSecret
	}
	text, err := e.readSecretFile(filepath.Join(dir, name))
	if errors.Is(err, os.ErrNotExist) {
		return "", agent.ErrNoSecret
	}
	return text, err
}

// privateSecret reads a file that nobody else can read.
func (e *env) privateSecret(path string) (string, error) {
	info, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if info.Mode().Perm()&0o077 != 0 && filepath.Separator == '/' {
		return "", fmt.Errorf("others than the user may read or change it (mode %04o): chmod 600 %s", info.Mode().Perm(), path)
	}
	return e.readSecretFile(path)
}

// keyringSecret asks the desktop's keyring, which may start after us.
func (e *env) keyringSecret(account string) (string, error) {
	// Without a bus one would be started that nobody ends.
	if runtime.GOOS == "linux" && !e.sessionBus() {
		return "", fmt.Errorf("%w: there is no session bus", agent.ErrNotYet)
	}
	text, err := keyring.Get(keyringService, account)
	var bus dbus.Error
	switch {
	case errors.Is(err, keyring.ErrNotFound):
		return "", agent.ErrNoSecret
	case errors.As(err, &bus):
		return "", fmt.Errorf("%w: %w", agent.ErrNotYet, err)
	}
	return text, err
}

// sessionBus tells whether the session has a bus.
func (e *env) sessionBus() bool {
	if e.getenv("DBUS_SESSION_BUS_ADDRESS") != "" {
		return true
	}
	_, err := os.Stat(filepath.Join(e.getenv("XDG_RUNTIME_DIR"), "bus"))
	return e.getenv("XDG_RUNTIME_DIR") != "" && err == nil
}
