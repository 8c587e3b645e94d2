package remote

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

// ClientOptions of a Client. URL is needed.
type ClientOptions struct {
	URL string // http://HOST:PORT or https://HOST:PORT, perhaps with a path
	Key string // "" only for a Probe
	// Pin is the fingerprint of the server's certificate: it and no other is
	// trusted. "" trusts what the system trusts.
	Pin    string
	Logger *slog.Logger

	// Tries is how often in a row something is tried without any progress
	// before it fails with blob.ErrOffline; 0: 5, which takes some 3 s when
	// nothing answers.
	Tries int
	// Stall is how long a request may stand still, in either direction; 0: 30 s.
	// It does not bound the time of a whole request.
	Stall time.Duration

	UploadLimit   int64 // bytes a second; 0: none
	DownloadLimit int64
}

// Client is a repository on a file server. It may be used by many goroutines at
// once, and keeps connections for reuse until Close.
type Client struct {
	base      *url.URL
	key       string
	log       *slog.Logger
	tries     int
	stall     time.Duration
	doubted   bool        // Doubt was called
	silent    atomic.Bool // the server gives no sign of life
	transport *http.Transport
	up, down  *bandwidth
	conns     *conns
	addresses func() ([]net.Addr, error) // of this machine

	mu     sync.Mutex        // guards losses and turns
	losses map[string]losses // by folder
	turns  map[string]string // turns that the server gave, by folder
}

var (
	_ blob.Store   = (*Client)(nil)
	_ blob.Watcher = (*Client)(nil)
)

// NewClient makes a client; it connects when first used.
func NewClient(o ClientOptions) (*Client, error) {
	base, err := url.Parse(o.URL)
	if err != nil || base.Scheme != "http" && base.Scheme != "https" || base.Hostname() == "" {
		return nil, fmt.Errorf("%q is not the address of a server: http://HOST:PORT or https://HOST:PORT", clip(o.URL))
	}
	if base.User != nil || base.RawQuery != "" || base.Fragment != "" {
		return nil, fmt.Errorf("the address of a server has no user, query or fragment")
	}
	base.Path = strings.TrimSuffix(base.Path, "/")
	if o.Key != "" && !validKey(o.Key) {
		return nil, errors.New("a key is 1 to 512 printable ASCII characters without spaces")
	}
	pin := ""
	if o.Pin != "" {
		if base.Scheme != "https" {
			return nil, errors.New("a fingerprint is pinned, but the address is not https")
		}
		if pin, err = ParseFingerprint(o.Pin); err != nil {
			return nil, err
		}
	}
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	if o.Tries <= 0 {
		o.Tries = 5
	}
	if o.Stall <= 0 {
		o.Stall = 30 * time.Second
	}
	open := &conns{}
	return &Client{
		base: base, key: o.Key, log: o.Logger, tries: o.Tries, stall: o.Stall,
		transport: newTransport(base.Hostname(), pin, open), conns: open, addresses: net.InterfaceAddrs,
		up: newBandwidth(o.UploadLimit), down: newBandwidth(o.DownloadLimit),
		losses: map[string]losses{}, turns: map[string]string{},
	}, nil
}

// Doubt tells, before the first request, that somebody has just found that the
// server does not answer: it gets one short chance.
func (c *Client) Doubt() { c.stall, c.doubted = min(c.stall, pingWithin), true }

// SetLimits bounds the bytes a second of content in each direction, from now on
// and also of what is under way; 0: no bound.
func (c *Client) SetLimits(upload, download int64) {
	c.up.set(upload)
	c.down.set(download)
}

// Close closes connections that are not in use.
func (c *Client) Close() { c.transport.CloseIdleConnections() }

// ServerInfo is what a server says of itself and of us.
type ServerInfo struct {
	Version     string
	Fingerprint string // of its certificate; "" without TLS
	Token       string // name of the token that our key is
	Role        Role
	Repository  bool      // there is one
	Time        time.Time // by its clock, to a second; zero when it does not say
	Expires     time.Time // of its certificate; zero without TLS
}

// Probe asks the server who it is. ErrNotServer, an *UntrustedError,
// blob.ErrUnauthorized and blob.ErrOffline tell what is wrong.
func (c *Client) Probe(ctx context.Context) (ServerInfo, error) {
	var info ServerInfo
	err := c.retry(ctx, "", func() error {
		reply, err := c.once(ctx, exchange{method: http.MethodGet, path: "/v1/"})
		if err != nil {
			return err
		}
		if state := reply.response.TLS; state != nil && len(state.PeerCertificates) > 0 {
			info.Fingerprint = Fingerprint(state.PeerCertificates[0].Raw)
			info.Expires = state.PeerCertificates[0].NotAfter
		}
		info.Time, _ = http.ParseTime(reply.response.Header.Get("Date")) // zero when it is none
		var w wireServer
		if err := reply.json(&w); err != nil {
			return err
		}
		if w.Server != "syncfs" || w.Role.level() == 0 {
			return fmt.Errorf("%w: it calls itself %q", ErrNotServer, printable(w.Server))
		}
		info.Version, info.Token = printable(w.Version), printable(w.Token)
		info.Role, info.Repository = w.Role, w.Repository
		return nil
	})
	if err != nil {
		return ServerInfo{}, fmt.Errorf("server %s: %w", c.base.Host, err)
	}
	return info, nil
}

// getJSON gets an answer in JSON, with retries. about, when not empty, says
// what failed.
func (c *Client) getJSON(ctx context.Context, about string, x exchange, into any) error {
	return c.retry(ctx, about, func() error {
		reply, err := c.once(ctx, x)
		if err != nil {
			return err
		}
		return reply.json(into)
	})
}

// json reads the whole answer and closes it.
func (r *reply) json(into any) error {
	defer r.Close()
	body, err := io.ReadAll(io.LimitReader(r, jsonLimit+1))
	if err != nil {
		return err
	}
	if len(body) > jsonLimit {
		return fmt.Errorf("%w: its answer does not end", ErrNotServer)
	}
	if err := json.Unmarshal(body, into); err != nil {
		return fmt.Errorf("%w: its answer makes no sense: %w", ErrNotServer, err)
	}
	return nil
}
