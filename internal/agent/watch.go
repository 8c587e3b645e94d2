package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/remote"
)

// Times of the event stream.
const (
	pollMin = 2 * time.Second // heads are asked for this often while there is no stream
	pollMax = 10 * time.Second
)

// watch listens to the remote's events, and asks for heads by time while there
// is no stream.
func (a *Agent) watch(ctx context.Context) {
	wait := pollMin
	alone := false // the stream fails although the remote answers
	for ctx.Err() == nil {
		stood := false
		err := a.repo.remote.Watch(ctx, func() { stood = true; a.cameOnline() }, a.event)
		if ctx.Err() != nil {
			return
		}
		a.log.Debug("no event stream", "err", err)
		a.stale()
		switch {
		case stood:
			wait, alone = pollMin, false
			if errors.Is(err, remote.ErrSilent) {
				a.wentOffline(err)
			} // else it broke: that says nothing about how the remote is now
		case errors.Is(err, errors.ErrUnsupported):
		default:
			if errors.Is(err, blob.ErrOffline) && !alone {
				a.wentOffline(err)
			}
			alone = a.ask(ctx)
		}
		// Not all machines that have lost one server come back at the same moment.
		timer := time.NewTimer(wait/2 + rand.N(wait/2))
		wait = min(2*wait, pollMax)
		if errors.Is(err, errors.ErrUnsupported) {
			wait = pollMin
		}
		select {
		case <-ctx.Done():
		case <-timer.C:
		case <-a.wake:
			wait = pollMin
		}
		timer.Stop()
	}
}

// ask finds out how the remote is when there is no stream: that alone may be
// what does not work.
func (a *Agent) ask(ctx context.Context) (answers bool) {
	r, err := a.repo.Remote.Get(ctx, "config", 0, 1) // not Stat: refusals come with their reason
	if err == nil {
		err = r.Close()
	}
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w there any more", store.ErrNoRepository)
	}
	if err != nil && ctx.Err() == nil {
		a.wentOffline(err)
	}
	return err == nil
}

func (a *Agent) wentOffline(err error) {
	a.mu.Lock()
	news := a.online || a.why == nil || a.why.Error() != err.Error()
	a.online, a.why = false, err
	a.mu.Unlock()
	if news {
		a.ops.add(Operation{Time: a.o.Now(), What: "offline", Text: err.Error()})
	}
}

// cameOnline is told when the stream stands: what happened before is unknown.
func (a *Agent) cameOnline() {
	a.answered()
	a.stale()
}

// answered is told of every request that succeeded. After a time without, what
// waits for a later try is tried now.
func (a *Agent) answered() {
	a.mu.Lock()
	was := a.online
	a.online, a.why = true, nil
	a.mu.Unlock()
	if !was {
		a.ops.add(Operation{Time: a.o.Now(), What: "online", Text: a.repo.Setup.URL})
		kick(a.wake)
		kick(a.back)
	}
}

// revive goes on with everything when the remote can be reached again.
func (a *Agent) revive(ctx context.Context) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-a.back:
		}
		for _, h := range a.allHosts() {
			if s := h.running(); s != nil {
				s.Kick()
			}
		}
		if err := a.refresh(ctx); err != nil && ctx.Err() == nil {
			a.log.Warn("read the index", "err", err)
		}
	}
}

// kick wakes who waits; a wake that waits already is enough.
func kick(c chan struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

func (a *Agent) stale() {
	for _, h := range a.allHosts() {
		if s := h.running(); s != nil {
			s.Stale()
		}
	}
}

// event hands a moved head to the folder that it is of.
func (a *Agent) event(e blob.Event) {
	for _, h := range a.allHosts() {
		s := h.running()
		if h.folder.ID != e.Head.Folder || s == nil {
			continue
		}
		head, record, err := a.lines.Open(e)
		if err != nil {
			a.log.Error("a head that cannot be read", "folder", h.folder.Name, "err", err)
			s.Stale()
			return
		}
		learned := false
		if len(e.Blobs) > 0 {
			if err := a.store.Learn(a.ctx, e.Blobs); err != nil {
				a.log.Warn("the content of an event cannot be used", "err", err)
			} else {
				learned = true
			}
		}
		s.HeadMoved(head, record, learned)
		return
	}
}
