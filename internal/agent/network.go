package agent

import (
	"context"
	"errors"
	"sync"
	"time"

	"github.com/syncfs/syncfs/remote"
)

// Times of what cuts connections without telling.
const (
	sleepTick  = 5 * time.Second        // how often is looked whether the machine has slept
	sleepLeast = 10 * time.Second       // by which the wall clock must have run ahead
	netPause   = 500 * time.Millisecond // several changes of one network are one
)

// watchNetwork makes connections anew when those that are open must be dead: the
// machine has slept, or has another address. Where the system does not tell of
// addresses, tries by time (at most pollMax apart) and the watch over each
// request's progress find it.
func (a *Agent) watchNetwork(ctx context.Context) {
	changed := make(chan struct{}, 1)
	var listening sync.WaitGroup
	defer listening.Wait()
	listening.Go(func() {
		err := networkChanges(ctx, func() { kick(changed) })
		if err != nil && ctx.Err() == nil && !errors.Is(err, errors.ErrUnsupported) {
			a.log.Info("the system does not tell when the network changes", "err", err)
		}
	})
	tick := time.NewTicker(sleepTick)
	defer tick.Stop()
	clocks := newClocks(a.o.Now(), time.Now())
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			if slept := clocks.slept(a.o.Now(), time.Now()); slept >= sleepLeast {
				a.log.Info("the machine has slept, or its clock was set; connections are made anew", "for", slept.Round(time.Second))
				a.repo.remote.each((*remote.Client).Reconnect)
				a.again()
			}
		case <-changed:
			select {
			case <-ctx.Done():
				return
			case <-time.After(netPause):
			}
			a.repo.remote.each((*remote.Client).Moved)
			if !a.isOnline() {
				a.again()
			} else {
				kick(a.wake) // an event stream that was just ended is opened again at once
			}
		}
	}
}

// again tries everything now that waits for a later try.
func (a *Agent) again() {
	kick(a.wake)
	a.stale()
	for _, h := range a.allHosts() {
		if s := h.running(); s != nil {
			s.Kick()
		}
	}
}

// clocks tell by how much the wall clock runs ahead of the monotonic one, which
// stands still while a machine sleeps.
type clocks struct{ wall, mono time.Time }

func newClocks(wall, mono time.Time) clocks { return clocks{wall.Round(0), mono} }

// slept is how much further the wall clock has gone since the last call.
func (c *clocks) slept(wall, mono time.Time) time.Duration {
	now := newClocks(wall, mono)
	d := now.wall.Sub(c.wall) - now.mono.Sub(c.mono)
	*c = now
	return d
}

// each does something with the connection to a file server, if it is one.
func (c *reach) each(do func(*remote.Client)) {
	c.mu.Lock()
	r, ok := c.store.(*remote.Client)
	c.mu.Unlock()
	if ok {
		do(r)
	}
}
