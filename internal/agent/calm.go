package agent

import (
	"context"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"time"
)

// calm gives back what work has needed, once after each time of work, be it
// ours or for programs that use a mount: the runtime alone would keep it for
// minutes, and let garbage grow to the size of what is in use.
func (a *Agent) calm(ctx context.Context) {
	tick := time.NewTicker(calmTick)
	defer tick.Stop()
	var r rest
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		if r.due(allocated()) {
			a.repo.Keys.Rest()
			runtime.GC() // pools let go in the second collection
			debug.FreeOSMemory()
			if err := unmapFiles(); err != nil {
				a.log.Debug("pages of files stay mapped", "error", err)
			}
			r.given = allocated()
		}
	}
}

const (
	calmTick = 2 * time.Second
	// calmTicks is how many ticks in a row must have been calm: 20 s, so that
	// caches that time out sooner are empty by then.
	calmTicks = 10
	// calmBytes is what may be allocated in a calm tick.
	calmBytes = 256 << 10
	// worthBytes is what must have been allocated since memory was last given
	// back for it to be worth the collector's work.
	worthBytes = 4 << 20
)

// rest tells when work is over, from how much was ever allocated.
type rest struct {
	last, given uint64
	ticks       int
}

// due is asked once a tick.
func (r *rest) due(allocated uint64) bool {
	r.ticks++
	if allocated-r.last > calmBytes {
		r.ticks = 0
	}
	r.last = allocated
	return r.ticks >= calmTicks && allocated-r.given > worthBytes
}

// allocated is how many bytes of heap were ever allocated.
func allocated() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	if sample[0].Value.Kind() != metrics.KindUint64 {
		return 0
	}
	return sample[0].Value.Uint64()
}
