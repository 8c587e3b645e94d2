package config

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"path/filepath"
	"strings"
)

// Dirs are the directories that one user's syncfs lives in.
type Dirs struct {
	Config  string // what the user sets
	State   string // what cannot be rebuilt, with the spool
	Cache   string // disposable: chunk cache, database
	Data    string // the embedded repository
	Runtime string // the control socket
}

// UserDirs finds the directories of a user from the environment alone: the XDG
// variables, and HOME where they are not set. getenv is os.Getenv outside tests.
func UserDirs(getenv func(string) string) (Dirs, error) {
	home := getenv("HOME")
	if home == "" {
		home = getenv("USERPROFILE")
	}
	missing := false
	dir := func(variable, below string) string {
		// A path that is not absolute is to be ignored, says the XDG specification.
		if d := getenv(variable); filepath.IsAbs(d) {
			return filepath.Join(d, "syncfs")
		}
		if !filepath.IsAbs(home) {
			missing = true
			return ""
		}
		return filepath.Join(home, filepath.FromSlash(below), "syncfs")
	}
	d := Dirs{
		Config: dir("XDG_CONFIG_HOME", ".config"),
		State:  dir("XDG_STATE_HOME", ".local/state"),
		Cache:  dir("XDG_CACHE_HOME", ".cache"),
		Data:   dir("XDG_DATA_HOME", ".local/share"),
	}
	if missing {
		return Dirs{}, errors.New("HOME is not set to an absolute path, so there is nowhere to keep state")
	}
	d.Runtime = filepath.Join(d.State, "run")
	if r := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(r) {
		d.Runtime = filepath.Join(r, "syncfs")
	}
	return d, nil
}

// Socket is the path of the control socket. A user has one runtime directory
// and may have several HOMEs, so the name depends on State.
func (d Dirs) Socket() string {
	sum := sha256.Sum256([]byte(d.State))
	return filepath.Join(d.Runtime, "agent-"+hex.EncodeToString(sum[:4])+".sock")
}

// Below tells whether path is dir or lies below it. Both must be clean.
func Below(path, dir string) bool {
	sep := string(filepath.Separator)
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, sep)+sep)
}
