package remote_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"crypto/tls"
	"encoding/base64"
	"log/slog"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/remote"
)

const testKey = "test-key-of-the-admin"

// world is a real server on loopback.
type world struct {
	t      testing.TB
	url    string
	pin    string
	addr   string
	server *remote.Server
	tokens *remote.Tokens
	store  blob.Store
	stop   func() // ends the server and waits for it
}

type worldOptions struct {
	store  blob.Store // nil: a directory
	tls    bool
	change func(*remote.ServerOptions)
	addr   string // "": a free port
	dir    string // "": a new one
}

// serve starts a server and ends it with the test.
func serve(t testing.TB, o worldOptions) *world {
	t.Helper()
	dir := o.dir
	if dir == "" {
		dir = t.TempDir()
	}
	data, err := remote.OpenData(dir, remote.DataOptions{Logger: testLogger(t)})
	if err != nil {
		t.Fatal(err)
	}
	if err := data.Tokens.Grant("test", remote.RoleAdmin, testKey); err != nil {
		t.Fatal(err)
	}
	options := data.ServerOptions()
	options.Limits.WrongKey = time.Millisecond
	if o.store != nil {
		options.Store = o.store
	}
	if o.change != nil {
		o.change(&options)
	}
	server, err := remote.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	addr := o.addr
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	ln, err := net.Listen("tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	w := &world{t: t, server: server, tokens: data.Tokens, store: options.Store, addr: ln.Addr().String()}
	var config *tls.Config
	w.url = "http://" + w.addr
	if o.tls {
		w.url = "https://" + w.addr
		if config, w.pin, err = data.SelfSigned([]string{"127.0.0.1"}); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(ctx, ln, config) }()
	stopped := false
	w.stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("Serve: %v", err)
		}
		if err := data.Close(); err != nil {
			t.Errorf("close data: %v", err)
		}
	}
	t.Cleanup(w.stop)
	return w
}

// client makes a client of the server.
func (w *world) client(change func(*remote.ClientOptions)) *remote.Client {
	w.t.Helper()
	return newClient(w.t, remote.ClientOptions{URL: w.url, Key: testKey, Pin: w.pin, Logger: testLogger(w.t)}, change)
}

func newClient(t testing.TB, o remote.ClientOptions, change func(*remote.ClientOptions)) *remote.Client {
	t.Helper()
	if change != nil {
		change(&o)
	}
	c, err := remote.NewClient(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

// token adds a token and returns a client that has it.
func (w *world) token(name string, role remote.Role) *remote.Client {
	w.t.Helper()
	key, err := w.tokens.Add(name, role)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.client(func(o *remote.ClientOptions) { o.Key = key })
}

// testLogger writes to the test's output, which is shown when it fails.
func testLogger(t testing.TB) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// lockedBuffer keeps a log for the test to look at.
type lockedBuffer struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (b *lockedBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.Write(p)
}

func (b *lockedBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buf.String()
}

func (b *lockedBuffer) logger() *slog.Logger {
	return slog.New(slog.NewTextHandler(b, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// digestHeader is the Repr-Digest of data.
func digestHeader(data []byte) string {
	sum := sha256.Sum256(data)
	return "sha-256=:" + base64.StdEncoding.EncodeToString(sum[:]) + ":"
}
