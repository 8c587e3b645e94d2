package remote_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"
	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/remote"
)

// wire is a connection that can be made to fail.
type wire struct {
	t     testing.TB
	proxy *toxiproxy.Proxy
	url   string
}

func newWire(t testing.TB, w *world) *wire {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, "wire", "127.0.0.1:0", w.addr)
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	scheme, _, _ := strings.Cut(w.url, ":")
	return &wire{t: t, proxy: proxy, url: scheme + "://" + proxy.Listen}
}

// spoil adds a toxic: direction "upstream" is from the client to the server.
func (w *wire) spoil(kind, direction, attributes string) {
	w.t.Helper()
	text := fmt.Sprintf(`{"name":"fault","type":%q,"stream":%q,"attributes":%s}`, kind, direction, attributes)
	if _, err := w.proxy.Toxics.AddToxicJson(strings.NewReader(text)); err != nil {
		w.t.Fatal(err)
	}
}

func (w *wire) heal() {
	w.t.Helper()
	if err := w.proxy.Toxics.RemoveToxic(context.Background(), "fault"); err != nil {
		w.t.Fatal(err)
	}
}

func randomBytes(seed uint64, n int) []byte {
	data := make([]byte, n)
	rand.NewChaCha8([32]byte{byte(seed), 1}).Read(data)
	return data
}

func readAll(t testing.TB, s blob.Store, name string) []byte {
	t.Helper()
	r, err := s.Get(t.Context(), name, 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	data, err := io.ReadAll(r)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// received is how many bytes of bodies the server has read.
func (w *world) received() float64 { return w.metric("syncfs_server_received_bytes_total") }

func (w *world) metric(name string) float64 {
	w.t.Helper()
	response, err := http.Get(w.url + "/metrics")
	if err != nil {
		w.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		w.t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		var value float64
		if _, err := fmt.Sscanf(line, name+" %g", &value); err == nil {
			return value
		}
	}
	w.t.Fatalf("no metric %s in %s", name, text)
	return 0
}

// number is that of a folder's head in the store; 0: none.
func (w *world) number(folder string) uint64 {
	w.t.Helper()
	head, err := w.store.Head(context.Background(), folder)
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		w.t.Fatal(err)
	}
	return head.Number
}

func TestAnUploadThatIsCutGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	w := serve(t, worldOptions{})
	wire := newWire(t, w)
	// No connection lives long enough for the whole object.
	wire.spoil("limit_data", "upstream", `{"bytes":6291456}`)
	c := w.client(func(o *remote.ClientOptions) { o.URL = wire.url })
	const size = 14 << 20
	data := randomBytes(1, size)
	var told atomic.Int64
	ctx := remote.WithProgress(t.Context(), func(n int64) { told.Add(n) })
	if err := c.Put(ctx, "packs/a", bytes.NewReader(data), size); err != nil {
		t.Fatal(err)
	}
	if got := readAll(t, w.client(nil), "packs/a"); !bytes.Equal(got, data) {
		t.Fatal("the object arrived other than it was sent")
	}
	if got := told.Load(); got != size {
		t.Errorf("progress told of %d bytes, want %d", got, size)
	}
	// What the server had read, it does not get again.
	if got := w.received(); got < size || got > size+size/100 {
		t.Errorf("the server received %.0f bytes for an object of %d", got, size)
	}
}

func TestADownloadThatIsCutGoesOnWhereItWas(t *testing.T) {
	t.Parallel()
	w := serve(t, worldOptions{})
	const size = 20 << 20
	data := randomBytes(2, size)
	if err := w.store.Put(t.Context(), "packs/a", bytes.NewReader(data), size); err != nil {
		t.Fatal(err)
	}
	wire := newWire(t, w)
	wire.spoil("limit_data", "downstream", `{"bytes":6291456}`)
	c := w.client(func(o *remote.ClientOptions) { o.URL = wire.url })
	if got := readAll(t, c, "packs/a"); !bytes.Equal(got, data) {
		t.Fatal("the object arrived other than it is")
	}
	r, err := c.Get(t.Context(), "packs/a", 1000, 15<<20)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	part, err := io.ReadAll(r)
	if err != nil || !bytes.Equal(part, data[1000:1000+15<<20]) {
		t.Fatalf("a part arrived wrong: %d bytes, %v", len(part), err)
	}
}

func TestAConnectionThatStandsStillIsNoticed(t *testing.T) {
	for _, useTLS := range []bool{false, true} {
		t.Run(fmt.Sprintf("tls %v", useTLS), func(t *testing.T) {
			t.Parallel()
			w := serve(t, worldOptions{tls: useTLS})
			wire := newWire(t, w)
			c := w.client(func(o *remote.ClientOptions) { o.URL, o.Stall = wire.url, 3*time.Second })
			const size = 12 << 20
			data := randomBytes(3, size)
			var once atomic.Bool
			healed := make(chan struct{})
			ctx := remote.WithProgress(t.Context(), func(int64) {
				if once.CompareAndSwap(false, true) {
					wire.spoil("timeout", "upstream", `{"timeout":0}`)
					go func() {
						defer close(healed)
						time.Sleep(4 * time.Second)
						wire.heal()
					}()
				}
			})
			if err := c.Put(ctx, "packs/a", bytes.NewReader(data), size); err != nil {
				t.Fatal(err)
			}
			<-healed
			if got := readAll(t, c, "packs/a"); !bytes.Equal(got, data) {
				t.Fatal("the object arrived other than it was sent")
			}
		})
	}
}

func TestADeadConnectionEndsAsOffline(t *testing.T) {
	t.Parallel()
	w := serve(t, worldOptions{})
	wire := newWire(t, w)
	wire.spoil("timeout", "downstream", `{"timeout":0}`)
	c := w.client(func(o *remote.ClientOptions) { o.URL, o.Stall, o.Tries = wire.url, 200*time.Millisecond, 2 })
	if _, err := c.Head(t.Context(), "f"); !errors.Is(err, blob.ErrOffline) {
		t.Errorf("Head: %v, want ErrOffline", err)
	}
	// The answer is lost, not the commit: that is the doubt a caller is left in.
	// However often it asks, the commit is made once.
	for w.number("f") == 0 {
		if _, err := c.Commit(t.Context(), "f", blob.Commit{Sealed: []byte("x")}); !errors.Is(err, blob.ErrOffline) {
			t.Fatalf("Commit: %v, want ErrOffline", err)
		}
	}
	if _, err := c.Commit(t.Context(), "f", blob.Commit{Sealed: []byte("x")}); !errors.Is(err, blob.ErrOffline) {
		t.Errorf("Commit: %v, want ErrOffline", err)
	}
	if number := w.number("f"); number != 1 {
		t.Errorf("head number %d, want 1", number)
	}
	w.stop()
	if _, err := w.client(func(o *remote.ClientOptions) { o.Tries = 2 }).Probe(t.Context()); !errors.Is(err, blob.ErrOffline) {
		t.Errorf("Probe of a stopped server: %v, want ErrOffline", err)
	}
}

func TestResetsAreTriedAgain(t *testing.T) {
	t.Parallel()
	w := serve(t, worldOptions{})
	wire := newWire(t, w)
	c := w.client(func(o *remote.ClientOptions) { o.URL = wire.url })
	wire.spoil("reset_peer", "downstream", `{"timeout":0}`)
	healed := make(chan struct{})
	go func() {
		defer close(healed)
		time.Sleep(300 * time.Millisecond)
		wire.heal()
	}()
	data := randomBytes(4, 3<<20)
	if err := c.Put(t.Context(), "packs/a", bytes.NewReader(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
	<-healed
	if got := readAll(t, c, "packs/a"); !bytes.Equal(got, data) {
		t.Fatal("the object arrived other than it was sent")
	}
}

func TestALostAnswerToAPutIsNoCollision(t *testing.T) {
	t.Parallel()
	w := serve(t, worldOptions{})
	wire := newWire(t, w)
	// The request gets through and its answer does not.
	wire.spoil("limit_data", "downstream", `{"bytes":10}`)
	c := w.client(func(o *remote.ClientOptions) { o.URL = wire.url })
	healed := make(chan struct{})
	go func() {
		defer close(healed)
		for {
			if _, err := w.store.Stat(context.Background(), "packs/a"); err == nil {
				wire.heal()
				return
			}
			time.Sleep(5 * time.Millisecond)
		}
	}()
	data := []byte("small")
	if err := c.Put(t.Context(), "packs/a", bytes.NewReader(data), int64(len(data))); err != nil {
		t.Errorf("Put whose answer was lost: %v", err)
	}
	<-healed
}

func TestASlowWireIsNotCut(t *testing.T) {
	t.Parallel()
	w := serve(t, worldOptions{change: func(o *remote.ServerOptions) { o.Limits.Stall = 3 * time.Second }})
	wire := newWire(t, w)
	wire.spoil("bandwidth", "upstream", `{"rate":300}`) // KB/s: the upload takes several stall times
	c := w.client(func(o *remote.ClientOptions) { o.URL, o.Stall = wire.url, 8*time.Second })
	data := randomBytes(5, 3<<20)
	if err := c.Put(t.Context(), "packs/a", bytes.NewReader(data), int64(len(data))); err != nil {
		t.Fatal(err)
	}
	if got := w.received(); got != float64(len(data)) {
		t.Errorf("the server received %.0f bytes, want %d in one go", got, len(data))
	}
}

func TestManyRequestsAtOnceOverALongWire(t *testing.T) {
	t.Parallel()
	for _, useTLS := range []bool{false, true} {
		w := serve(t, worldOptions{tls: useTLS})
		wire := newWire(t, w)
		wire.spoil("latency", "downstream", `{"latency":30,"jitter":20}`)
		c := w.client(func(o *remote.ClientOptions) { o.URL = wire.url })
		var group errgroup.Group
		for i := range 16 {
			group.Go(func() error {
				name, data := fmt.Sprintf("packs/%d", i), randomBytes(uint64(i), 1+i*100_000)
				if err := c.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))); err != nil {
					return err
				}
				r, err := c.Get(t.Context(), name, int64(i), int64(len(data)-i))
				if err != nil {
					return err
				}
				defer r.Close()
				if got, err := io.ReadAll(r); err != nil || !bytes.Equal(got, data[min(i, len(data)):]) {
					return fmt.Errorf("%s arrived wrong: %d bytes, %w", name, len(got), err)
				}
				_, err = c.Commit(t.Context(), fmt.Sprintf("f%d", i), blob.Commit{Sealed: []byte("x")})
				return err
			})
		}
		if err := group.Wait(); err != nil {
			t.Errorf("tls %v: %v", useTLS, err)
		}
	}
}

func TestABrokenEventStreamEndsWatch(t *testing.T) {
	t.Parallel()
	w := serve(t, worldOptions{change: func(o *remote.ServerOptions) { o.Limits.KeepAlive = 50 * time.Millisecond }})
	wire := newWire(t, w)
	c := w.client(func(o *remote.ClientOptions) { o.URL = wire.url })
	err := c.Watch(t.Context(), func() { wire.spoil("timeout", "downstream", `{"timeout":0}`) }, func(blob.Event) {})
	if !errors.Is(err, blob.ErrOffline) {
		t.Errorf("Watch over a dead connection: %v, want ErrOffline", err)
	}
}

// A line that swallows everything is found out once, by the event stream: what
// comes after does not wait for it each time.
func TestASilentServerHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	w := serve(t, worldOptions{change: func(o *remote.ServerOptions) { o.Limits.KeepAlive = 50 * time.Millisecond }})
	wire := newWire(t, w)
	c := w.client(func(o *remote.ClientOptions) { o.URL, o.Stall = wire.url, time.Minute })
	err := c.Watch(t.Context(), func() { wire.spoil("timeout", "downstream", `{"timeout":0}`) }, func(blob.Event) {})
	if !errors.Is(err, blob.ErrOffline) || !errors.Is(err, remote.ErrSilent) {
		t.Fatalf("Watch over a dead connection: %v, want ErrOffline and ErrSilent", err)
	}
	begun := time.Now()
	if _, err := c.ListHeads(t.Context()); !errors.Is(err, blob.ErrOffline) {
		t.Errorf("ask a silent server: %v, want ErrOffline", err)
	}
	if d := time.Since(begun); d > 30*time.Second {
		t.Errorf("that took %v", d)
	}
	wire.heal()
	ctx, cancel := context.WithCancel(t.Context())
	if err := c.Watch(ctx, cancel, func(blob.Event) {}); !errors.Is(err, context.Canceled) {
		t.Fatalf("Watch of a server that answers again: %v", err)
	}
	if _, err := c.ListHeads(t.Context()); err != nil {
		t.Errorf("ask a server that answers again: %v", err)
	}
}

// A stream alone that says nothing is no reason to ask for nothing.
func TestASilentStreamAloneHoldsNobodyUp(t *testing.T) {
	t.Parallel()
	w := serve(t, worldOptions{change: func(o *remote.ServerOptions) { o.Limits.KeepAlive = time.Hour }})
	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/events" {
			rw.Header().Set("Syncfs-Api", "1")
			io.WriteString(rw, "event: ready\ndata: {\"keepAliveSeconds\":0.01}\n\n")
			rw.(http.Flusher).Flush()
			<-r.Context().Done()
			return
		}
		target, _ := url.Parse(w.url)
		httputil.NewSingleHostReverseProxy(target).ServeHTTP(rw, r)
	}))
	defer proxy.Close()
	c := w.client(func(o *remote.ClientOptions) { o.URL = proxy.URL })
	if err := c.Watch(t.Context(), func() {}, func(blob.Event) {}); errors.Is(err, remote.ErrSilent) || !errors.Is(err, blob.ErrOffline) {
		t.Errorf("Watch: %v, want ErrOffline and not ErrSilent", err)
	}
	if _, err := c.ListHeads(t.Context()); err != nil {
		t.Error(err)
	}
}
