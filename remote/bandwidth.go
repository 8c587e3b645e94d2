package remote

import (
	"context"
	"time"

	"golang.org/x/time/rate"
)

// Bounds of what is let through at once where the rate is limited.
const (
	rateBurst   = 16 << 10 // after a rest: small rounds go without waiting
	rateSteps   = 8        // steps a second, so that several requests share fairly and none stands still
	rateMinStep = 64
)

// bandwidth bounds the bytes a second of all requests together in one direction.
type bandwidth struct{ limiter *rate.Limiter }

func newBandwidth(bytes int64) *bandwidth {
	b := &bandwidth{limiter: rate.NewLimiter(rate.Inf, rateBurst)}
	b.set(bytes)
	return b
}

// set changes the limit, also for what is under way; 0 is none.
func (b *bandwidth) set(bytes int64) {
	limit := rate.Inf
	if bytes > 0 {
		limit = rate.Limit(bytes)
	}
	b.limiter.SetLimit(limit)
}

// step is how much of n bytes may go at once.
func (b *bandwidth) step(n int) int {
	limit := b.limiter.Limit()
	if limit == rate.Inf {
		return n
	}
	return min(n, rateBurst, max(rateMinStep, int(limit/rateSteps)))
}

// wait returns when n bytes, no more than a step, may go.
func (b *bandwidth) wait(ctx context.Context, n int) error {
	if n > rateBurst {
		return nil // a step of when there was no limit
	}
	return b.limiter.WaitN(ctx, n)
}

// charge counts bytes that came without being asked for: what follows waits for
// them.
func (b *bandwidth) charge(n int) {
	if b.limiter.Limit() == rate.Inf {
		return
	}
	for ; n > 0; n -= rateBurst {
		b.limiter.ReserveN(time.Now(), min(n, rateBurst))
	}
}
