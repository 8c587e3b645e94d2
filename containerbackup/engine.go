package containerbackup

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/url"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/moby/moby/client"
)

// defaultHost is where an engine listens that nobody was told about.
const defaultHost = "unix:///var/run/docker.sock"

// Engine is a connection with a container engine.
type Engine struct {
	api  *client.Client
	host string
}

// Open connects with the engine that the environment names: DOCKER_HOST, else
// the current context of the docker command, else the usual socket. ErrNoEngine;
// io/fs.ErrPermission where the socket is not for this user.
func Open(ctx context.Context, getenv func(string) string) (*Engine, error) {
	host, err := engineHost(getenv)
	if err != nil {
		return nil, err
	}
	if err := knock(ctx, host); err != nil {
		return nil, err
	}
	options := []client.Opt{client.WithHost(host)}
	if dir := getenv("DOCKER_CERT_PATH"); dir != "" && getenv("DOCKER_TLS_VERIFY") != "" {
		options = append(options, client.WithTLSClientConfig(filepath.Join(dir, "ca.pem"), filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")))
	}
	api, err := client.New(options...)
	if err != nil {
		return nil, fmt.Errorf("engine %s: %w", host, err)
	}
	e := &Engine{api: api, host: host}
	if _, err := api.Ping(ctx, client.PingOptions{NegotiateAPIVersion: true}); err != nil {
		return nil, errors.Join(fmt.Errorf("%w at %s: %w", ErrNoEngine, host, err), api.Close())
	}
	return e, nil
}

// Close ends the connection.
func (e *Engine) Close() error { return e.api.Close() }

// knock looks whether the socket is there and for us, since what the client says
// of either does not tell what to do.
func knock(ctx context.Context, host string) error {
	u, err := url.Parse(host)
	if err != nil || u.Scheme != "unix" {
		return nil // the ping tells
	}
	conn, err := (&net.Dialer{Timeout: 10 * time.Second}).DialContext(ctx, "unix", u.Path)
	switch {
	case err == nil:
		return conn.Close()
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("engine socket %s: %w%s", u.Path, fs.ErrPermission, whoMay(u.Path))
	}
	return fmt.Errorf("%w at %s: %w", ErrNoEngine, host, err)
}

// whoMay names the group that a socket is for.
func whoMay(path string) string {
	gid, ok := groupOf(path)
	if !ok {
		return ""
	}
	name := strconv.Itoa(gid)
	if g, err := user.LookupGroupId(name); err == nil {
		name = g.Name
	}
	return fmt.Sprintf(": it is for members of the group %q (`sudo usermod -aG %s $USER`, then log in again)", name, name)
}

// engineHost finds the address as the docker command does.
func engineHost(getenv func(string) string) (string, error) {
	if host := getenv("DOCKER_HOST"); host != "" {
		return host, nil
	}
	dir := getenv("DOCKER_CONFIG")
	if dir == "" {
		dir = filepath.Join(getenv("HOME"), ".docker")
	}
	name := getenv("DOCKER_CONTEXT")
	if name == "" {
		var config struct {
			CurrentContext string `json:"currentContext"`
		}
		if err := readJSON(filepath.Join(dir, "config.json"), &config); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		name = config.CurrentContext
	}
	if name == "" || name == "default" {
		return defaultHost, nil
	}
	sum := sha256.Sum256([]byte(name))
	var meta struct {
		Endpoints map[string]struct{ Host string }
	}
	if err := readJSON(filepath.Join(dir, "contexts", "meta", hex.EncodeToString(sum[:]), "meta.json"), &meta); err != nil {
		return "", fmt.Errorf("docker context %q: %w", name, err)
	}
	host := meta.Endpoints["docker"].Host
	if host == "" {
		return "", fmt.Errorf("docker context %q names no engine", name)
	}
	return host, nil
}

func readJSON(path string, v any) error {
	data, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	if err := json.Unmarshal(data, v); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// local tells whether the engine's files are on this machine.
func (e *Engine) local() bool { return strings.HasPrefix(e.host, "unix://") }
