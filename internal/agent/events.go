package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"time"
	"unicode/utf8"

	"github.com/syncfs/syncfs/versions"
)

// Kinds of Operation that only an event stream has.
const (
	EventListening = "listening" // the first: what comes after it is told
	EventDropped   = "dropped"   // the reader was too slow for Total operations
)

// serveEvents streams operations until the client goes or the agent stops.
func (a *Agent) serveEvents(w http.ResponseWriter, r *http.Request) {
	out, flusher := json.NewEncoder(w), http.NewResponseController(w)
	folder := r.FormValue("folder")
	if folder != "" {
		if _, err := a.find(folder); err != nil {
			send(out, nil, err)
			return
		}
	}
	var since time.Time
	if text := r.FormValue("since"); text != "" {
		d, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			send(out, nil, fmt.Errorf("since: %w", err))
			return
		}
		since = a.o.Now().Add(-time.Duration(d))
	}
	sub := a.ops.subscribe(since)
	defer a.ops.unsubscribe(sub)
	tell := func(op Operation) error {
		if folder != "" && op.Folder != folder && op.Folder != "" {
			return nil
		}
		if err := out.Encode(message{Event: &op}); err != nil {
			return err
		}
		return flusher.Flush()
	}
	err := tell(Operation{Time: a.o.Now(), What: EventListening})
	for _, op := range sub.past {
		if err == nil {
			err = tell(op)
		}
	}
	for err == nil {
		select {
		case op := <-sub.c:
			err = tell(op)
			if n := a.ops.missed(sub); err == nil && n > 0 {
				err = tell(Operation{Time: a.o.Now(), What: EventDropped, Total: n, Text: fmt.Sprintf("%d more were not read in time", n)})
			}
		case <-r.Context().Done():
			send(out, nil, ErrStopped) // or the client has gone: then nobody reads it
			return
		}
	}
}

// Events calls fn with every operation as it happens, of one folder (and what is
// about no folder) or of all, first with those since so long ago. It returns
// when fn does so with an error, when ctx ends, or with ErrStopped.
func (c *Client) Events(ctx context.Context, folder string, since time.Duration, fn func(Operation) error) error {
	query := url.Values{}
	if folder != "" {
		query.Set("folder", folder)
	}
	if since > 0 {
		query.Set("since", strconv.FormatInt(int64(since), 10))
	}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent/v1/events?"+query.Encode(), nil)
	if err != nil {
		return err
	}
	resp, err := c.http.Do(r)
	if err != nil {
		return fmt.Errorf("speak to the agent: %w", err)
	}
	defer resp.Body.Close()
	lines := json.NewDecoder(resp.Body)
	for {
		var m message
		err := lines.Decode(&m)
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return fmt.Errorf("the agent ended the connection; it may have been killed: %w", ErrNotRunning)
		case err != nil:
			return fmt.Errorf("the agent ended the connection: %w", err)
		case m.Error != nil:
			return fromWire(m.Error)
		case m.Event != nil:
			if err := fn(*m.Event); err != nil {
				return err
			}
		}
	}
}

// TypeName is a kind of entry in JSON.
func TypeName(k versions.Kind) string {
	switch k {
	case versions.File:
		return "file"
	case versions.Dir:
		return "dir"
	case versions.Symlink:
		return "symlink"
	case versions.CharDev:
		return "chardev"
	case versions.BlkDev:
		return "blockdev"
	}
	return "unknown"
}

// quoted is a path that is no UTF-8 in the syntax of Go; "" for others.
func quoted(path string) string {
	if utf8.ValidString(path) {
		return ""
	}
	return strconv.Quote(path)
}
