package remote_test

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/syncfs/syncfs/internal/blob"
)

// BenchmarkPush measures a commit of a small round until another client has its
// event.
func BenchmarkPush(b *testing.B) {
	for _, useTLS := range []bool{false, true} {
		b.Run(fmt.Sprintf("tls=%v", useTLS), func(b *testing.B) {
			w := serve(b, worldOptions{tls: useTLS})
			events := make(chan time.Time, 1)
			ready := make(chan struct{})
			ctx, cancel := context.WithCancel(b.Context())
			watched := make(chan error, 1)
			go func() {
				watched <- w.client(nil).Watch(ctx, func() { close(ready) }, func(blob.Event) { events <- time.Now() })
			}()
			<-ready
			c := w.client(nil)
			pack := randomBytes(1, 16<<10)
			var event, answer []time.Duration
			for i := uint64(0); b.Loop(); i++ {
				begun := time.Now()
				_, err := c.Commit(b.Context(), "f", blob.Commit{
					Expect: i, Sealed: pack[:200], ID: strings.Repeat("ab", 32), Record: pack[:400],
					Blobs: []blob.Blob{{Name: fmt.Sprintf("packs/%d", i), Data: pack}},
				})
				if err != nil {
					b.Fatal(err)
				}
				answer = append(answer, time.Since(begun))
				event = append(event, (<-events).Sub(begun))
			}
			cancel()
			<-watched
			report := func(name string, all []time.Duration) {
				slices.Sort(all)
				b.ReportMetric(float64(all[len(all)/2].Microseconds())/1000, name+"-median-ms")
				b.ReportMetric(float64(all[len(all)*99/100].Microseconds())/1000, name+"-p99-ms")
			}
			report("event", event)
			report("answer", answer)
		})
	}
}

// BenchmarkTransfer measures packs of 16 MiB, one after the other and four at
// once.
func BenchmarkTransfer(b *testing.B) {
	const size = 16 << 20
	data := randomBytes(2, size)
	for _, useTLS := range []bool{false, true} {
		for _, parallel := range []int{1, 4} {
			w := serve(b, worldOptions{tls: useTLS})
			c := w.client(nil)
			name := fmt.Sprintf("tls=%v/parallel=%d", useTLS, parallel)
			if err := w.store.Put(b.Context(), "packs/there", bytes.NewReader(data), size); err != nil {
				b.Fatal(err)
			}
			next := 0
			each := func(b *testing.B, fn func(n int) error) {
				b.SetBytes(size * int64(parallel))
				for b.Loop() {
					var group errgroup.Group
					for range parallel {
						next++
						n := next
						group.Go(func() error { return fn(n) })
					}
					if err := group.Wait(); err != nil {
						b.Fatal(err)
					}
				}
			}
			b.Run("put/"+name, func(b *testing.B) {
				each(b, func(n int) error {
					return c.Put(b.Context(), fmt.Sprintf("packs/%d", n), bytes.NewReader(data), size)
				})
			})
			b.Run("get/"+name, func(b *testing.B) {
				each(b, func(int) error {
					r, err := c.Get(b.Context(), "packs/there", 0, -1)
					if err != nil {
						return err
					}
					defer r.Close()
					_, err = io.Copy(io.Discard, r)
					return err
				})
			})
			w.stop()
		}
	}
}
