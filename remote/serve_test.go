package remote_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"encoding/pem"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/remote"
)

func TestASelfSignedServerIsPinned(t *testing.T) {
	dir := t.TempDir()
	w := serve(t, worldOptions{dir: dir, tls: true})
	_, err := w.client(func(o *remote.ClientOptions) { o.Pin = "" }).Probe(t.Context())
	var untrusted *remote.UntrustedError
	if !errors.As(err, &untrusted) || untrusted.Fingerprint != w.pin {
		t.Fatalf("Probe without a pin: %v, want an UntrustedError with %s", err, w.pin)
	}
	other := "sha256:" + strings.Repeat("0", 64)
	_, err = w.client(func(o *remote.ClientOptions) { o.Pin = other }).Probe(t.Context())
	if !errors.As(err, &untrusted) || untrusted.Pinned != other {
		t.Errorf("Probe with another pin: %v, want an UntrustedError", err)
	}
	info, err := w.client(nil).Probe(t.Context())
	if err != nil || info.Fingerprint != w.pin || info.Role != remote.RoleAdmin || info.Repository {
		t.Errorf("Probe: %+v, %v", info, err)
	}
	if err := w.store.Put(t.Context(), "config", strings.NewReader("{}"), 2); err != nil {
		t.Fatal(err)
	}
	if info, err := w.client(nil).Probe(t.Context()); err != nil || !info.Repository {
		t.Errorf("Probe with a repository: %+v, %v", info, err)
	}
	w.stop()
	if again := serve(t, worldOptions{dir: dir, tls: true}); again.pin != w.pin {
		t.Errorf("the certificate changed over a restart: %s, %s", w.pin, again.pin)
	}
	if info, err := os.Stat(filepath.Join(dir, "server", "tls.pem")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the secret key's file: %v, %v", info.Mode(), err)
	}
}

func TestACertificateFromFilesIsServed(t *testing.T) {
	dir := t.TempDir()
	_, want, err := remote.SelfSigned(filepath.Join(dir, "both.pem"), []string{"localhost"}, time.Now)
	if err != nil {
		t.Fatal(err)
	}
	both, err := os.ReadFile(filepath.Join(dir, "both.pem"))
	if err != nil {
		t.Fatal(err)
	}
	cert, rest := pem.Decode(both)
	for name, data := range map[string][]byte{"cert.pem": pem.EncodeToMemory(cert), "key.pem": rest} {
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	config, got, err := remote.LoadCertificate(filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem"))
	if err != nil || got != want || len(config.Certificates) != 1 {
		t.Errorf("LoadCertificate: %s, %v, want %s", got, err, want)
	}
	if _, _, err := remote.LoadCertificate(filepath.Join(dir, "key.pem"), filepath.Join(dir, "cert.pem")); err == nil {
		t.Error("a key was taken for a certificate")
	}
}

func TestFingerprintsAreReadInTheirSpellings(t *testing.T) {
	want := "sha256:" + strings.Repeat("ab", 32)
	for _, spelling := range []string{
		want, strings.ToUpper(want), strings.Repeat("ab", 32), " " + want + "\n",
		"sha256 Fingerprint=" + strings.TrimSuffix(strings.Repeat("AB:", 32), ":"),
	} {
		if got, err := remote.ParseFingerprint(spelling); err != nil || got != want {
			t.Errorf("ParseFingerprint(%q) = %q, %v", spelling, got, err)
		}
	}
	for _, bad := range []string{"", "sha256:", "sha1:abcd", strings.Repeat("ab", 31), strings.Repeat("zz", 32)} {
		if got, err := remote.ParseFingerprint(bad); err == nil {
			t.Errorf("ParseFingerprint(%q) = %q", bad, got)
		}
	}
}

func TestAllProtocolsAreSpoken(t *testing.T) {
	plain, secure := serve(t, worldOptions{}), serve(t, worldOptions{tls: true})
	tests := []struct {
		name, url, want string
		set             func(*http.Protocols)
	}{
		{"HTTP/1.1", plain.url, "HTTP/1.1", func(p *http.Protocols) { p.SetHTTP1(true) }},
		{"HTTP/2 without TLS", plain.url, "HTTP/2.0", func(p *http.Protocols) { p.SetUnencryptedHTTP2(true) }},
		{"HTTP/1.1 over TLS", secure.url, "HTTP/1.1", func(p *http.Protocols) { p.SetHTTP1(true) }},
		{"HTTP/2 over TLS", secure.url, "HTTP/2.0", func(p *http.Protocols) { p.SetHTTP2(true) }},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			transport := &http.Transport{Protocols: new(http.Protocols), TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}
			test.set(transport.Protocols)
			defer transport.CloseIdleConnections()
			response, err := (&http.Client{Transport: transport}).Get(test.url + "/")
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if response.Proto != test.want || response.StatusCode != http.StatusOK {
				t.Errorf("%s %d, want %s", response.Proto, response.StatusCode, test.want)
			}
		})
	}
}

func TestASecondServerOnTheSameDataIsRefused(t *testing.T) {
	dir := t.TempDir()
	data, err := remote.OpenData(dir, remote.DataOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = remote.OpenData(dir, remote.DataOptions{})
	var busy *remote.BusyError
	if !errors.Is(err, remote.ErrBusy) || !errors.As(err, &busy) || busy.PID != os.Getpid() {
		t.Errorf("OpenData again: %v, want a BusyError with pid %d", err, os.Getpid())
	}
	if err := data.Close(); err != nil {
		t.Fatal(err)
	}
	data, err = remote.OpenData(dir, remote.DataOptions{})
	if err != nil {
		t.Fatalf("OpenData after Close: %v", err)
	}
	if err := data.Close(); err != nil {
		t.Error(err)
	}
}

func TestAConnectionMayRestBetweenRequests(t *testing.T) {
	const stall = 100 * time.Millisecond
	w := serve(t, worldOptions{change: func(o *remote.ServerOptions) { o.Limits.Stall = stall }})
	if err := w.store.Put(t.Context(), "packs/a", strings.NewReader("abc"), 3); err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{MaxConnsPerHost: 1}
	defer transport.CloseIdleConnections()
	var reused int
	do := func(method, path, body string, want int) {
		t.Helper()
		request, err := http.NewRequest(method, w.url+path, strings.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
			if info.Reused {
				reused++
			}
		}}
		request = request.WithContext(httptrace.WithClientTrace(t.Context(), trace))
		request.Header.Set("X-API-Key", testKey)
		request.Header.Set("Repr-Digest", digestHeader([]byte(body)))
		response, err := transport.RoundTrip(request)
		if err != nil {
			t.Fatalf("%s %s: %v", method, path, err)
		}
		defer response.Body.Close()
		if _, err := io.Copy(io.Discard, response.Body); err != nil || response.StatusCode != want {
			t.Errorf("%s %s: %d, %v, want %d", method, path, response.StatusCode, err, want)
		}
		time.Sleep(3 * stall)
	}
	do(http.MethodGet, "/v1/blobs/packs/a", "", http.StatusOK)
	do(http.MethodGet, "/v1/heads", "", http.StatusOK)
	do(http.MethodPut, "/v1/blobs/packs/a", "taken", http.StatusConflict)
	do(http.MethodPut, "/v1/blobs/packs/b", "free", http.StatusCreated)
	do(http.MethodGet, "/v1/blobs/packs/b", "", http.StatusOK)
	if reused != 4 {
		t.Errorf("%d of 4 requests found their connection alive", reused)
	}
}

// slowStore takes its time to put, and tells when it begins.
type slowStore struct {
	blob.Store
	begun  chan struct{}
	finish chan struct{}
}

func (s *slowStore) Put(ctx context.Context, name string, r io.ReaderAt, size int64) error {
	close(s.begun)
	select {
	case <-s.finish:
		return s.Store.Put(ctx, name, r, size)
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestStoppingFinishesRequestsAndEndsStreams(t *testing.T) {
	slow := &slowStore{Store: blob.NewMem(nil), begun: make(chan struct{}), finish: make(chan struct{})}
	w := serve(t, worldOptions{store: slow})
	c := w.client(func(o *remote.ClientOptions) { o.Tries = 1 })
	watched := make(chan error, 1)
	ready := make(chan struct{})
	go func() { watched <- c.Watch(context.Background(), func() { close(ready) }, func(blob.Event) {}) }()
	<-ready
	put := make(chan error, 1)
	go func() { put <- c.Put(context.Background(), "packs/a", strings.NewReader("abc"), 3) }()
	<-slow.begun
	stopped := make(chan struct{})
	go func() { defer close(stopped); w.stop() }()
	if err := <-watched; !errors.Is(err, blob.ErrOffline) {
		t.Errorf("Watch: %v, want ErrOffline", err)
	}
	select {
	case <-stopped:
		t.Error("the server stopped with a request running")
	case <-time.After(50 * time.Millisecond):
	}
	close(slow.finish)
	if err := <-put; err != nil {
		t.Errorf("a request that ran when the server stopped: %v", err)
	}
	<-stopped
}

func TestARequestThatDoesNotEndIsCutWhenStopping(t *testing.T) {
	slow := &slowStore{Store: blob.NewMem(nil), begun: make(chan struct{}), finish: make(chan struct{})}
	w := serve(t, worldOptions{store: slow, change: func(o *remote.ServerOptions) { o.Limits.Grace = 50 * time.Millisecond }})
	c := w.client(func(o *remote.ClientOptions) { o.Tries = 1 })
	put := make(chan error, 1)
	go func() { put <- c.Put(context.Background(), "packs/a", strings.NewReader("abc"), 3) }()
	<-slow.begun
	w.stop()
	if err := <-put; !errors.Is(err, blob.ErrOffline) {
		t.Errorf("Put at a server that is gone: %v, want ErrOffline", err)
	}
}

// counted is an object of any size that takes no memory.
type counted int64

func (c counted) ReadAt(p []byte, off int64) (int, error) {
	n := min(int64(len(p)), int64(c)-off)
	for rest, at := p[:n], off; len(rest) > 0; {
		block := rest[:min(int64(len(rest)), 4096-at%4096)]
		block[0] = byte(at >> 12)
		for done := 1; done < len(block); done *= 2 {
			copy(block[done:], block[:done])
		}
		rest, at = rest[len(block):], at+int64(len(block))
	}
	if n < int64(len(p)) {
		return int(n), io.EOF
	}
	return int(n), nil
}

// countedStore has one object, and checks what is put against it.
type countedStore struct {
	blob.Store
	size int64
	put  atomic.Int64
}

func (s *countedStore) Put(_ context.Context, _ string, r io.ReaderAt, size int64) error {
	got, want := make([]byte, 64<<10), make([]byte, 64<<10)
	for off := int64(0); off < size; off += int64(len(got)) {
		n, _ := r.ReadAt(got, off)
		counted(size).ReadAt(want, off)
		if !bytes.Equal(got[:n], want[:n]) {
			return errors.New("other bytes")
		}
		s.put.Add(int64(n))
	}
	return nil
}

func (s *countedStore) Stat(_ context.Context, name string) (blob.Info, error) {
	if name == "packs/here" {
		return blob.Info{Name: name, Size: s.size}, nil
	}
	return s.Store.Stat(context.Background(), name)
}

func (s *countedStore) Get(_ context.Context, _ string, offset, length int64) (io.ReadCloser, error) {
	return io.NopCloser(io.NewSectionReader(counted(s.size), offset, s.size-offset)), nil
}

func TestMemoryDoesNotGrowWithAnObject(t *testing.T) {
	const size, back = 1 << 30, 256 << 20
	store := &countedStore{Store: blob.NewMem(nil), size: back}
	w := serve(t, worldOptions{store: store})
	c := w.client(nil)
	var most uint64
	stop, watched := make(chan struct{}), make(chan struct{})
	runtime.GC()
	var before runtime.MemStats
	runtime.ReadMemStats(&before)
	go func() {
		defer close(watched)
		for {
			var now runtime.MemStats
			runtime.ReadMemStats(&now)
			most = max(most, now.HeapInuse)
			select {
			case <-stop:
				return
			case <-time.After(20 * time.Millisecond):
			}
		}
	}()
	if err := c.Put(t.Context(), "packs/new", counted(size), size); err != nil {
		t.Fatal(err)
	}
	r, err := c.Get(t.Context(), "packs/here", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	n, err := io.CopyBuffer(struct{ io.Writer }{io.Discard}, r, make([]byte, 64<<10))
	if err != nil {
		t.Fatal(err)
	}
	close(stop)
	<-watched
	if n != back || store.put.Load() != size {
		t.Errorf("put %d and got %d bytes", store.put.Load(), n)
	}
	t.Logf("client and server together: %d KiB of heap at first, %d KiB at most", before.HeapInuse>>10, most>>10)
	if most > before.HeapInuse+16<<20 {
		t.Errorf("the heap grew from %d to %d bytes for one object", before.HeapInuse, most)
	}
}
