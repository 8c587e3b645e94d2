package agent

import (
	"fmt"
	"log/slog"
	"os"
	"os/user"
	"path/filepath"
	"strings"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/remote"
)

// isURL tells a file server from a directory.
func isURL(s string) bool {
	return strings.HasPrefix(s, "http://") || strings.HasPrefix(s, "https://")
}

// openRemote opens a file server or a directory. done releases it.
func openRemote(url, key, pin string, log *slog.Logger) (store blob.Store, done func(), err error) {
	if !isURL(url) {
		d, err := blob.OpenDir(url, blob.DirOptions{Logger: log})
		if err != nil {
			return nil, nil, err
		}
		return d, func() { d.Close() }, nil
	}
	c, err := remote.NewClient(remote.ClientOptions{URL: url, Key: key, Pin: pin, Logger: log})
	if err != nil {
		return nil, nil, err
	}
	return c, c.Close, nil
}

// ownPath is an absolute path with symlinks resolved as far as it exists.
func ownPath(path string) (string, error) {
	abs, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	rest := ""
	for at := abs; ; at = filepath.Dir(at) {
		real, err := filepath.EvalSymlinks(at)
		if err == nil {
			return filepath.Join(real, rest), nil
		}
		if !os.IsNotExist(err) || at == filepath.Dir(at) {
			return "", fmt.Errorf("%s: %w", path, err)
		}
		rest = filepath.Join(filepath.Base(at), rest)
	}
}

func hostName() string {
	host, err := os.Hostname()
	if err != nil || host == "" {
		return "unknown"
	}
	return host
}

func userName() string {
	u, err := user.Current()
	if err != nil {
		return fmt.Sprintf("uid %d", os.Getuid())
	}
	return u.Username
}
