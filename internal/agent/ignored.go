package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/syncfs/syncfs/internal/folder"
	"github.com/syncfs/syncfs/internal/syncer"
)

// IgnoredRequest asks what rules say in a folder of this machine: of each path
// or, with Below, of all that is ignored in it.
type IgnoredRequest struct {
	Name  string   `json:"name"`
	Paths [][]byte `json:"paths"` // within the folder, whose bytes need not be UTF-8
	Below bool     `json:"below,omitempty"`
}

// Ignored is what the rules say of one path.
type Ignored struct {
	Path    []byte `json:"path"`
	Dir     bool   `json:"dir"`
	Tracked bool   `json:"tracked"` // in the tree, whatever the rules say
	Source  string `json:"source,omitempty"`
	Line    int    `json:"line,omitempty"` // none: a rule that is built in
	Rule    string `json:"rule,omitempty"` // none: nothing ignores it
}

// UntrackRequest takes paths out of a folder's tree; they stay on every disk.
type UntrackRequest struct {
	Name   string   `json:"name"`
	Paths  [][]byte `json:"paths"`
	DryRun bool     `json:"dry_run,omitempty"`
}

// Ignored tells what rules say of paths.
func (c *Client) Ignored(ctx context.Context, r IgnoredRequest) (list []Ignored, err error) {
	return list, c.post(ctx, "ignored", r, &list, nil)
}

// Untrack takes paths out of the tree and returns which, those in a directory
// that is taken out left out. ErrNoRule where nothing ignores one of them.
func (c *Client) Untrack(ctx context.Context, r UntrackRequest) (paths [][]byte, err error) {
	return paths, c.post(ctx, "untrack", r, &paths, nil)
}

// served is the syncer of a folder that is served now.
func (a *Agent) served(name string) (*syncer.Syncer, error) {
	h, err := a.find(name)
	if err != nil {
		return nil, err
	}
	s := h.running()
	if s == nil {
		return nil, fmt.Errorf("%w: the folder %s is not served just now: syncfs mount %s", ErrBusy, h.folder.Name, h.folder.Name)
	}
	return s, nil
}

// rulesSettle is how long a file of rules that somebody has open is waited for:
// who has just closed it may still seem to have.
const rulesSettle = 3 * time.Second

// withRules runs fn again while the rules are being written.
func withRules(ctx context.Context, fn func() error) error {
	end := time.Now().Add(rulesSettle)
	for {
		err := fn()
		if !errors.Is(err, folder.ErrRules) || time.Now().After(end) {
			return err
		}
		timer := time.NewTimer(50 * time.Millisecond)
		select {
		case <-ctx.Done():
			timer.Stop()
			return ctx.Err()
		case <-timer.C:
		}
	}
}

func (a *Agent) ignored(ctx context.Context, r IgnoredRequest) (list []Ignored, err error) {
	s, err := a.served(r.Name)
	if err != nil {
		return nil, err
	}
	err = withRules(ctx, func() error {
		list = []Ignored{}
		add := func(v folder.Verdict) error {
			list = append(list, Ignored{
				Path: []byte(v.Path), Dir: v.Dir, Tracked: v.Tracked, Source: v.Source, Line: v.Line, Rule: v.Rule,
			})
			return nil
		}
		for _, p := range texts(r.Paths) {
			if r.Below {
				if err := s.Ignored(ctx, p, add); err != nil {
					return err
				}
				continue
			}
			v, err := s.Verdict(p)
			if err != nil {
				return err
			}
			_ = add(v) // never fails
		}
		return nil
	})
	return list, err
}

func (a *Agent) untrack(ctx context.Context, r UntrackRequest) ([][]byte, error) {
	s, err := a.served(r.Name)
	if err != nil {
		return nil, err
	}
	var out []string
	err = withRules(ctx, func() (err error) {
		out, err = s.Untrack(ctx, texts(r.Paths), r.DryRun)
		return err
	})
	return raws(out), err
}
