//go:build linux

package edges

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/tests/world"
)

// wiredPair is a pair whose machines each have their own way to the server.
func wiredPair(t *testing.T) (p *pair, toA, toB *world.Wire) {
	t.Helper()
	p = &pair{t: t, srv: world.NewServer(t, "")}
	toA, toB = world.NewWire(t, p.srv, "127.0.0.1:0"), world.NewWire(t, p.srv, "127.0.0.1:0")
	p.a = first(t, p.srv.By(toA), func(dir string) { write(t, dir, "first", "first") })
	p.b = join(t, p.srv.By(toB), machine{Home: world.NewHome(t, "")})
	p.settled()
	return p, toA, toB
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
			toA.Spoil(tc.toxic...)
			toB.Spoil(tc.toxic...)
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
		toA.Spoil(`reset_peer {"timeout":50}`)
		write(t, p.a.dir, fmt.Sprintf("one%d", i), fmt.Sprint(i))
		write(t, p.b.dir, fmt.Sprintf("two%d", i), fmt.Sprint(i))
		time.Sleep(1500 * time.Millisecond)
		toA.Heal()
		toB.Cut()
		write(t, p.a.dir, fmt.Sprintf("three%d", i), fmt.Sprint(i))
		time.Sleep(1500 * time.Millisecond)
		toB.Mend()
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
		if d := time.Since(asked); d > 30*time.Second {
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
	toA.Spoil(`timeout {"timeout":0}`)
	write(t, p.a.dir, "while away", "of a")
	write(t, p.b.dir, "of b", "of b")
	soonOffline(t, p.a, 90*time.Second)
	if err := has(p.a.dir, ".versions/latest/while away", "of a"); err != nil {
		t.Error(err)
	}
	if out, code := promptly(t, p.a, 30*time.Second, "flush", "--timeout", "3s"); code != 5 {
		t.Errorf("flush: exit code %d, want 5\n%s", code, out)
	}
	if out, code := promptly(t, p.a, 30*time.Second, "versions", p.a.dir); code != 0 {
		t.Errorf("versions: exit code %d\n%s", code, out)
	}
	toA.Heal()
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
	line := world.NewWire(t, srv, address)
	p := &pair{t: t, srv: srv}
	home := world.NewHome(t, "")
	home.Through = enter
	p.a = first(t, srv, func(dir string) { write(t, dir, "first", "first") })
	p.b = join(t, srv.By(line), machine{Home: home})
	p.settled()

	// While nothing is on its way.
	drop()
	write(t, p.a.dir, "of a", "of a")
	soonOffline(t, p.b, 90*time.Second)
	heal()
	comes(t, p.b.dir, "of a", "of a")

	// In the middle of an upload.
	line.Spoil(`bandwidth {"rate":2000}`)
	large := noise(12 << 20)
	write(t, p.b.dir, "large", large)
	time.Sleep(2500 * time.Millisecond)
	drop()
	write(t, p.b.dir, "of b", "of b")
	soonOffline(t, p.b, 90*time.Second)
	if out, code := promptly(t, p.b, 30*time.Second, "flush", "--timeout", "3s"); code != 5 {
		t.Errorf("flush: exit code %d, want 5\n%s", code, out)
	}
	heal()
	line.Heal()
	comes(t, p.a.dir, "large", large)
	comes(t, p.a.dir, "of b", "of b")
	p.settled()
	p.clean()
}
