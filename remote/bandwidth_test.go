package remote_test

import (
	"bytes"
	"context"
	"io"
	"testing"
	"time"

	"github.com/syncfs/syncfs/remote"
)

// rateBurst is what goes at once after a rest.
const rateBurst = 16 << 10

// leastTime is how long n bytes take at a rate, at least.
func leastTime(n, rate int) time.Duration {
	return time.Duration(float64(n-rateBurst) / float64(rate) * float64(time.Second))
}

func TestLimitsAreNeverExceededByAllRequestsTogether(t *testing.T) {
	w := serve(t, worldOptions{})
	const rate, size, parallel = 128 << 10, 64 << 10, 3
	c := w.client(func(o *remote.ClientOptions) { o.UploadLimit, o.DownloadLimit = rate, rate })
	names := []string{"packs/a", "packs/b", "packs/c"}
	together := func(do func(name string, seed uint64) error) time.Duration {
		t.Helper()
		begun := time.Now()
		ended := make(chan error, parallel)
		for i, name := range names {
			go func() { ended <- do(name, uint64(i)) }()
		}
		for range names {
			if err := <-ended; err != nil {
				t.Fatal(err)
			}
		}
		return time.Since(begun)
	}
	least := leastTime(parallel*size, rate)
	took := together(func(name string, seed uint64) error {
		return c.Put(t.Context(), name, bytes.NewReader(randomBytes(seed, size)), size)
	})
	if took < least {
		t.Errorf("sending took %v: faster than the limit, which needs %v", took, least)
	}
	took = together(func(name string, seed uint64) error {
		r, err := c.Get(t.Context(), name, 0, -1)
		if err != nil {
			return err
		}
		defer r.Close()
		got, err := io.ReadAll(r)
		if err == nil && !bytes.Equal(got, randomBytes(seed, size)) {
			t.Errorf("%s came with other content", name)
		}
		return err
	})
	if took < least {
		t.Errorf("fetching took %v: faster than the limit, which needs %v", took, least)
	}
}

func TestALimitIsLiftedForWhatIsUnderWay(t *testing.T) {
	w := serve(t, worldOptions{})
	const size = 1 << 20 // would take more than a quarter of an hour
	c := w.client(func(o *remote.ClientOptions) { o.UploadLimit = 1 << 10 })
	sent := make(chan struct{}, 1)
	ctx := remote.WithProgress(t.Context(), func(int64) {
		select {
		case sent <- struct{}{}:
		default:
		}
	})
	ended := make(chan error, 1)
	go func() { ended <- c.Put(ctx, "packs/a", bytes.NewReader(randomBytes(1, size)), size) }()
	<-sent
	c.SetLimits(0, 0)
	select {
	case err := <-ended:
		if err != nil {
			t.Fatal(err)
		}
	case <-time.After(time.Minute):
		t.Fatal("it goes on slowly")
	}
}

func TestASmallRoundDoesNotWaitForTheLimit(t *testing.T) {
	w := serve(t, worldOptions{})
	c := w.client(func(o *remote.ClientOptions) { o.UploadLimit = 64 }) // 4 KiB would take more than a minute
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	if err := c.Put(ctx, "packs/a", bytes.NewReader(randomBytes(1, 4<<10)), 4<<10); err != nil {
		t.Fatal(err)
	}
}
