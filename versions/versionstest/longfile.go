package versionstest

import (
	"context"
	"testing"

	"github.com/syncfs/syncfs/internal/chunk"
	"github.com/syncfs/syncfs/versions"
)

// LongFile stores a file of n pieces of one byte each (offset modulo 251): a
// list of several levels without the gigabytes.
func LongFile(t testing.TB, m *Memory, n int) versions.Entry {
	t.Helper()
	ctx := context.Background()
	ids := make([]chunk.ID, min(n, 251))
	for i := range ids {
		id, err := m.Put(ctx, chunk.Data, []byte{byte(i)})
		if err != nil {
			t.Fatal(err)
		}
		ids[i] = id
	}
	pieces := make([]versions.Piece, n)
	for i := range pieces {
		pieces[i] = versions.Piece{ID: ids[i%251], Length: 1}
	}
	e, err := versions.StorePieces(ctx, m, pieces)
	if err != nil {
		t.Fatal(err)
	}
	return e
}
