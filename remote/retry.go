package remote

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v5"

	"github.com/syncfs/syncfs/internal/blob"
)

// attempts counts tries in a row that brought nothing on.
type attempts struct {
	log     func(err error, wait time.Duration)
	most    int
	failed  int
	corrupt int
	pause   *backoff.ExponentialBackOff
}

func (c *Client) attempts(what string) *attempts {
	pause := backoff.NewExponentialBackOff()
	pause.InitialInterval, pause.MaxInterval, pause.Multiplier = 200*time.Millisecond, 5*time.Second, 2
	return &attempts{most: c.tries, pause: pause, log: func(err error, wait time.Duration) {
		c.log.Debug("trying again", "what", what, "error", err, "wait", wait)
	}}
}

// progress forgets the failures so far.
func (a *attempts) progress() {
	a.failed = 0
	a.pause.Reset()
}

// again waits for the next try, or returns the error that ends it.
func (a *attempts) again(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return ctx.Err()
	}
	a.failed++
	var said *answer
	errors.As(err, &said)
	switch {
	case a.failed >= a.most, errors.Is(err, ErrSilent), errors.Is(err, errStalled) && a.failed > 1:
		return err
	case errors.Is(err, blob.ErrCorrupt) && said != nil:
		// Bytes went bad on the way to the server.
		if a.corrupt++; a.corrupt > 2 {
			return err
		}
	case said != nil && (said.Code == codeInterrupted || said.Code == codeOffset):
	case !errors.Is(err, blob.ErrOffline) && !errors.Is(err, errGarbled):
		return err
	}
	wait := a.pause.NextBackOff()
	if said != nil {
		wait = max(wait, said.retryAfter)
	}
	a.log(err, wait)
	return sleep(ctx, wait)
}

func sleep(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// retry does what may be done twice until it succeeds, fails for good, or was
// tried often enough.
func (c *Client) retry(ctx context.Context, about string, fn func() error) error {
	tries := c.attempts(about)
	for {
		err := fn()
		if err == nil {
			return nil
		}
		if err := tries.again(ctx, err); err != nil {
			if about == "" {
				return err
			}
			return fmt.Errorf("%s: %w", about, err)
		}
	}
}
