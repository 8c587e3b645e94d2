package agent

import (
	"context"
	"fmt"
	"time"

	"github.com/syncfs/syncfs/internal/syncer"
)

// PauseRequest ends rounds of a folder, or of all, for a while.
type PauseRequest struct {
	Name string        `json:"name,omitempty"` // "": every folder that is here now
	For  time.Duration `json:"for,omitempty"`  // 0: until resumed
}

// Pause sends and applies nothing until Resume, or for a time; versions go on
// being taken on this machine. It survives a restart.
func (c *Client) Pause(ctx context.Context, r PauseRequest) error {
	return c.post(ctx, "pause", r, nil, nil)
}

// Resume ends a pause of a folder, or of all.
func (c *Client) Resume(ctx context.Context, name string) error {
	return c.post(ctx, "resume", nameRequest{Name: name}, nil, nil)
}

// pauseFolders pauses one folder or all.
func (a *Agent) pauseFolders(r PauseRequest) error {
	p := pause{On: true}
	if r.For > 0 {
		p.Until = a.o.Now().Add(r.For).UTC()
	}
	return a.setPause(r.Name, p)
}

// setPause notes a pause, or its end, so that a restart keeps it, and makes it
// so.
func (a *Agent) setPause(name string, p pause) error {
	hosts := a.allHosts()
	if name != "" {
		h, err := a.find(name)
		if err != nil {
			return err
		}
		hosts = []*host{h}
	}
	meant := map[string]bool{}
	for _, h := range hosts {
		meant[h.folder.ID] = true
	}
	a.registry.Lock()
	defer a.registry.Unlock()
	list, err := readFolders(a.o.Dirs)
	if err != nil {
		return err
	}
	for i := range list {
		if meant[list[i].ID] {
			list[i].Pause = p
		}
	}
	if err := writeFolders(a.o.Dirs, list); err != nil {
		return err
	}
	for _, h := range hosts {
		h.setPause(p)
	}
	kick(a.paused)
	return nil
}

// pause is whether a folder's rounds are paused, and until when.
type pause struct {
	On    bool      `json:"on,omitempty"`
	Until time.Time `json:"until,omitzero"` // zero: until resumed
}

func (h *host) setPause(p pause) {
	h.mu.Lock()
	was := h.pause
	h.pause = p
	for _, s := range []*syncer.Syncer{h.syncer, h.preview} {
		if s != nil {
			s.Pause(p.On)
		}
	}
	h.mu.Unlock()
	switch {
	case p.On && p.Until.IsZero():
		h.note(syncer.Operation{What: "paused", Text: "until it is resumed"})
	case p.On:
		h.note(syncer.Operation{What: "paused", Text: "until " + p.Until.Format(time.RFC3339)})
	case was.On:
		h.note(syncer.Operation{What: "resumed"})
	}
}

func (h *host) paused() pause {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.pause
}

// pauseTick is how often the end of a pause is looked for: a machine that has
// slept, or whose clock was set, finds it all the same.
const pauseTick = 15 * time.Second

// endPauses resumes folders when the time of their pause is over.
func (a *Agent) endPauses(ctx context.Context) {
	for {
		wait, any := pauseTick, false
		for _, h := range a.allHosts() {
			p := h.paused()
			if !p.On || p.Until.IsZero() {
				continue
			}
			left := p.Until.Sub(a.o.Now())
			if left <= 0 {
				if err := a.setPause(h.folder.Name, pause{}); err != nil {
					a.log.Error("end a pause", "folder", h.folder.Name, "err", err)
					any = true
				}
				continue
			}
			wait, any = min(wait, left), true
		}
		var timer <-chan time.Time
		if any {
			timer = time.After(wait)
		}
		select {
		case <-ctx.Done():
			return
		case <-timer:
		case <-a.paused:
		}
	}
}

// allPaused tells whether there is a folder, and each is paused.
func (a *Agent) allPaused() bool {
	hosts := a.allHosts()
	for _, h := range hosts {
		if !h.paused().On {
			return false
		}
	}
	return len(hosts) > 0
}

// pausedError says that a folder is paused, and for how long.
func (h *host) pausedError(p pause) error {
	until := ""
	if !p.Until.IsZero() {
		until = " until " + p.Until.Format(time.RFC3339)
	}
	return fmt.Errorf("%w%s: %s; its changes are kept on this machine", ErrPaused, until, h.folder.Name)
}
