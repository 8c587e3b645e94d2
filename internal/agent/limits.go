package agent

import (
	"context"
	"fmt"

	"github.com/syncfs/syncfs/remote"
)

// Limits bound what goes over the network, in bytes a second; 0: no bound.
type Limits struct {
	Upload   int64 `json:"upload"`
	Download int64 `json:"download"`
}

// SetLimits bounds the running agent's traffic until it is set again or the
// agent ends. Of a repository in a
// directory there is nothing to bound: an error.
func (c *Client) SetLimits(ctx context.Context, l Limits) error {
	return c.post(ctx, "limit", l, nil, nil)
}

// setLimits is the one way to change them, whoever does.
func (a *Agent) setLimits(l Limits) error {
	if !isURL(a.repo.Setup.URL) && l != (Limits{}) {
		return fmt.Errorf("there is no network to limit: the repository is the directory %s", a.repo.Setup.URL)
	}
	a.mu.Lock()
	a.limits = l
	a.mu.Unlock()
	a.repo.remote.limit(l)
	return nil
}

// SetLimits bounds what this process fetches.
func (r *Reader) SetLimits(l Limits) { r.repo.remote.limit(l) }

// limit bounds the requests of a file server; a directory has none.
func (c *reach) limit(l Limits) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if r, ok := c.store.(*remote.Client); ok {
		r.SetLimits(l.Upload, l.Download)
	}
}
