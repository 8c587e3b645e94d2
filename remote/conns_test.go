package remote

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

// hanging is a server that begins an event stream and says no more.
func hanging(t *testing.T) *Client {
	t.Helper()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set(headerAPI, apiVersion)
		w.Write([]byte("event: ready\ndata: {\"keepAliveSeconds\": 3000}\n\n"))
		w.(http.Flusher).Flush()
		<-r.Context().Done()
	}))
	t.Cleanup(s.Close)
	c, err := NewClient(ClientOptions{URL: s.URL, Key: "key-for-testing-1"})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(c.Close)
	return c
}

func TestAStreamOnADeadConnectionEndsAtOnce(t *testing.T) {
	elsewhere := func() ([]net.Addr, error) {
		return []net.Addr{&net.IPNet{IP: net.IPv4(192, 0, 2, 1), Mask: net.CIDRMask(24, 32)}}, nil
	}
	for _, tc := range []struct {
		name string
		ends func(*Client)
		want bool
	}{
		{"the machine has slept", (*Client).Reconnect, true},
		{"its address has gone", func(c *Client) { c.addresses = elsewhere; c.Moved() }, true},
		{"another address has come", (*Client).Moved, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := hanging(t)
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stands, ended := make(chan struct{}), make(chan error, 1)
			go func() { ended <- c.Watch(ctx, func() { close(stands) }, func(blob.Event) {}) }()
			<-stands
			tc.ends(c)
			if !tc.want {
				select {
				case err := <-ended:
					t.Fatalf("it ended: %v", err)
				case <-time.After(200 * time.Millisecond):
				}
				cancel()
				<-ended
				return
			}
			select {
			case err := <-ended:
				if !errors.Is(err, blob.ErrOffline) {
					t.Errorf("it ended with %v", err)
				}
			case <-time.After(20 * time.Second):
				t.Fatal("it goes on waiting")
			}
			c.conns.mu.Lock()
			defer c.conns.mu.Unlock()
			if n := len(c.conns.open); n != 0 {
				t.Errorf("%d connections are still counted", n)
			}
		})
	}
}
