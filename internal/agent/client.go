package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"

	"github.com/syncfs/syncfs/internal/config"
)

// Client speaks to the running agent. Progress functions may be nil.
type Client struct {
	http *http.Client
	dirs config.Dirs
}

// Dial finds the agent of this HOME; ErrNotRunning.
func Dial(dirs config.Dirs) (*Client, error) {
	path := dirs.Socket()
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) { return dialAt(ctx, path) }
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	conn, err := dial(ctx, "", "")
	if err != nil {
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
			return nil, ErrNotRunning
		}
		return nil, fmt.Errorf("speak to the agent: %w", err)
	}
	conn.Close()
	return &Client{dirs: dirs, http: &http.Client{Transport: &http.Transport{DialContext: dial, MaxIdleConns: 4}}}, nil
}

// Close ends idle connections.
func (c *Client) Close() error {
	c.http.CloseIdleConnections()
	return nil
}

// Add makes a directory a folder, mounts it (unless NoMount) and looks at it; it
// returns when the folder can be used. Its first snapshot is taken and sent from
// then on: Flush waits for that.
func (c *Client) Add(ctx context.Context, r AddRequest, progress func(Progress)) (FolderStatus, error) {
	var st FolderStatus
	return st, c.post(ctx, "add", r, &st, progress)
}

// Get brings a folder of the repository into a directory, mounts and follows
// it; it returns when everything is there.
func (c *Client) Get(ctx context.Context, r GetRequest, progress func(Progress)) (FolderStatus, error) {
	var st FolderStatus
	return st, c.post(ctx, "get", r, &st, progress)
}

// Mount serves a registered folder that is not served just now (mounting it,
// unless it is a plain directory). Served already is no error.
func (c *Client) Mount(ctx context.Context, name string) (FolderStatus, error) {
	var st FolderStatus
	return st, c.post(ctx, "mount", nameRequest{Name: name}, &st, nil)
}

// Umount ends serving a folder: what is on disk stays as a plain directory.
// lazy detaches a busy mount without an error.
func (c *Client) Umount(ctx context.Context, name string, lazy bool) error {
	return c.post(ctx, "umount", nameRequest{Name: name, Lazy: lazy}, nil, nil)
}

// Remove forgets a folder on this machine (its files stay); it stays in the
// repository.
func (c *Client) Remove(ctx context.Context, name string) error {
	return c.post(ctx, "remove", nameRequest{Name: name}, nil, nil)
}

// Pin brings what is at a path of an on-demand folder and keeps it here, or
// lets it go again.
func (c *Client) Pin(ctx context.Context, r PinRequest, progress func(Progress)) error {
	return c.post(ctx, "pin", r, nil, progress)
}

// Evict takes the content at a path of an on-demand folder off this disk.
func (c *Client) Evict(ctx context.Context, r EvictRequest) (EvictResult, error) {
	var result EvictResult
	return result, c.post(ctx, "evict", r, &result, nil)
}

// Flush returns when everything that was closed before the call is on the
// remote; ErrTimeout tells what is not. No name: every folder.
func (c *Client) Flush(ctx context.Context, name string, timeout time.Duration) error {
	return c.post(ctx, "flush", FlushRequest{Name: name, Timeout: timeout}, nil, nil)
}

// Status of the agent and its folders.
func (c *Client) Status(ctx context.Context) (Status, error) {
	var st Status
	return st, c.get(ctx, "status", nil, &st)
}

// Operations returns the newest operations, oldest first, at most limit.
func (c *Client) Operations(ctx context.Context, limit int) ([]Operation, error) {
	var list []Operation
	return list, c.get(ctx, "operations", url.Values{"limit": {strconv.Itoa(limit)}}, &list)
}

// Unlock gives a locked agent the passphrase, and returns when it serves.
// seal.ErrAuth for a wrong one; unlocked already is fine.
func (c *Client) Unlock(ctx context.Context, passphrase string) error {
	if err := c.post(ctx, "unlock", unlockRequest{Passphrase: passphrase}, nil, nil); err != nil {
		return err
	}
	// It opens its databases now, and listens again after that.
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for {
		st, err := c.Status(ctx)
		if err == nil && !st.Locked {
			return nil
		}
		if lock, lerr := takeLock(lockFile(c.dirs)); lerr == nil {
			return errors.Join(errors.New("the agent has ended"), lock.Close())
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-tick.C:
		}
	}
}

// Stop ends the agent; it returns when it has gone.
func (c *Client) Stop(ctx context.Context) error {
	if err := c.post(ctx, "stop", struct{}{}, nil, nil); err != nil {
		return err
	}
	c.http.CloseIdleConnections()
	for {
		lock, err := takeLock(lockFile(c.dirs))
		if err == nil {
			return lock.Close()
		}
		if !errors.Is(err, ErrRunning) {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (c *Client) get(ctx context.Context, call string, query url.Values, result any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/v1/"+call+"?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	return c.do(r, result, nil)
}

func (c *Client) post(ctx context.Context, call string, request, result any, progress func(Progress)) error {
	body, err := json.Marshal(request)
	if err != nil {
		return err
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://agent/v1/"+call, bytes.NewReader(body))
	if err != nil {
		return err
	}
	return c.do(r, result, progress)
}

func (c *Client) do(r *http.Request, result any, progress func(Progress)) error {
	resp, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("speak to the agent: %w", err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		text, _ := io.ReadAll(io.LimitReader(resp.Body, 1<<10)) // what of it there is
		return fmt.Errorf("the agent answers %s: %s", resp.Status, bytes.TrimSpace(text))
	}
	lines := json.NewDecoder(resp.Body)
	for {
		var m message
		if err := lines.Decode(&m); err != nil {
			return fmt.Errorf("the agent ended the connection: %w", err)
		}
		switch {
		case m.Error != nil:
			return fromWire(m.Error)
		case m.Progress != nil:
			if progress != nil {
				progress(*m.Progress)
			}
			continue
		case result != nil && m.Result != nil:
			return json.Unmarshal(m.Result, result)
		}
		return nil
	}
}
