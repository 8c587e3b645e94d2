package agent

import (
	"context"
	"runtime"
	"runtime/debug"
	"time"

	"github.com/syncfs/syncfs/internal/syncer"
)

// calmTime is how long nothing must have been going on before memory is given
// back to the system.
const calmTime = 10 * time.Second

// calm gives back what work has needed, once after each time of work: the
// runtime alone would keep it for minutes.
func (a *Agent) calm(ctx context.Context) {
	tick := time.NewTicker(calmTime / 5)
	defer tick.Stop()
	last, given := a.o.Now(), false
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		switch now := a.o.Now(); {
		case a.busy():
			last, given = now, false
		case !given && (now.Sub(last) >= calmTime || now.Before(last)):
			runtime.GC() // pools let go in the second collection
			debug.FreeOSMemory()
			given = true
		}
	}
}

// busy tells whether any folder has work under way.
func (a *Agent) busy() bool {
	for _, h := range a.allHosts() {
		h.mu.Lock()
		s, starting := h.syncer, h.cancel != nil && !h.ready && h.err == nil
		h.mu.Unlock()
		if starting {
			return true
		}
		if s == nil {
			continue
		}
		if st := s.Status(); st.State == syncer.Starting || st.State == syncer.Pending || st.Activity.Stage != "" || st.PendingFiles > 0 {
			return true
		}
	}
	return false
}
