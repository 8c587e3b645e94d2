package agent

import (
	"context"
	"fmt"
	"net"
	"os"
	"path/filepath"
)

// maxSocket is the longest path that an address of a socket holds.
const maxSocket = 107

// short calls fn with a path of a socket that fits into an address: that of a
// long one goes through a descriptor of its directory.
func short[T any](path string, fn func(path string) (T, error)) (T, error) {
	if len(path) <= maxSocket {
		return fn(path)
	}
	dir, err := os.Open(filepath.Dir(path))
	if err != nil {
		var zero T
		return zero, err
	}
	defer dir.Close()
	return fn(fmt.Sprintf("/proc/self/fd/%d/%s", dir.Fd(), filepath.Base(path)))
}

func listenAt(path string) (net.Listener, error) {
	l, err := short(path, func(p string) (net.Listener, error) { return net.Listen("unix", p) })
	if u, ok := l.(*net.UnixListener); ok && len(path) > maxSocket {
		u.SetUnlinkOnClose(false) // the short path is not valid any more then
	}
	return l, err
}

func dialAt(ctx context.Context, path string) (net.Conn, error) {
	return short(path, func(p string) (net.Conn, error) { return new(net.Dialer).DialContext(ctx, "unix", p) })
}
