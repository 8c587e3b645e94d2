//go:build linux

package world

import (
	"context"
	"fmt"
	"strings"
	"testing"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
)

// Wire is a way to a server that can be made bad.
type Wire struct {
	URL   string
	t     testing.TB
	proxy *toxiproxy.Proxy
}

// NewWire listens at address for what goes to srv.
func NewWire(t testing.TB, srv *Server, address string) *Wire {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, "wire", address, strings.TrimPrefix(srv.URL, "http://"))
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	return &Wire{t: t, proxy: proxy, URL: "http://" + proxy.Listen}
}

// Spoil adds toxics, each its kind and its attributes, in both directions.
func (w *Wire) Spoil(toxics ...string) {
	w.t.Helper()
	for i, text := range toxics {
		kind, attributes, _ := strings.Cut(text, " ")
		for _, stream := range []string{"upstream", "downstream"} {
			text := fmt.Sprintf(`{"name":"%s%d","type":%q,"stream":%q,"attributes":%s}`, stream, i, kind, stream, attributes)
			if _, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
				w.t.Fatal(err)
			}
		}
	}
}

// Heal takes all toxics away.
func (w *Wire) Heal() { w.proxy.Toxics.ResetToxics(context.Background()) }

// Cut ends all connections; none can be made until Mend.
func (w *Wire) Cut() { w.proxy.Stop() }

// Mend lets connections through again after Cut.
func (w *Wire) Mend() {
	w.t.Helper()
	if err := w.proxy.Start(); err != nil {
		w.t.Fatal(err)
	}
}

// By is the server as it is seen through a wire.
func (s *Server) By(w *Wire) *Server {
	seen := *s
	seen.URL = w.URL
	return &seen
}
