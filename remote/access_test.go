package remote_test

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/remote"
)

func TestARoleAllowsWhatItSaysAndNoMore(t *testing.T) {
	w := serve(t, worldOptions{})
	put := func(name string) func(*remote.Client) error {
		return func(c *remote.Client) error {
			return c.Put(t.Context(), name, strings.NewReader("x"), 1)
		}
	}
	commit := func(folder string, blobs ...string) func(*remote.Client) error {
		return func(c *remote.Client) error {
			commit := blob.Commit{Sealed: []byte("head")}
			for _, name := range blobs {
				commit.Blobs = append(commit.Blobs, blob.Blob{Name: name, Data: []byte("y")})
			}
			_, err := c.Commit(t.Context(), folder, commit)
			return err
		}
	}
	for _, name := range []string{"seen/read", "seen/append", "seen/write", "seen/admin", "seen/any"} {
		if err := w.store.Put(t.Context(), name, strings.NewReader("x"), 1); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := w.store.Commit(t.Context(), "there", blob.Commit{Sealed: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	record := strings.Repeat("0", 16) + "-" + strings.Repeat("0", 16) + "-" + strings.Repeat("0", 64)
	tests := []struct {
		name  string
		least remote.Role // the first role that may
		do    func(role remote.Role) func(*remote.Client) error
	}{
		{"read an object", remote.RoleRead, func(remote.Role) func(*remote.Client) error {
			return func(c *remote.Client) error { _, err := c.Stat(t.Context(), "seen/any"); return err }
		}},
		{"list", remote.RoleRead, func(remote.Role) func(*remote.Client) error {
			return func(c *remote.Client) error {
				return c.List(t.Context(), "", "", func(blob.Info) error { return nil })
			}
		}},
		{"read heads", remote.RoleRead, func(remote.Role) func(*remote.Client) error {
			return func(c *remote.Client) error { _, err := c.Head(t.Context(), "there"); return err }
		}},
		{"put a pack", remote.RoleAppend, func(r remote.Role) func(*remote.Client) error { return put("packs/" + string(r)) }},
		{"put a key", remote.RoleAppend, func(r remote.Role) func(*remote.Client) error { return put("keys/" + string(r)) }},
		{"commit", remote.RoleAppend, func(r remote.Role) func(*remote.Client) error { return commit("folder-" + string(r)) }},
		{"commit with a pack", remote.RoleAppend, func(r remote.Role) func(*remote.Client) error {
			return commit("packed-"+string(r), "packs/of-"+string(r))
		}},
		{"put policy", remote.RoleWrite, func(r remote.Role) func(*remote.Client) error { return put("config/" + string(r)) }},
		{"put rules", remote.RoleWrite, func(r remote.Role) func(*remote.Client) error { return put("policy/f/rules-" + string(r)) }},
		{"put a mark", remote.RoleWrite, func(r remote.Role) func(*remote.Client) error { return put("marks/" + string(r)) }},
		{"put a log segment", remote.RoleWrite, func(r remote.Role) func(*remote.Client) error { return put("log/f/" + string(r)) }},
		{"put a record of its own making", remote.RoleWrite, func(r remote.Role) func(*remote.Client) error {
			return put("snapshots/" + string(r) + "/" + record)
		}},
		{"commit with a mark", remote.RoleWrite, func(r remote.Role) func(*remote.Client) error {
			return commit("marked-"+string(r), "marks/of-"+string(r))
		}},
		{"delete", remote.RoleWrite, func(r remote.Role) func(*remote.Client) error {
			return func(c *remote.Client) error { return c.Delete(t.Context(), "seen/"+string(r)) }
		}},
	}
	roles := []remote.Role{remote.RoleRead, remote.RoleAppend, remote.RoleWrite, remote.RoleAdmin}
	for _, role := range roles {
		c := w.token(string(role), role)
		if info, err := c.Probe(t.Context()); err != nil || info.Role != role || info.Token != string(role) || info.Repository {
			t.Errorf("Probe as %s: %+v, %v", role, info, err)
		}
		for _, test := range tests {
			t.Run(string(role)+" "+test.name, func(t *testing.T) {
				err := test.do(role)(c)
				if slices.Index(roles, role) >= slices.Index(roles, test.least) {
					if err != nil {
						t.Errorf("refused: %v", err)
					}
					return
				}
				if !errors.Is(err, blob.ErrUnauthorized) || !errors.Is(err, fs.ErrPermission) {
					t.Errorf("got %v, want a refusal", err)
				}
			})
		}
	}
	for _, name := range []string{"packs/read", "marks/append", "marks/of-append", "config/append", "policy/f/rules-append"} {
		if _, err := w.store.Stat(t.Context(), name); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s is there after it was refused: %v", name, err)
		}
	}
	if _, err := w.store.Head(t.Context(), "marked-append"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a refused commit moved a head: %v", err)
	}
}

func TestAWrongKeyIsSlowedDownAndThenBlocked(t *testing.T) {
	const pause = 30 * time.Millisecond
	w := serve(t, worldOptions{change: func(o *remote.ServerOptions) { o.Limits.WrongKey = pause }})
	good := w.client(nil)
	if _, err := good.Probe(t.Context()); err != nil {
		t.Fatal(err)
	}
	status := func(key string) int {
		request, _ := http.NewRequest(http.MethodGet, w.url+"/v1/heads", nil)
		if key != "" {
			request.Header.Set("X-API-Key", key)
		}
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode == http.StatusTooManyRequests && response.Header.Get("Retry-After") == "" {
			t.Error("429 without Retry-After")
		}
		return response.StatusCode
	}
	if got := status(""); got != http.StatusUnauthorized {
		t.Errorf("no key: %d", got)
	}
	begun := time.Now()
	got := []int{}
	for range 14 {
		got = append(got, status("wrong"))
	}
	if spent := time.Since(begun); spent < 10*pause {
		t.Errorf("14 wrong keys were answered within %s", spent)
	}
	if got[0] != http.StatusUnauthorized || got[13] != http.StatusTooManyRequests {
		t.Errorf("wrong keys are answered %v, want 401 and in the end 429", got)
	}
	// Who was let in before is not locked out by the guesser beside it.
	if _, err := good.Probe(t.Context()); err != nil {
		t.Errorf("the right key, after wrong ones from the same address: %v", err)
	}
	// A right key that was never seen from here is not told from a wrong one.
	key, err := w.tokens.Add("late", remote.RoleRead)
	if err != nil {
		t.Fatal(err)
	}
	if got := status(key); got != http.StatusTooManyRequests {
		t.Errorf("a guess that is right: %d, want 429", got)
	}
}

func TestAWrongKeyIsUnauthorized(t *testing.T) {
	w := serve(t, worldOptions{})
	for _, key := range []string{"wrong", ""} {
		c := w.client(func(o *remote.ClientOptions) { o.Key = key })
		if _, err := c.Probe(t.Context()); !errors.Is(err, blob.ErrUnauthorized) {
			t.Errorf("key %q: %v, want ErrUnauthorized", key, err)
		}
	}
}

func TestTokensComeAndGoWhileTheServerRuns(t *testing.T) {
	var mu sync.Mutex
	now := time.Now()
	clock := func() time.Time { mu.Lock(); defer mu.Unlock(); return now }
	path := filepath.Join(t.TempDir(), "tokens.json")
	serving, err := remote.LoadTokens(path, clock)
	if err != nil {
		t.Fatal(err)
	}
	first, err := serving.First()
	if err != nil || first == "" {
		t.Fatalf("First: %q, %v", first, err)
	}
	if again, err := serving.First(); again != "" || err != nil {
		t.Fatalf("First again: %q, %v", again, err)
	}
	command, err := remote.LoadTokens(path, nil) // another process
	if err != nil {
		t.Fatal(err)
	}
	key, err := command.Add("laptop", remote.RoleAppend)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := command.Add("laptop", remote.RoleRead); !errors.Is(err, fs.ErrExist) {
		t.Errorf("a second token of one name: %v", err)
	}
	tick := func() { mu.Lock(); defer mu.Unlock(); now = now.Add(2 * time.Second) }
	tick()
	if token, ok := serving.Lookup(key); !ok || token.Name != "laptop" || token.Role != remote.RoleAppend {
		t.Errorf("Lookup of the new key: %+v, %v", token, ok)
	}
	if err := command.Remove("laptop"); err != nil {
		t.Fatal(err)
	}
	if err := command.Remove("laptop"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("Remove again: %v", err)
	}
	tick()
	if _, ok := serving.Lookup(key); ok {
		t.Error("a removed key is still accepted")
	}
	// A file that cannot be read does not lock everybody out, or let anybody in.
	if err := os.WriteFile(path, []byte("{nonsense"), 0o600); err != nil {
		t.Fatal(err)
	}
	tick()
	if _, ok := serving.Lookup(first); !ok {
		t.Error("a broken token file locks out")
	}
	if _, ok := serving.Lookup(""); ok {
		t.Error("the empty key is accepted")
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("token file: %v, %v", info.Mode(), err)
	}
	if text, _ := os.ReadFile(path); bytes.Contains(text, []byte(first)) {
		t.Error("the token file holds a key in the clear")
	}
}

func TestKeysAreNotLogged(t *testing.T) {
	var log lockedBuffer
	w := serve(t, worldOptions{change: func(o *remote.ServerOptions) { o.Logger = log.logger() }})
	c := w.client(func(o *remote.ClientOptions) { o.Logger = log.logger() })
	if err := c.Put(t.Context(), "packs/a", strings.NewReader("x"), 1); err != nil {
		t.Fatal(err)
	}
	w.client(func(o *remote.ClientOptions) { o.Key = "guessed-secret" }).Probe(t.Context())
	response, err := http.Get(w.url + "/v1/heads?key=" + testKey)
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	w.stop()
	text := log.String()
	if !strings.Contains(text, "packs/a") || !strings.Contains(text, "wrong key") {
		t.Fatalf("the log lacks what it should hold:\n%s", text)
	}
	for _, secret := range []string{testKey, "guessed-secret"} {
		if strings.Contains(text, secret) {
			t.Errorf("the log holds the key %s", secret)
		}
	}
}

func TestOperationsAreKept(t *testing.T) {
	dir := t.TempDir()
	w := serve(t, worldOptions{dir: dir})
	laptop := w.token("laptop", remote.RoleAppend)
	if err := laptop.Put(t.Context(), "packs/a", strings.NewReader("abc"), 3); err != nil {
		t.Fatal(err)
	}
	if err := laptop.Delete(t.Context(), "packs/a"); err == nil {
		t.Fatal("append deleted")
	}
	if _, err := laptop.Commit(t.Context(), "f", blob.Commit{Sealed: []byte("x")}); err != nil {
		t.Fatal(err)
	}
	w.stop()
	w = serve(t, worldOptions{dir: dir}) // and over a restart
	if err := w.client(nil).Delete(t.Context(), "packs/a"); err != nil {
		t.Fatal(err)
	}
	request, _ := http.NewRequest(http.MethodGet, w.url+"/v1/operations?limit=10", nil)
	request.Header.Set("Authorization", "Bearer "+testKey)
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	body, _ := io.ReadAll(response.Body)
	for i, want := range []string{
		`"number":1,`, `"token":"laptop","action":"put","object":"packs/a","bytes":3`,
		`"token":"laptop","action":"refused","object":"DELETE /v1/blobs/packs/a"`,
		`"token":"laptop","action":"commit","object":"f"`,
		`"number":4,`, `"token":"test","action":"delete","object":"packs/a"`,
	} {
		if !strings.Contains(string(body), want) {
			t.Errorf("%d: operations lack %s:\n%s", i, want, body)
		}
	}
}

func TestOpenDoorsNeedNoKey(t *testing.T) {
	w := serve(t, worldOptions{})
	for path, want := range map[string]string{"/": "syncfs file server", "/healthz": "ok", "/metrics": "syncfs_server_requests_total"} {
		response, err := http.Get(w.url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != http.StatusOK || !strings.Contains(string(body), want) && path != "/metrics" {
			t.Errorf("GET %s: %d %q", path, response.StatusCode, body)
		}
	}
	for _, path := range []string{"/v1/", "/v1/blobs", "/v1/blobs/config", "/v1/heads", "/v1/events", "/v1/operations"} {
		response, err := http.Get(w.url + path)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(response.Body)
		response.Body.Close()
		if response.StatusCode != http.StatusUnauthorized || !bytes.Contains(body, []byte(`"code":"unauthorized"`)) {
			t.Errorf("GET %s without a key: %d %q", path, response.StatusCode, body)
		}
	}
}
