package remote

import (
	"net"
	"net/netip"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// Wrong keys that one address may send: a burst, then one each interval.
const (
	wrongKeyBurst    = 10
	wrongKeyInterval = 6 * time.Second
	throttleMost     = 4096 // addresses remembered
	knownFor         = time.Hour
)

// throttle keeps an address from guessing keys. Whoever has been let in from an
// address lately stays let in, so that one guesser does not lock out the others
// behind the same router.
type throttle struct {
	now func() time.Time

	mu    sync.Mutex // guards all below
	wrong map[netip.Addr]*rate.Limiter
	known map[visitor]time.Time // when last let in
}

type visitor struct {
	addr netip.Addr
	hash string // of the key
}

func newThrottle(now func() time.Time) *throttle {
	return &throttle{now: now, wrong: map[netip.Addr]*rate.Limiter{}, known: map[visitor]time.Time{}}
}

// blocked tells whether an address has sent too many wrong keys, and how long
// it has to wait then.
func (t *throttle) blocked(addr netip.Addr) (time.Duration, bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	limit := t.wrong[addr]
	if limit == nil {
		return 0, false
	}
	if missing := 1 - limit.TokensAt(t.now()); missing > 0 {
		return time.Duration(missing * float64(wrongKeyInterval)), true
	}
	return 0, false
}

// failed counts a wrong key.
func (t *throttle) failed(addr netip.Addr) {
	t.mu.Lock()
	defer t.mu.Unlock()
	limit := t.wrong[addr]
	if limit == nil {
		if len(t.wrong) >= throttleMost {
			t.forget()
		}
		limit = rate.NewLimiter(rate.Every(wrongKeyInterval), wrongKeyBurst)
		t.wrong[addr] = limit
	}
	limit.AllowN(t.now(), 1)
}

// forget drops the addresses that have rested, and of the others so many that
// it need not be called again soon; t.mu is held.
func (t *throttle) forget() {
	now := t.now()
	for addr, limit := range t.wrong {
		if limit.TokensAt(now) >= wrongKeyBurst {
			delete(t.wrong, addr)
		}
	}
	for addr := range t.wrong {
		if len(t.wrong) < throttleMost*3/4 {
			break
		}
		delete(t.wrong, addr)
	}
}

// letIn remembers that a key was right; isKnown tells whether it was lately.
func (t *throttle) letIn(v visitor) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if len(t.known) >= throttleMost {
		for old := range t.known {
			delete(t.known, old)
			break
		}
	}
	t.known[v] = t.now()
}

func (t *throttle) isKnown(v visitor) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	at, ok := t.known[v]
	return ok && t.now().Sub(at) < knownFor
}

// addressOf is the address that wrong keys are counted for: of IPv6 the /64,
// which is what one customer gets.
func addressOf(remoteAddr string) netip.Addr {
	host, _, err := net.SplitHostPort(remoteAddr)
	if err != nil {
		host = remoteAddr
	}
	addr, err := netip.ParseAddr(host)
	if err != nil {
		return netip.Addr{}
	}
	addr = addr.Unmap().WithZone("")
	if addr.Is6() {
		if prefix, err := addr.Prefix(64); err == nil {
			return prefix.Addr()
		}
	}
	return addr
}
