package agent

import (
	"context"
	"errors"
	"fmt"

	"github.com/syncfs/syncfs/internal/store"
	"github.com/syncfs/syncfs/internal/syncer"
)

// AcceptRequest takes the remote as it is, for one folder.
type AcceptRequest struct {
	Name   string `json:"name"`
	DryRun bool   `json:"dry_run,omitempty"`
}

// Accepted is what that means.
type Accepted struct {
	Why     string `json:"why"`               // it was refused
	Gone    bool   `json:"gone,omitempty"`    // the folder is not there at all
	Instant string `json:"instant,omitempty"` // newest version that both have in common
	Send    int64  `json:"send"`              // files that it has not, or has otherwise
	Arrive  int64  `json:"arrive"`            // files that this machine has not, or has otherwise
	Copies  int64  `json:"copies"`            // conflict copies that this makes
}

// Accept takes the remote as it is; NotReplaced where it is as it was left.
func (c *Client) Accept(ctx context.Context, r AcceptRequest) (out Accepted, err error) {
	return out, c.post(ctx, "accept", r, &out, nil)
}

// NotReplaced tells the error of a remote that there is nothing to accept of.
func NotReplaced(err error) bool { return errors.Is(err, syncer.ErrNotReplaced) }

func (a *Agent) accept(ctx context.Context, r AcceptRequest) (Accepted, error) {
	s, err := a.served(r.Name)
	if err != nil {
		return Accepted{}, err
	}
	done, err := s.Accept(ctx, r.DryRun)
	if err != nil {
		return Accepted{}, err
	}
	out := Accepted{Why: done.Why.Error(), Gone: done.Gone, Send: done.Send, Arrive: done.Arrive, Copies: done.Copies}
	if !done.Instant.IsZero() {
		out.Instant = done.Instant.String()
	}
	return out, nil
}

// identify tells whether the remote holds our repository; nil also where it does
// not say.
func (a *Agent) identify(ctx context.Context) error {
	const anew = "bring its data back; or, if that is meant, begin anew: `syncfs disconnect --force`, then `syncfs %s` and `syncfs add`. All files stay where they are"
	id, err := store.RepositoryID(ctx, a.repo.Remote)
	switch {
	case errors.Is(err, store.ErrNoRepository):
		return fmt.Errorf("%w, nor any other: is its disk mounted? If it was wiped, "+anew, syncer.ErrForeign, "init")
	case err == nil && id != a.repo.Setup.Repository:
		return fmt.Errorf("%w (%.8s) but another (%.8s): "+anew, syncer.ErrForeign, a.repo.Setup.Repository, id, "connect")
	}
	return nil
}
