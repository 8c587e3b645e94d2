package remote

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/internal/blob"
)

const (
	// roundLimit is the size of the blobs up to which a commit carries them;
	// larger ones go ahead of it, where they can be resumed.
	roundLimit = 4 << 20
	// turnAfter is how many commits in a row are lost before a turn is asked for.
	turnAfter = 2
	// turnWait is how long a commit waits for another's turn to end.
	turnWait = turnTime + turnPause
	turnPoll = 200 * time.Millisecond
)

// Head is blob.Heads.Head.
func (c *Client) Head(ctx context.Context, folder string) (blob.Head, error) {
	if !blob.ValidFolder(folder) {
		return blob.Head{}, fmt.Errorf("head of %q: not a folder: %w", clip(folder), fs.ErrNotExist)
	}
	var w wireHead
	about := "head of " + folder
	if err := c.getJSON(ctx, about, exchange{method: http.MethodGet, path: "/v1/heads/" + folder}, &w); err != nil {
		return blob.Head{}, err
	}
	return w.of(folder)
}

// of is head for an answer about one folder.
func (w wireHead) of(folder string) (blob.Head, error) {
	head, err := w.head()
	if err == nil && head.Folder != folder {
		err = fmt.Errorf("%w: it answers with the head of another folder", ErrNotServer)
	}
	if err != nil {
		return blob.Head{}, fmt.Errorf("head of %s: %w", folder, err)
	}
	return head, nil
}

// ListHeads is blob.Heads.ListHeads.
func (c *Client) ListHeads(ctx context.Context) ([]blob.Head, error) {
	var list wireHeads
	if err := c.getJSON(ctx, "list heads", exchange{method: http.MethodGet, path: "/v1/heads"}, &list); err != nil {
		return nil, err
	}
	heads := make([]blob.Head, 0, len(list.Heads))
	for i, w := range list.Heads {
		head, err := w.head()
		if err == nil && i > 0 && head.Folder <= heads[i-1].Folder {
			err = fmt.Errorf("%w: its heads are not sorted", ErrNotServer)
		}
		if err != nil {
			return nil, fmt.Errorf("list heads: %w", err)
		}
		heads = append(heads, head)
	}
	return heads, nil
}

// Commit is blob.Heads.Commit, in one request when the blobs are small. It is
// not tried again after a failure that leaves in doubt whether it was taken:
// the caller reads the head to know. A client that lost twice in a row takes a
// turn, so that its next commit is not overtaken.
func (c *Client) Commit(ctx context.Context, folder string, commit blob.Commit) (blob.Head, error) {
	head, err := c.commit(ctx, folder, commit)
	if err != nil {
		err = fmt.Errorf("commit to %s: %w", clip(folder), err)
	}
	c.settle(ctx, folder, err)
	return head, err
}

func (c *Client) commit(ctx context.Context, folder string, commit blob.Commit) (blob.Head, error) {
	if !blob.ValidFolder(folder) {
		return blob.Head{}, errors.New("not a name for a folder")
	}
	commit, err := c.lighten(ctx, commit)
	if err != nil {
		return blob.Head{}, err
	}
	data, err := encodeCommit(commit)
	if err != nil {
		return blob.Head{}, err
	}
	for begun := time.Now(); ; {
		header := http.Header{"Content-Type": {"application/octet-stream"}}
		if id := c.turn(folder); id != "" {
			header.Set(headerTurn, id)
		}
		body := &uploadBody{r: bytes.NewReader(data), size: int64(len(data)), limit: c.up}
		reply, err := c.once(ctx, exchange{method: http.MethodPost, path: "/v1/heads/" + folder, header: header, body: body})
		var said *answer
		if errors.As(err, &said) && said.Code == codeTurn && time.Since(begun) < turnWait {
			// Refused for sure: once more when the other has had its turn, which
			// mostly ends long before its time.
			if err := sleep(ctx, turnPoll); err != nil {
				return blob.Head{}, err
			}
			continue
		}
		if err != nil {
			return blob.Head{}, err
		}
		var w wireHead
		if err := reply.json(&w); err != nil {
			return blob.Head{}, err
		}
		return w.of(folder)
	}
}

// lighten puts the blobs of a commit ahead of it when they are large.
func (c *Client) lighten(ctx context.Context, commit blob.Commit) (blob.Commit, error) {
	size := 0
	for _, b := range commit.Blobs {
		size += len(b.Data)
	}
	if size <= roundLimit && len(commit.Blobs) <= commitBlobs {
		return commit, nil
	}
	group, inner := errgroup.WithContext(ctx)
	group.SetLimit(4)
	for _, b := range commit.Blobs {
		group.Go(func() error {
			err := c.Put(inner, b.Name, bytes.NewReader(b.Data), int64(len(b.Data)))
			if errors.Is(err, fs.ErrExist) {
				return nil
			}
			return err
		})
	}
	commit.Blobs = nil
	return commit, group.Wait()
}

func (c *Client) turn(folder string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.turns[folder]
}

// losses are a folder's commits that were lost in a row.
type losses struct {
	count int
	last  time.Time
}

// settle counts lost commits and asks for a turn when there were too many.
func (c *Client) settle(ctx context.Context, folder string, err error) {
	if err != nil && !errors.Is(err, blob.ErrMoved) {
		return
	}
	c.mu.Lock()
	lost := c.losses[folder]
	round := time.Since(lost.last) // what pulling, merging and storing took last time
	lost.count, lost.last = lost.count+1, time.Now()
	c.losses[folder] = lost
	if err == nil {
		delete(c.losses, folder)
		delete(c.turns, folder)
	}
	c.mu.Unlock()
	if err == nil || lost.count < turnAfter {
		return
	}
	// No longer than is needed, since the others wait.
	seconds := max(1, min(2*round, turnTime).Seconds())
	var w wireTurn
	reply, err := c.once(ctx, exchange{
		method: http.MethodPost, path: "/v1/heads/" + folder + "/turn",
		query: url.Values{"seconds": {strconv.FormatFloat(seconds, 'f', 3, 64)}},
	})
	if err == nil {
		err = reply.json(&w)
	}
	if err != nil || len(w.Turn) > 64 || !validKey(w.Turn) {
		c.log.Debug("no turn", "folder", folder, "error", err)
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.turns[folder] = w.Turn
}
