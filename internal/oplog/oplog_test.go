package oplog_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"os"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/oplog"
	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/internal/store"
)

// remote is one that can be out of reach.
type remote struct {
	blob.Store
	down bool
}

// Put is blob.Store's.
func (r *remote) Put(ctx context.Context, name string, data io.ReaderAt, size int64) error {
	if r.down {
		return fmt.Errorf("no way: %w", blob.ErrOffline)
	}
	return r.Store.Put(ctx, name, data, size)
}

func bench(t *testing.T) (*remote, *seal.Keys) {
	t.Helper()
	r := &remote{Store: blob.NewMem(nil)}
	keys, err := store.Init(t.Context(), r, "a passphrase", "test", rand.Reader, store.WorkFactor(1))
	if err != nil {
		t.Fatal(err)
	}
	return r, keys
}

func at(hour int) oplog.Operation {
	return oplog.Operation{
		Time: time.Date(2025, 1, 31, hour, 0, 0, 0, time.UTC), Host: "pc1", What: oplog.Backup, Result: oplog.Success, Bytes: int64(hour),
	}
}

func TestWhatIsRecordedIsReadByTime(t *testing.T) {
	r, keys := bench(t)
	dir := t.TempDir()
	// The machine's disk keeps what does not reach the remote.
	r.down = true
	if err := oplog.Put(t.Context(), r, keys, dir, at(3)); err == nil {
		t.Error("a record was put on a remote that is out of reach")
	}
	r.down = false
	for _, hour := range []int{5, 1} {
		if err := oplog.Put(t.Context(), r, keys, dir, at(hour)); err != nil {
			t.Fatal(err)
		}
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("%d records wait, %v", len(left), err)
	}
	for since, want := range map[int][]oplog.Operation{0: {at(1), at(3), at(5)}, 3: {at(3), at(5)}, 6: nil} {
		got, damaged, err := oplog.Since(t.Context(), r, keys, at(since).Time)
		if err != nil || damaged > 0 || !reflect.DeepEqual(got, want) {
			t.Errorf("since %d: %v, %d damaged, %v", since, got, damaged, err)
		}
	}
	// A record of another time, or that is none, is damaged and hides no other.
	if err := r.Store.Put(t.Context(), "operations/1900000000000000-0011223344556677", strings.NewReader("junk"), 4); err != nil {
		t.Fatal(err)
	}
	got, damaged, err := oplog.Since(t.Context(), r, keys, at(0).Time)
	if err != nil || damaged != 1 || len(got) != 3 {
		t.Errorf("beside a damaged one: %d, %d damaged, %v", len(got), damaged, err)
	}
	if err := oplog.Forget(t.Context(), r, at(4).Time); err != nil {
		t.Fatal(err)
	}
	if got, _, err = oplog.Since(t.Context(), r, keys, time.Time{}); err != nil || len(got) != 1 || got[0].Bytes != 5 {
		t.Errorf("after old ones were forgotten: %v, %v", got, err)
	}
}

// The form of a record never changes: fields are added.
func TestARecordIsReadForEver(t *testing.T) {
	const golden = `{"time":"2025-01-31T20:15:30.5Z","seconds":1.25,"host":"pc1","user":"anna","what":"backup","result":"failed","folder":"pc1:/data","path":"/data","instant":"20250131_201530","files":3,"bytes":1000,"error":"why"}`
	op := oplog.Operation{
		Time: time.Date(2025, 1, 31, 20, 15, 30, 5e8, time.UTC), Seconds: 1.25, Host: "pc1", User: "anna", What: oplog.Backup, Result: oplog.Failed,
		Folder: "pc1:/data", Path: "/data", Instant: "20250131_201530", Files: 3, Bytes: 1000, Error: "why",
	}
	if data, err := oplog.Encode(op); err != nil || string(data) != golden {
		t.Errorf("written as %s, %v", data, err)
	}
	if got, err := oplog.Decode([]byte(golden)); err != nil || !reflect.DeepEqual(got, op) {
		t.Errorf("read as %+v, %v", got, err)
	}
	if _, err := oplog.Decode([]byte(strings.Replace(golden, "{", `{"later":1,`, 1))); err != nil {
		t.Errorf("with another field: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"time":"2025-01-31T20:15:30Z","what":"backup","result":"success"}`))
	f.Add([]byte(`{}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		op, err := oplog.Decode(data)
		if err != nil {
			return
		}
		again, err := oplog.Encode(op)
		if err != nil {
			return // a time that JSON has no spelling for
		}
		if _, err := oplog.Decode(again); err != nil {
			t.Errorf("%s: %v", again, err)
		}
	})
}
