package agent

import (
	"context"
	"errors"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

// Times of the event stream.
const (
	pollMin = 2 * time.Second // heads are asked for this often while there is no stream
	pollMax = time.Minute
)

// watch listens to the remote's events, and asks for heads by time while there
// is no stream.
func (a *Agent) watch(ctx context.Context) {
	wait := pollMin
	for ctx.Err() == nil {
		stood := false
		err := errors.ErrUnsupported
		if w, ok := a.repo.Remote.(blob.Watcher); ok {
			err = w.Watch(ctx, func() { stood = true; a.cameOnline() }, a.event)
		}
		if ctx.Err() != nil {
			return
		}
		a.log.Debug("no event stream", "err", err)
		if stood {
			wait = pollMin // it broke: that says nothing about how the remote is now
		} else if err != nil && !errors.Is(err, errors.ErrUnsupported) {
			a.wentOffline(err)
		}
		a.stale()
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
		wait = min(2*wait, pollMax)
		if errors.Is(err, errors.ErrUnsupported) {
			wait = pollMin
		}
	}
}

// cameOnline is told when the stream stands: what happened before is unknown.
func (a *Agent) cameOnline() {
	a.mu.Lock()
	a.online, a.why = true, nil
	a.mu.Unlock()
	a.stale()
}

func (a *Agent) wentOffline(err error) {
	a.mu.Lock()
	a.online, a.why = false, err
	a.mu.Unlock()
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
