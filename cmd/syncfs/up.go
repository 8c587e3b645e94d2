package main

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/syncfs/syncfs/internal/agent"
	"github.com/syncfs/syncfs/internal/config"
	"github.com/syncfs/syncfs/internal/store"
)

type upOptions struct {
	passphrase passphraseFlags
	remote     string
	key        keyFlags
	pin        string
	add        addOptions
	limits     limitFlags
}

func newUpCommand(e *env) *cobra.Command {
	var o upOptions
	cmd := &cobra.Command{
		Use:   "up [DIR]",
		Short: "All of it in one: a repository if there is none, a folder, mounted and synced",
		Long: `All of it in one: make a repository on this machine if it is connected with
none, make DIR (~/Sync) a folder if it is none, start the background process,
mount. Doing it again does no harm.

The repository is made below $XDG_DATA_HOME/syncfs, or on the server of
--remote. Without a passphrase from the user one is made, and shown once on the
recovery sheet. Where a repository is there already its passphrase is asked for,
and a folder of the directory's name, if it has one, is synced with DIR: what
both have is merged, and nothing is deleted.`,
		Example: `  syncfs up
  syncfs up ~/Documents
  syncfs up ~/Documents --remote https://server:5000 --key-file key.txt
  syncfs status ; ls ~/Documents/.versions ; syncfs stop`,
		Args: rangeArgs(1),
		RunE: runE(func(ctx context.Context, args []string) error { return runUp(ctx, e, o, args) }),
	}
	o.passphrase.add(cmd.Flags(), "", "passphrase of the repository")
	o.key.add(cmd.Flags(), "the server's access key")
	cmd.Flags().StringVar(&o.remote, "remote", "", "`URL` of a server, or a directory, that the repository is in or is made in")
	cmd.Flags().StringVar(&o.pin, "fingerprint", "", "trust the server's certificate with this `fingerprint` (the server prints it)")
	cmd.Flags().StringVar(&o.add.name, "name", "", "`name` of the folder (the directory's name)")
	cmd.Flags().BoolVar(&o.add.noMount, "no-mount", false, "do not mount it: watch it as a plain directory")
	o.limits.add(cmd.Flags(), "limit-")
	return cmd
}

func runUp(ctx context.Context, e *env, o upOptions, args []string) error {
	dirs, err := e.dirs()
	if err != nil {
		return err
	}
	show, err := e.show("") // a configuration that is wrong is told before anything is made
	if err != nil {
		return err
	}
	dir, err := e.upDir(args)
	if err != nil {
		return err
	}
	was, err := agent.Connected(dirs)
	switch {
	case errors.Is(err, agent.ErrNotConnected):
		if err := e.upRepository(ctx, o, dirs); err != nil {
			return err
		}
	case err != nil:
		return err
	case o.remote != "" && o.remote != was.URL:
		return connectedAlready(agent.SetupOptions{Dirs: dirs})
	}
	if err := os.MkdirAll(dir, 0o755); err != nil && !o.add.noMount {
		return fmt.Errorf("make %s: %w", dir, err)
	}
	return e.withStartedAgent(ctx, func(c *agent.Client) error {
		if err := o.limits.tell(ctx, c); err != nil {
			return err
		}
		s, err := c.Status(ctx)
		if err != nil {
			return err
		}
		for _, f := range s.Folders {
			if f.Path == dir {
				is, err := c.Mount(ctx, f.Name)
				if err != nil {
					return err
				}
				return e.showAdded(is)
			}
		}
		bar := e.newProgress()
		is, err := c.Add(ctx, agent.AddRequest{Path: dir, Name: o.add.name, NoMount: o.add.noMount, Show: show}, bar.update)
		if errors.Is(err, fs.ErrExist) && o.remote != "" {
			is, err = c.Get(ctx, agent.GetRequest{Path: dir, Name: folderName(o, dir), NoMount: o.add.noMount, Show: show}, bar.update)
		}
		bar.done()
		if err != nil {
			return err
		}
		return e.showAdded(is)
	})
}

// folderName is the name of the folder in dir.
func folderName(o upOptions, dir string) string {
	if o.add.name != "" {
		return o.add.name
	}
	return filepath.Base(dir)
}

// upDir is DIR, or Sync in HOME.
func (e *env) upDir(args []string) (string, error) {
	if len(args) > 0 {
		return abs(args[0])
	}
	home := e.getenv("HOME")
	if home == "" {
		home = e.getenv("USERPROFILE")
	}
	if !filepath.IsAbs(home) {
		return "", errors.New("HOME is not set to an absolute path: say which directory to take")
	}
	return filepath.Join(home, "Sync"), nil
}

// upRepository makes the embedded repository, or one on a remote, or connects
// with the one that is there.
func (e *env) upRepository(ctx context.Context, o upOptions, dirs config.Dirs) error {
	where, url := "on this machine", filepath.Join(dirs.Data, "repository")
	if o.remote != "" {
		where, url = "at "+o.remote, o.remote
	}
	s, err := e.setup(setupOptions{key: o.key, pin: o.pin}, url)
	if err != nil {
		return err
	}
	s.Pin, err = e.greet(ctx, s, false)
	there := errors.Is(err, store.ErrExists)
	if err != nil && !there {
		return err
	}
	if !isServer(url) {
		_, err := os.Stat(filepath.Join(url, "config"))
		there = err == nil && o.remote != ""
	}
	if there {
		if s.Passphrase, err = o.passphrase.existing(ctx, e, url, "passphrase of the repository"); err != nil {
			return err
		}
		made, err := agent.ConnectRepository(ctx, s)
		if err == nil {
			e.say("connected with the repository at %s", made.URL)
		}
		return err
	}
	passphrase, made, err := e.upPassphrase(ctx, o)
	if err != nil {
		return err
	}
	s.Passphrase = passphrase
	setup, err := agent.InitRepository(ctx, s)
	if err != nil {
		return err
	}
	e.say("made a repository %s\n", where)
	if !made {
		passphrase = ""
	}
	e.recoverySheet(setup, passphrase)
	e.say("")
	return nil
}

// upPassphrase is the one that the user gives, or else a new one.
func (e *env) upPassphrase(ctx context.Context, o upOptions) (passphrase string, made bool, err error) {
	_, given, err := o.passphrase.given(ctx, e, "")
	if err != nil {
		return "", false, err
	}
	if _, tty := terminal(e.stdin); given || tty {
		passphrase, err = o.passphrase.fresh(ctx, e, "new passphrase for the repository")
		return passphrase, false, err
	}
	return newPassphrase(), true, nil
}

// newPassphrase is 160 random bits in letters that can be read aloud.
func newPassphrase() string {
	var b [20]byte
	rand.Read(b[:]) // never fails
	text := strings.ToLower(base32.StdEncoding.EncodeToString(b[:]))
	var parts []string
	for ; len(text) >= 4; text = text[4:] {
		parts = append(parts, text[:4])
	}
	return strings.Join(parts, "-")
}
