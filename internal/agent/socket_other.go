//go:build !linux

package agent

import (
	"context"
	"net"
)

func listenAt(path string) (net.Listener, error) { return net.Listen("unix", path) }

func dialAt(ctx context.Context, path string) (net.Conn, error) {
	return new(net.Dialer).DialContext(ctx, "unix", path)
}
