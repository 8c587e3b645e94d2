// Package config is what a user may set: one TOML file, config.toml in
// $XDG_CONFIG_HOME/syncfs. Every setting has a default that suits most; a
// missing file is the defaults, an unknown setting is an error.
package config

import (
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"sort"
	"strings"
	"time"

	"github.com/BurntSushi/toml"
)

// Config is all settings, with their defaults filled in.
type Config struct {
	Spool Spool `toml:"spool"`
	Cache Cache `toml:"cache"`
	Mount Mount `toml:"mount"`
	// OnDemand says what of on-demand folders is kept here.
	OnDemand OnDemand `toml:"on-demand"`
	Sync     Sync     `toml:"sync"`
	Limit    Limit    `toml:"limit"`
	Unlock   Unlock   `toml:"unlock"`
	Log      Log      `toml:"log"`
}

// Unlock says where the background process finds the passphrase, where one
// protects this machine's key ("syncfs key protect"). What is named is asked in
// this order.
type Unlock struct {
	// Credential is the name of one that systemd hands over.
	Credential string `toml:"credential"`
	// File holds the passphrase; nobody but the user may read it.
	File string `toml:"file"`
	// Command prints the passphrase.
	Command string `toml:"command"`
	// Keyring asks the desktop's.
	Keyring bool `toml:"keyring"`
}

// Spool keeps what no remote has yet.
type Spool struct {
	// Limit is how much may wait for a remote; 0: as much as the disk holds.
	// When it is full, capture stops and status says "unprotected".
	Limit Size `toml:"limit"`
}

// Cache keeps content of old versions that was read lately.
type Cache struct {
	Limit Size `toml:"limit"`
}

// Mount says how folders are mounted.
type Mount struct {
	// AllowOther lets other users (root's backups, containers) in: "auto" where
	// the machine permits it, "yes" or "no".
	AllowOther Choice `toml:"allow-other"`
	// Passthrough lets the kernel read and write the plain files itself.
	Passthrough bool `toml:"passthrough"`
	// Versions says where .versions is listed: "root", "none" or "all".
	Versions Listing `toml:"versions"`
}

// OnDemand bounds what on-demand folders keep on this disk.
type OnDemand struct {
	// Limit is how much content each keeps; 0: no limit. What was not used for
	// longest goes first, and never what is pinned, in use or not uploaded.
	Limit Size `toml:"limit"`
	// NoFetch names programs that get an error instead of content that is not
	// here: those that read everything they see.
	NoFetch []string `toml:"no-fetch"`
}

// noFetch are programs that make thumbnails and indexes.
func noFetch() []string {
	return []string{
		"tumblerd", "gdk-pixbuf-thumbnailer", "totem-video-thumbnailer", "gst-video-thumbnailer",
		"evince-thumbnailer", "papers-thumbnailer", "ffmpegthumbnailer", "raw-thumbnailer",
		"tracker-extract", "tracker-extract-3", "tracker-miner-fs", "tracker-miner-fs-3",
		"localsearch", "localsearch-3", "localsearch-extractor-3",
		"baloo_file", "baloo_file_extractor", "thumbnail.so", "recollindex",
	}
}

// Sync says when changes travel.
type Sync struct {
	// Settle is how long a file rests before it is captured.
	Settle Duration `toml:"settle"`
	// CommitEvery is how long new content is read, or its sending would take,
	// before what is whole so far becomes a version.
	CommitEvery Duration `toml:"commit-every"`
}

// Limit bounds what goes over the network, in bytes a second; 0: no bound.
type Limit struct {
	Upload   Rate `toml:"upload"`
	Download Rate `toml:"download"`
}

// Log says what the background process writes into its log.
type Log struct {
	Level slog.Level `toml:"level"`
}

// Default is what holds without a file.
func Default() Config {
	return Config{
		Spool:    Spool{Limit: 16 << 30},
		Cache:    Cache{Limit: 2 << 30},
		Mount:    Mount{AllowOther: Auto, Passthrough: true, Versions: ListRoot},
		OnDemand: OnDemand{Limit: 16 << 30, NoFetch: noFetch()},
		Sync:     Sync{Settle: Duration(time.Second), CommitEvery: Duration(5 * time.Minute)},
		Unlock:   Unlock{Credential: "syncfs.passphrase", Keyring: true},
		Log:      Log{Level: slog.LevelInfo},
	}
}

// Load reads the file at path over the defaults.
func Load(path string) (Config, error) {
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return Default(), nil
	}
	if err != nil {
		return Config{}, fmt.Errorf("read the configuration: %w", err)
	}
	c, err := Parse(data)
	if err != nil {
		return Config{}, fmt.Errorf("%s: %w", path, err)
	}
	return c, nil
}

// Parse reads the text of a configuration over the defaults.
func Parse(data []byte) (Config, error) {
	c := Default()
	found, err := toml.Decode(string(data), &c)
	if err != nil {
		var parse toml.ParseError
		if errors.As(err, &parse) {
			return Config{}, fmt.Errorf("line %d: %s", parse.Position.Line, parse.Message)
		}
		return Config{}, err
	}
	if unknown := found.Undecoded(); len(unknown) > 0 {
		var names []string
		for _, key := range unknown {
			names = append(names, key.String())
		}
		sort.Strings(names)
		return Config{}, fmt.Errorf("unknown setting %s (known are: %s)",
			strings.Join(names, ", "), strings.Join(Names(), ", "))
	}
	return c, c.check()
}

// Names lists every setting there is.
func Names() []string {
	return []string{
		"spool.limit", "cache.limit", "mount.allow-other", "mount.passthrough",
		"mount.versions", "on-demand.limit", "on-demand.no-fetch", "sync.settle", "sync.commit-every", "limit.upload", "limit.download",
		"unlock.credential", "unlock.file", "unlock.command", "unlock.keyring", "log.level",
	}
}

func (c Config) check() error {
	if d := time.Duration(c.Sync.Settle); d < 100*time.Millisecond || d > time.Minute {
		return fmt.Errorf("sync.settle: %v is not between 100ms and 1m", d)
	}
	if d := time.Duration(c.Sync.CommitEvery); d < time.Second || d > 10*time.Minute {
		return fmt.Errorf("sync.commit-every: %v is not between 1s and 10m", d)
	}
	for _, r := range []struct {
		name string
		rate Rate
	}{{"limit.upload", c.Limit.Upload}, {"limit.download", c.Limit.Download}} {
		if err := r.rate.Check(); err != nil {
			return fmt.Errorf("%s: %w", r.name, err)
		}
	}
	if f := c.Unlock.File; f != "" && !filepath.IsAbs(f) {
		return fmt.Errorf("unlock.file: %s is not an absolute path", f)
	}
	if n := c.Unlock.Credential; strings.ContainsAny(n, `/\`) || n == ".." {
		return fmt.Errorf("unlock.credential: %q is not the name of a credential", n)
	}
	if c.Cache.Limit < 64<<20 {
		return fmt.Errorf("cache.limit: %v is less than 64MiB", c.Cache.Limit)
	}
	if c.OnDemand.Limit != 0 && c.OnDemand.Limit < 1<<20 {
		return fmt.Errorf("on-demand.limit: %v is less than 1MiB (0 means no limit)", c.OnDemand.Limit)
	}
	if c.Spool.Limit != 0 && c.Spool.Limit < 64<<20 {
		return fmt.Errorf("spool.limit: %v is less than 64MiB (0 means no limit)", c.Spool.Limit)
	}
	return nil
}
