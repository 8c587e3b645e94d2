package agent

import (
	"context"
	"time"

	"github.com/syncfs/syncfs/internal/config"
)

// Client speaks to the running agent. Progress functions may be nil.
type Client struct{}

// Dial finds the agent of this HOME; ErrNotRunning.
func Dial(dirs config.Dirs) (*Client, error) { panic("skeleton") }

// Close ends idle connections.
func (c *Client) Close() error { panic("skeleton") }

// Add makes a directory a folder, mounts it (unless NoMount) and takes the
// first snapshot; it returns when the folder can be used: the upload goes on.
func (c *Client) Add(ctx context.Context, r AddRequest, progress func(Progress)) (FolderStatus, error) {
	panic("skeleton")
}

// Get brings a folder of the repository into a directory, mounts and follows
// it; it returns when everything is there.
func (c *Client) Get(ctx context.Context, r GetRequest, progress func(Progress)) (FolderStatus, error) {
	panic("skeleton")
}

// Mount serves a registered folder that is not served just now (mounting it,
// unless it is a plain directory). Served already is no error.
func (c *Client) Mount(ctx context.Context, name string) (FolderStatus, error) { panic("skeleton") }

// Umount ends serving a folder: what is on disk stays as a plain directory.
// lazy detaches a busy mount.
func (c *Client) Umount(ctx context.Context, name string, lazy bool) error { panic("skeleton") }

// Remove forgets a folder on this machine (its files stay); it stays in the
// repository.
func (c *Client) Remove(ctx context.Context, name string) error { panic("skeleton") }

// Flush returns when everything that was closed before the call is on the
// remote; ErrTimeout tells what is not.
func (c *Client) Flush(ctx context.Context, name string, timeout time.Duration) error {
	panic("skeleton")
}

// Status of the agent and its folders.
func (c *Client) Status(ctx context.Context) (Status, error) { panic("skeleton") }

// Operations returns the newest operations, oldest first, at most limit.
func (c *Client) Operations(ctx context.Context, limit int) ([]Operation, error) { panic("skeleton") }

// Stop ends the agent; it returns when it has gone.
func (c *Client) Stop(ctx context.Context) error { panic("skeleton") }
