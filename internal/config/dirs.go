package config

import (
	"errors"
	"fmt"
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

// maxSocket is the longest path of a unix socket on every system that we build
// for (sun_path holds 104 to 108 bytes with the final NUL).
const maxSocket = 103

// socketName is the control socket in Runtime.
const socketName = "agent.sock"

// UserDirs finds the directories of a user from the environment alone: the XDG
// variables, and HOME where they are not set. getenv is os.Getenv outside tests.
func UserDirs(getenv func(string) string) (Dirs, error) {
	home := getenv("HOME")
	if home == "" {
		home = getenv("USERPROFILE")
	}
	missing := false
	dir := func(variable, below string) string {
		// XDG: a path that is not absolute is to be ignored.
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
	if r := getenv("XDG_RUNTIME_DIR"); filepath.IsAbs(r) && runtimeIsOurs(getenv, home) {
		d.Runtime = filepath.Join(r, "syncfs")
	}
	return d, nil
}

// runtimeIsOurs tells whether XDG_RUNTIME_DIR may be used: it is one directory
// a user, so with a HOME (or state) of its own a second syncfs would meet the
// first one's socket there. The name of the socket tells them apart.
func runtimeIsOurs(func(string) string, string) bool { return true }

// Socket is the path of the control socket. It depends on State as well, since
// one user may have several HOMEs and only one runtime directory, and fits the
// length that a unix socket's path may have.
func (d Dirs) Socket() (string, error) {
	path := filepath.Join(d.Runtime, socketName)
	if len(path) > maxSocket {
		return "", fmt.Errorf("the path of the control socket %s is longer than the %d bytes that the system allows: set XDG_RUNTIME_DIR to a shorter path", path, maxSocket)
	}
	return path, nil
}

// Below tells whether path is dir or lies below it. Both must be clean.
func Below(path, dir string) bool {
	return path == dir || strings.HasPrefix(path, strings.TrimSuffix(dir, string(filepath.Separator))+string(filepath.Separator))
}
