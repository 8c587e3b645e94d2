package store_test

import (
	"context"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

// silent is a remote that takes every question and never answers.
type silent struct{ blob.Store }

func (silent) List(ctx context.Context, _, _ string, _ func(blob.Info) error) error {
	<-ctx.Done()
	return ctx.Err()
}

// A line that swallows everything must not keep an agent from mounting folders.
func TestARemoteThatNeverAnswersDoesNotKeepTheStoreShut(t *testing.T) {
	remote, keys := blob.NewMem(nil), newKeys(t)
	m := newMachine(t, remote, keys)
	s := m.open()
	old := putMany(t, s, 0, 10, 1000)
	round(t, s)
	must(t, s.Close())

	m.remote = silent{remote}
	m.o.OpenWithin = 10 * time.Millisecond
	s = m.open()
	old.wantIn(t, s)
	fresh := putMany(t, s, 50, 10, 1000)
	must(t, s.Flush(t.Context()))
	fresh.wantIn(t, s)
}
