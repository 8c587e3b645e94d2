package remote

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

// Stat is blob.Store.Stat.
func (c *Client) Stat(ctx context.Context, name string) (blob.Info, error) {
	if !blob.ValidName(name) {
		return blob.Info{}, fmt.Errorf("stat %q: not a name", clip(name))
	}
	info := blob.Info{Name: name}
	err := c.retry(ctx, "stat "+name, func() error {
		reply, err := c.once(ctx, exchange{method: http.MethodHead, path: "/v1/blobs/" + name})
		if err != nil {
			return err
		}
		defer reply.Close()
		info.Size = reply.response.ContentLength
		info.Modified, err = time.Parse(time.RFC3339Nano, reply.response.Header.Get(headerModified))
		if err != nil || info.Size < 0 {
			return fmt.Errorf("%w: no size or time of %s in its answer", ErrNotServer, name)
		}
		return nil
	})
	return info, err
}

// List is blob.Store.List. It asks for one page after the other.
func (c *Client) List(ctx context.Context, prefix, after string, fn func(blob.Info) error) error {
	for {
		var page wireList
		x := exchange{method: http.MethodGet, path: "/v1/blobs", query: url.Values{
			"prefix": {prefix}, "after": {after}, "limit": {strconv.Itoa(listPage)},
		}}
		if err := c.getJSON(ctx, "list "+clip(prefix), x, &page); err != nil {
			return err
		}
		for _, o := range page.Objects {
			if !blob.ValidName(o.Name) || !strings.HasPrefix(o.Name, prefix) || o.Name <= after || o.Size < 0 {
				return fmt.Errorf("list %s: %w: %q has no place in its answer", clip(prefix), ErrNotServer, clip(o.Name))
			}
			after = o.Name
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(blob.Info{Name: o.Name, Size: o.Size, Modified: o.Modified}); err != nil {
				return err
			}
		}
		if page.Next == "" {
			return nil
		}
		if page.Next != after || len(page.Objects) == 0 {
			return fmt.Errorf("list %s: %w: its pages do not go on", clip(prefix), ErrNotServer)
		}
	}
}

// Delete is blob.Store.Delete.
func (c *Client) Delete(ctx context.Context, name string) error {
	if !blob.ValidName(name) {
		return fmt.Errorf("delete %q: not a name", clip(name))
	}
	return c.retry(ctx, "delete "+name, func() error {
		reply, err := c.once(ctx, exchange{method: http.MethodDelete, path: "/v1/blobs/" + name})
		if err != nil {
			return err
		}
		return reply.Close()
	})
}
