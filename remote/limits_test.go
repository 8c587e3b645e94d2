package remote

import (
	"bytes"
	"context"
	"errors"
	"io/fs"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

// clock is a time that a test moves.
type clock struct{ at time.Time }

func newClock() *clock                { return &clock{at: time.Date(2025, 1, 31, 0, 0, 0, 0, time.UTC)} }
func (c *clock) now() time.Time       { return c.at }
func (c *clock) pass(d time.Duration) { c.at = c.at.Add(d) }
func noInterrupt()                    {}
func address(s string) netip.Addr     { return addressOf(s) }
func key(n byte) string               { return partialKey("packs/a", int64(n), digest{n}) }
func quiet() *slog.Logger             { return slog.New(slog.DiscardHandler) }

func openTestPartials(t *testing.T, limit int64, c *clock) *partials {
	t.Helper()
	p, err := openPartials(t.TempDir(), limit, c.now, quiet())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// upload leaves an unfinished upload of n bytes behind.
func leaveUpload(t *testing.T, p *partials, key string, n int64) {
	t.Helper()
	h, err := p.hold(t.Context(), key, n+1, true, noInterrupt)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.receive(bytes.NewReader(make([]byte, n)), n); err != nil {
		t.Fatal(err)
	}
	h.release(true)
}

func TestUnfinishedUploadsAreSweptAfterADay(t *testing.T) {
	c := newClock()
	p := openTestPartials(t, 1000, c)
	leaveUpload(t, p, key(1), 100)
	c.pass(partialAge - time.Minute)
	leaveUpload(t, p, key(2), 100)
	c.pass(2 * time.Minute)
	p.sweep()
	if got := p.bytes(); got != 100 {
		t.Errorf("%d bytes are left, want those of the younger one", got)
	}
	if _, err := os.Stat(filepath.Join(p.dir, key(1))); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the file of a swept upload: %v", err)
	}
	// A server that starts again finds what is left.
	again, err := openPartials(p.dir, 1000, time.Now, quiet())
	if err != nil || again.bytes() != 100 {
		t.Errorf("after a restart: %d bytes, %v", again.bytes(), err)
	}
}

func TestUnfinishedUploadsStayWithinTheirBound(t *testing.T) {
	c := newClock()
	p := openTestPartials(t, 1000, c)
	leaveUpload(t, p, key(1), 400)
	c.pass(time.Minute)
	leaveUpload(t, p, key(2), 400)
	c.pass(time.Minute)
	h, err := p.hold(t.Context(), key(3), 500, true, noInterrupt) // the oldest goes
	if err != nil {
		t.Fatal(err)
	}
	if _, err := p.hold(t.Context(), key(1), 400, false, noInterrupt); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the oldest upload: %v, want it gone", err)
	}
	if _, err := p.hold(t.Context(), key(4), 600, true, noInterrupt); !errors.Is(err, blob.ErrFull) {
		t.Errorf("more than fits beside one that is under way: %v, want ErrFull", err)
	}
	h.release(false)
	if p.bytes() != 0 {
		t.Errorf("%d bytes are left", p.bytes())
	}
}

func TestANewerRequestTakesAnUploadOver(t *testing.T) {
	p := openTestPartials(t, 1000, newClock())
	interrupted := make(chan struct{})
	old, err := p.hold(t.Context(), key(1), 100, true, func() { close(interrupted) })
	if err != nil {
		t.Fatal(err)
	}
	go func() { <-interrupted; old.receive(bytes.NewReader(make([]byte, 30)), 30); old.release(true) }()
	h, err := p.hold(t.Context(), key(1), 100, false, noInterrupt)
	if err != nil {
		t.Fatal(err)
	}
	defer h.release(true)
	if h.have != 30 {
		t.Errorf("the upload goes on at %d, want 30", h.have)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := p.hold(ctx, key(1), 100, false, noInterrupt); !errors.Is(err, context.Canceled) {
		t.Errorf("waiting without a context: %v", err)
	}
}

func TestATurnEnds(t *testing.T) {
	c := newClock()
	turns := newTurns(c.now)
	id, _, ok := turns.take("f", turnTime)
	if !ok {
		t.Fatal("a free turn was refused")
	}
	if _, left, ok := turns.take("f", turnTime); ok || left <= 0 || left > turnTime+turnPause {
		t.Errorf("a second turn: %s, %v", left, ok)
	}
	if _, other := turns.heldByOther("f", id); other {
		t.Error("the holder is kept out")
	}
	if _, other := turns.heldByOther("f", ""); !other {
		t.Error("another is let in")
	}
	if _, other := turns.heldByOther("g", ""); other {
		t.Error("a turn holds another folder")
	}
	turns.end("f", "not mine")
	c.pass(turnTime)
	if _, other := turns.heldByOther("f", ""); other {
		t.Error("a turn lasts longer than its time")
	}
	if _, _, ok := turns.take("f", turnTime); ok {
		t.Error("a turn follows at once on one that was not used")
	}
	c.pass(turnPause)
	if _, _, ok := turns.take("f", turnTime); !ok {
		t.Error("no turn after the pause")
	}
	c.pass(-365 * 24 * time.Hour) // a clock set back must not hold a folder for a year
	if _, other := turns.heldByOther("f", ""); other {
		t.Error("a turn from the future holds")
	}
	if _, _, ok := turns.take("f", turnTime); !ok {
		t.Error("a turn from the future is in the way")
	}
}

func TestGuessingIsBoundedByAddress(t *testing.T) {
	c := newClock()
	throttle := newThrottle(c.now)
	guesser, other := address("192.0.2.1:1000"), address("192.0.2.2:1000")
	for range wrongKeyBurst {
		if _, blocked := throttle.blocked(guesser); blocked {
			t.Fatal("blocked too soon")
		}
		throttle.failed(guesser)
	}
	if wait, blocked := throttle.blocked(guesser); !blocked || wait <= 0 || wait > wrongKeyInterval {
		t.Errorf("after the burst: %s, %v", wait, blocked)
	}
	if _, blocked := throttle.blocked(other); blocked {
		t.Error("another address is blocked")
	}
	c.pass(wrongKeyInterval)
	if _, blocked := throttle.blocked(guesser); blocked {
		t.Error("still blocked after the interval")
	}
	for i := range 3 * throttleMost {
		throttle.failed(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}))
		throttle.letIn(visitor{addr: netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)})})
	}
	if len(throttle.wrong) > throttleMost || len(throttle.known) > throttleMost {
		t.Errorf("%d and %d addresses are remembered", len(throttle.wrong), len(throttle.known))
	}
	if a, b := address("[2001:db8::1]:5"), address("[2001:db8::ffff]:6"); a != b || a == address("[2001:db8:0:1::1]:5") {
		t.Errorf("IPv6 is not counted by /64: %s, %s", a, b)
	}
}

func TestTheOperationsLogSurvivesACutLine(t *testing.T) {
	c := newClock()
	path := filepath.Join(t.TempDir(), "operations.jsonl")
	o, err := OpenOperations(path, c.now, nil)
	if err != nil {
		t.Fatal(err)
	}
	o.add(Operation{Token: "a", Action: "put", Object: "packs/1"})
	o.add(Operation{Token: "a", Action: "put", Object: "packs/2"})
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, text[:len(text)-10], 0o600); err != nil {
		t.Fatal(err)
	}
	if o, err = OpenOperations(path, c.now, nil); err != nil {
		t.Fatal(err)
	}
	o.add(Operation{Token: "a", Action: "put", Object: "packs/3"})
	if err := o.Close(); err != nil {
		t.Fatal(err)
	}
	if o, err = OpenOperations(path, c.now, nil); err != nil {
		t.Fatal(err)
	}
	defer o.Close()
	list := o.list(0, 10)
	if len(list) != 2 || list[0].Object != "packs/1" || list[1].Object != "packs/3" {
		t.Errorf("operations: %+v", list)
	}
	if newest := o.list(1, 1); len(newest) != 1 || newest[0].Object != "packs/3" {
		t.Errorf("the newest: %+v", newest)
	}
}
