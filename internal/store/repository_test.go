package store_test

import (
	"bytes"
	"errors"
	"io/fs"
	"strings"
	"sync"
	"testing"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/internal/seal"
	"github.com/syncfs/syncfs/internal/store"
)

// cheap makes a passphrase quick to try.
var cheap = store.WorkFactor(4)

func TestARepositoryOpensWithItsPassphrasesAndDevices(t *testing.T) {
	ctx, remote := t.Context(), blob.NewMem(nil)
	if _, err := store.Unlock(ctx, remote, "one"); !errors.Is(err, store.ErrNoRepository) {
		t.Fatalf("Unlock of nothing: %v", err)
	}
	if _, err := store.ListKeys(ctx, remote); !errors.Is(err, store.ErrNoRepository) {
		t.Fatalf("ListKeys of nothing: %v", err)
	}
	keys, err := store.Init(ctx, remote, "one", "first", nil, cheap)
	must(t, err)
	if id, err := store.RepositoryID(ctx, remote); err != nil || id != keys.RepositoryID() {
		t.Fatalf("RepositoryID = %s, %v", id, err)
	}
	if _, err := store.Init(ctx, remote, "two", "", nil, cheap); !errors.Is(err, store.ErrExists) {
		t.Fatalf("second Init: %v, want ErrExists", err)
	}
	wantUnlocked := func(pass string, want bool) {
		t.Helper()
		k, err := store.Unlock(ctx, remote, pass)
		switch {
		case want && (err != nil || k.RepositoryID() != keys.RepositoryID()):
			t.Fatalf("Unlock(%q): %v", pass, err)
		case !want && !errors.Is(err, seal.ErrAuth):
			t.Fatalf("Unlock(%q): %v, want ErrAuth", pass, err)
		}
	}
	wantUnlocked("one", true)
	wantUnlocked("two", false)
	second, err := store.AddPassphrase(ctx, remote, keys, "two", "second", cheap)
	must(t, err)
	wantUnlocked("two", true)
	identity, device, err := store.NewDevice(ctx, remote, keys, "laptop")
	must(t, err)
	k, err := store.UnlockDevice(ctx, remote, identity)
	if err != nil || k.RepositoryID() != keys.RepositoryID() {
		t.Fatalf("UnlockDevice: %v", err)
	}
	infos, err := store.ListKeys(ctx, remote)
	if err != nil || len(infos) != 3 {
		t.Fatalf("ListKeys = %+v, %v", infos, err)
	}
	var first store.KeyInfo
	for _, i := range infos {
		if i.Created.IsZero() {
			t.Errorf("key without a time: %+v", i)
		}
		switch i.Label {
		case "first":
			first = i
		case "second":
			if i != second {
				t.Errorf("listed as %+v, added as %+v", i, second)
			}
		case "laptop":
			if i != device || i.Kind != "device" {
				t.Errorf("listed as %+v, added as %+v", i, device)
			}
		}
	}
	must(t, store.RemoveKey(ctx, remote, first.ID))
	wantUnlocked("one", false)
	wantUnlocked("two", true)
	if err := store.RemoveKey(ctx, remote, second.ID); !errors.Is(err, store.ErrLastPassphrase) {
		t.Fatalf("RemoveKey of the last passphrase: %v", err)
	}
	wantUnlocked("two", true)
	must(t, store.RemoveKey(ctx, remote, device.ID))
	if _, err := store.UnlockDevice(ctx, remote, identity); !errors.Is(err, seal.ErrAuth) {
		t.Fatalf("a removed device: %v", err)
	}
	if err := store.RemoveKey(ctx, remote, "nothing"); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("RemoveKey of nothing: %v", err)
	}
}

func TestOneOfManyInitsWins(t *testing.T) {
	remote := blob.NewMem(nil)
	var wg sync.WaitGroup
	var mu sync.Mutex // guards won
	won := map[string]string{}
	for _, pass := range []string{"a", "b", "c", "d"} {
		wg.Go(func() {
			keys, err := store.Init(t.Context(), remote, pass, pass, nil, cheap)
			if err == nil {
				mu.Lock()
				won[pass] = keys.RepositoryID()
				mu.Unlock()
			} else if !errors.Is(err, store.ErrExists) {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if len(won) != 1 {
		t.Fatalf("%d won", len(won))
	}
	for pass, id := range won {
		keys, err := store.Unlock(t.Context(), remote, pass)
		if err != nil || keys.RepositoryID() != id {
			t.Fatalf("Unlock: %v", err)
		}
	}
	if infos, err := store.ListKeys(t.Context(), remote); err != nil || len(infos) != 1 {
		t.Fatalf("keys %+v, %v", infos, err)
	}
}

func TestAStrangersKeyIsNotUsed(t *testing.T) {
	mine, other := blob.NewMem(nil), blob.NewMem(nil)
	_, err := store.Init(t.Context(), mine, "mine", "", nil, cheap)
	must(t, err)
	_, err = store.Init(t.Context(), other, "other", "", nil, cheap)
	must(t, err)
	for _, name := range listNames(t, other, "keys/") {
		data := readAll(t, other, name)
		must(t, mine.Put(t.Context(), name, bytes.NewReader(data), int64(len(data))))
	}
	if _, err := store.Unlock(t.Context(), mine, "other"); !errors.Is(err, seal.ErrAuth) {
		t.Fatalf("a key of another repository opened: %v", err)
	}
}

func TestADamagedOrNewerConfigIsRefused(t *testing.T) {
	for name, text := range map[string]string{
		"garbage":        "<html>",
		"empty":          "",
		"newer":          `{"format":2,"repository":"` + strings.Repeat("a", 64) + `"}`,
		"no repository":  `{"format":1}`,
		"not an id":      `{"format":1,"repository":"xyz"}`,
		"nothing inside": `{}`,
	} {
		remote := blob.NewMem(nil)
		must(t, remote.Put(t.Context(), "config", strings.NewReader(text), int64(len(text))))
		if id, err := store.RepositoryID(t.Context(), remote); err == nil || errors.Is(err, store.ErrNoRepository) {
			t.Errorf("%s: %q, %v", name, id, err)
		}
		if _, err := store.Init(t.Context(), remote, "x", "", nil, cheap); err == nil || errors.Is(err, store.ErrNoRepository) {
			t.Errorf("%s: Init gives %v", name, err)
		}
	}
}
