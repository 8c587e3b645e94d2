//go:build linux

package edges

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	toxiproxy "github.com/Shopify/toxiproxy/v2"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/rs/zerolog"

	"github.com/syncfs/syncfs/tests/world"
)

// wire is a way to a server that can be made bad.
type wire struct {
	t     *testing.T
	proxy *toxiproxy.Proxy
	url   string
}

// newWire listens at address.
func newWire(t *testing.T, srv *world.Server, address string) *wire {
	t.Helper()
	server := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(prometheus.NewRegistry()), zerolog.Nop())
	proxy := toxiproxy.NewProxy(server, "wire", address, strings.TrimPrefix(srv.URL, "http://"))
	if err := proxy.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(proxy.Stop)
	return &wire{t: t, proxy: proxy, url: "http://" + proxy.Listen}
}

// spoil adds toxics: "upstream" is from the machine to the server.
func (w *wire) spoil(toxics ...string) {
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

func (w *wire) heal() { w.proxy.Toxics.ResetToxics(context.Background()) }

// cut ends all connections; none can be made until mend.
func (w *wire) cut() { w.proxy.Stop() }

func (w *wire) mend() {
	w.t.Helper()
	if err := w.proxy.Start(); err != nil {
		w.t.Fatal(err)
	}
}

// wiredPair is a pair whose machines each have their own way to the server.
func wiredPair(t *testing.T) (p *pair, toA, toB *wire) {
	t.Helper()
	p = &pair{t: t, srv: world.NewServer(t, "")}
	toA, toB = newWire(t, p.srv, "127.0.0.1:0"), newWire(t, p.srv, "127.0.0.1:0")
	p.a = first(t, by(p.srv, toA), func(dir string) { write(t, dir, "first", "first") })
	p.b = join(t, by(p.srv, toB), machine{Home: world.NewHome(t, "")})
	p.settled()
	return p, toA, toB
}

// by is the server as it is seen through a wire.
func by(srv *world.Server, w *wire) *world.Server {
	s := *srv
	s.URL = w.url
	return &s
}

// work changes all sorts of things on both machines, by turns and at once.
func (p *pair) work(large int) {
	p.t.Helper()
	for i := range 8 {
		write(p.t, p.a.dir, fmt.Sprintf("a%d", i), fmt.Sprint("of a ", i))
		write(p.t, p.b.dir, fmt.Sprintf("b%d", i), fmt.Sprint("of b ", i))
	}
	write(p.t, p.a.dir, "large", noise(large))
	write(p.t, p.b.dir, "other large", noise(large))
	write(p.t, p.b.dir, "first", "changed by b")
	if err := os.Remove(filepath.Join(p.a.dir, "a0")); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Rename(filepath.Join(p.b.dir, "b1"), filepath.Join(p.b.dir, "moved")); err != nil {
		p.t.Fatal(err)
	}
	time.Sleep(time.Second)
	write(p.t, p.a.dir, "later", "later")
}

func TestABadLineOnlyMakesThingsSlow(t *testing.T) {
	for _, tc := range []struct {
		name  string
		large int
		toxic []string
	}{
		{"far away", 1 << 20, []string{`latency {"latency":300,"jitter":100}`}},
		{"narrow", 256 << 10, []string{`bandwidth {"rate":60}`}},
		{"in small pieces", 256 << 10, []string{`slicer {"average_size":200,"size_variation":100,"delay":100}`}},
		{"cut in the middle of a pack", 12 << 20, []string{`limit_data {"bytes":3000000}`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			p, toA, toB := wiredPair(t)
			toA.spoil(tc.toxic...)
			toB.spoil(tc.toxic...)
			p.work(tc.large)
			p.settled()
			p.clean()
		})
	}
}

func TestAResetConnectionIsMadeAgain(t *testing.T) {
	t.Parallel()
	p, toA, toB := wiredPair(t)
	for i := range 3 {
		toA.spoil(`reset_peer {"timeout":50}`)
		write(t, p.a.dir, fmt.Sprintf("one%d", i), fmt.Sprint(i))
		write(t, p.b.dir, fmt.Sprintf("two%d", i), fmt.Sprint(i))
		time.Sleep(1500 * time.Millisecond)
		toA.heal()
		toB.cut()
		write(t, p.a.dir, fmt.Sprintf("three%d", i), fmt.Sprint(i))
		time.Sleep(1500 * time.Millisecond)
		toB.mend()
	}
	p.settled()
	p.clean()
}

// soonOffline waits until status says that the remote cannot be reached, and
// that no command waits for it.
func soonOffline(t *testing.T, m machine, within time.Duration) {
	t.Helper()
	begun := time.Now()
	world.Eventually(t, within, "status says offline", func() error {
		asked := time.Now()
		out, _, code := m.Try("status")
		if d := time.Since(asked); d > 5*time.Second {
			t.Errorf("status took %v", d)
		}
		if code != 5 {
			return fmt.Errorf("exit code %d\n%s", code, out)
		}
		return nil
	})
	t.Logf("offline after %v", time.Since(begun).Round(100*time.Millisecond))
}

// promptly runs a command that must not wait for the remote.
func promptly(t *testing.T, m machine, within time.Duration, args ...string) (out string, code int) {
	t.Helper()
	begun := time.Now()
	out, errs, code := m.Try(args...)
	if d := time.Since(begun); d > within {
		t.Errorf("syncfs %s took %v\n%s%s", strings.Join(args, " "), d, out, errs)
	}
	return out + errs, code
}

func TestAServerThatAcceptsAndNeverAnswers(t *testing.T) {
	t.Parallel()
	p, toA, _ := wiredPair(t)
	toA.spoil(`timeout {"timeout":0}`)
	write(t, p.a.dir, "while away", "of a")
	write(t, p.b.dir, "of b", "of b")
	soonOffline(t, p.a, 40*time.Second)
	if err := has(p.a.dir, ".versions/latest/while away", "of a"); err != nil {
		t.Error(err)
	}
	if out, code := promptly(t, p.a, 10*time.Second, "flush", "--timeout", "3s"); code != 5 {
		t.Errorf("flush: exit code %d, want 5\n%s", code, out)
	}
	if out, code := promptly(t, p.a, 10*time.Second, "versions", p.a.dir); code != 0 {
		t.Errorf("versions: exit code %d\n%s", code, out)
	}
	toA.heal()
	comes(t, p.a.dir, "of b", "of b")
	comes(t, p.b.dir, "while away", "of a")
	p.settled()
	p.clean()
}

// network puts a machine into a network of its own, with one way out, at whose
// end the server listens. drop makes both ends believe that the line stands,
// and nothing comes through.
func network(t *testing.T) (address string, enter []string, drop, heal func()) {
	t.Helper()
	id := fmt.Sprintf("%05d", os.Getpid()%100000)
	ns, net := "syncfs-edges-"+id, fmt.Sprintf("10.%d.%d", 64+os.Getpid()/256%64, os.Getpid()%256)
	env := []string{"NS=" + ns, "NET=" + net, "OUT=se" + id, "IN=si" + id}
	world.Sh(t, "/", `
		ip netns add $NS
		ip link add $OUT type veth peer name $IN netns $NS
		ip addr add $NET.1/24 dev $OUT; ip link set $OUT up
		ip -n $NS addr add $NET.2/24 dev $IN; ip -n $NS link set $IN up; ip -n $NS link set lo up`, env...)
	t.Cleanup(func() { world.Sh(t, "/", `ip netns del $NS; ip link del $OUT 2>/dev/null || true`, env...) })
	tables := func(op string) func() {
		return func() {
			world.Sh(t, "/", `for c in INPUT OUTPUT; do ip netns exec $NS iptables -w $OP $c ! -i lo -j DROP 2>/dev/null || ip netns exec $NS iptables -w $OP $c ! -o lo -j DROP; done`, append(env, "OP="+op)...)
		}
	}
	return net + ".1:0", []string{"nsenter", "--net=/run/netns/" + ns}, tables("-A"), tables("-D")
}

func TestAHalfOpenConnectionIsNoticed(t *testing.T) {
	t.Parallel()
	srv := world.NewServer(t, "")
	address, enter, drop, heal := network(t)
	line := newWire(t, srv, address)
	p := &pair{t: t, srv: srv}
	home := world.NewHome(t, "")
	home.Through = enter
	p.a = first(t, srv, func(dir string) { write(t, dir, "first", "first") })
	p.b = join(t, by(srv, line), machine{Home: home})
	p.settled()

	// While nothing is on its way.
	drop()
	write(t, p.a.dir, "of a", "of a")
	soonOffline(t, p.b, 40*time.Second)
	heal()
	comes(t, p.b.dir, "of a", "of a")

	// In the middle of an upload.
	line.spoil(`bandwidth {"rate":2000}`)
	large := noise(12 << 20)
	write(t, p.b.dir, "large", large)
	time.Sleep(2500 * time.Millisecond)
	drop()
	write(t, p.b.dir, "of b", "of b")
	soonOffline(t, p.b, 40*time.Second)
	if out, code := promptly(t, p.b, 10*time.Second, "flush", "--timeout", "3s"); code != 5 {
		t.Errorf("flush: exit code %d, want 5\n%s", code, out)
	}
	heal()
	line.heal()
	comes(t, p.a.dir, "large", large)
	comes(t, p.a.dir, "of b", "of b")
	p.settled()
	p.clean()
}
