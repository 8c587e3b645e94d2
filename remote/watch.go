package remote

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

// eventMost bounds one event: a commit in base64, with its names.
const eventMost = 16 << 20

// readyWithin is how long a stream may take to begin: there is nothing to do for
// that.
const readyWithin = 10 * time.Second

// pingWithin is how long the answer to a ping may take.
const pingWithin = 5 * time.Second

// Watch is blob.Watcher.Watch. It makes one attempt; when the stream breaks it
// returns, with blob.ErrOffline among the reasons if the connection did.
//
// A server that accepts and never answers, or a line that swallows everything,
// would hold up each request for its stall time. Watch notices: when the stream
// is silent and the server does not answer a question either, the error is
// ErrSilent, and so is that of all other requests, at once, until it answers.
func (c *Client) Watch(ctx context.Context, ready func(), fn func(blob.Event)) error {
	err := c.watch(ctx, ready, fn)
	if errors.Is(err, errStalled) && ctx.Err() == nil {
		if perr := c.ping(ctx); errors.Is(perr, blob.ErrOffline) && ctx.Err() == nil {
			c.silent.Store(true)
			err = fmt.Errorf("%w: %w", blob.ErrOffline, ErrSilent)
		}
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	return fmt.Errorf("watch: %w", err)
}

// ping asks the server something that costs it nothing.
func (c *Client) ping(ctx context.Context) error {
	reply, err := c.once(ctx, exchange{
		method: http.MethodGet, path: "/v1/", stall: min(pingWithin, c.stall), probe: true,
	})
	if err != nil {
		return err
	}
	return reply.Close()
}

func (c *Client) watch(ctx context.Context, ready func(), fn func(blob.Event)) error {
	reply, err := c.once(ctx, exchange{
		method: http.MethodGet, path: "/v1/events", header: http.Header{"Accept": {"text/event-stream"}},
		stall: min(readyWithin, c.stall), probe: true,
	})
	if err != nil {
		return err
	}
	defer reply.Close()
	stream := bufio.NewReaderSize(reply, 64<<10)
	kind, data, err := readEvent(stream)
	if err != nil {
		return err
	}
	silence, err := parseReady(kind, data)
	if err != nil {
		return err
	}
	reply.watch.period = silence
	reply.watch.touch()
	ready()
	for {
		kind, data, err := readEvent(stream)
		if err != nil {
			return err
		}
		c.down.charge(len(data))
		if kind != "head" {
			continue // of a later version of the server
		}
		event, err := parseEvent(data)
		if err != nil {
			return err
		}
		fn(event)
	}
}

// parseReady reads the first event: for how long the stream may be silent. The
// server gives a sign of life twice in that.
func parseReady(kind string, data []byte) (time.Duration, error) {
	var w struct {
		KeepAliveSeconds float64 `json:"keepAliveSeconds"`
	}
	err := json.Unmarshal(data, &w)
	if kind != "ready" || err != nil || !(w.KeepAliveSeconds > 0 && w.KeepAliveSeconds < 3600) {
		return 0, fmt.Errorf("%w: its events begin with %q %q", ErrNotServer, printable(kind), printable(string(data)))
	}
	return time.Duration(2*w.KeepAliveSeconds*float64(time.Second)) + 2*time.Second, nil
}

// readEvent reads one server-sent event, comments passed over.
func readEvent(stream *bufio.Reader) (kind string, data []byte, err error) {
	size := 0
	for {
		line, err := readLine(stream, eventMost-size)
		if err != nil {
			return "", nil, err
		}
		size += len(line)
		field, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch {
		case len(line) == 0 && data != nil:
			return kind, data, nil
		case len(line) == 0: // what has no data is no event
			kind, size = "", 0
		case string(field) == "event":
			kind = string(value)
		case string(field) == "data" && data == nil:
			data = append([]byte{}, value...)
		case string(field) == "data":
			data = append(append(data, '\n'), value...)
		}
	}
}

// readLine reads up to a line feed, which it cuts off with a return before it.
func readLine(stream *bufio.Reader, most int) ([]byte, error) {
	var line []byte
	for {
		part, err := stream.ReadSlice('\n')
		if len(line)+len(part) > most {
			return nil, fmt.Errorf("%w: an event of more than %d bytes", ErrNotServer, eventMost)
		}
		if err == nil && line == nil {
			line = part
		} else {
			line = append(line, part...)
		}
		switch {
		case err == nil:
			return bytes.TrimSuffix(bytes.TrimSuffix(line, []byte("\n")), []byte("\r")), nil
		case errors.Is(err, bufio.ErrBufferFull):
		case err == io.EOF:
			return nil, fmt.Errorf("%w: the stream ended", blob.ErrOffline)
		default:
			return nil, err
		}
	}
}

// parseEvent reads the data of a head event.
func parseEvent(data []byte) (blob.Event, error) {
	var w wireEvent
	if err := json.Unmarshal(data, &w); err != nil {
		return blob.Event{}, fmt.Errorf("%w: an event that makes no sense: %w", ErrNotServer, err)
	}
	head, err := w.head()
	if err != nil {
		return blob.Event{}, err
	}
	event := blob.Event{Head: head, Entry: w.Entry}
	for _, b := range w.Blobs {
		if !blob.ValidName(b.Name) {
			return blob.Event{}, fmt.Errorf("%w: an event with a blob named %q", ErrNotServer, clip(b.Name))
		}
		event.Blobs = append(event.Blobs, blob.Blob(b))
	}
	return event, nil
}
