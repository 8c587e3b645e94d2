package remote_test

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/remote"
)

// everything calls all that a client can do and returns the errors.
func everything(t *testing.T, c *remote.Client) map[string]error {
	errs := map[string]error{}
	_, errs["Probe"] = c.Probe(t.Context())
	_, errs["Stat"] = c.Stat(t.Context(), "packs/a")
	errs["Put"] = c.Put(t.Context(), "packs/a", strings.NewReader("hello"), 5)
	errs["Put large"] = c.Put(t.Context(), "packs/b", bytes.NewReader(make([]byte, 2<<20)), 2<<20)
	errs["List"] = c.List(t.Context(), "", "", func(blob.Info) error { return nil })
	errs["Delete"] = c.Delete(t.Context(), "packs/a")
	_, errs["Head"] = c.Head(t.Context(), "f")
	_, errs["ListHeads"] = c.ListHeads(t.Context())
	_, errs["Commit"] = c.Commit(t.Context(), "f", blob.Commit{Sealed: []byte("x")})
	errs["Watch"] = c.Watch(t.Context(), func() {}, func(blob.Event) {})
	errs["Get"] = readGet(t, c, 0, -1)
	errs["Get part"] = readGet(t, c, 1, 3)
	return errs
}

func readGet(t *testing.T, c *remote.Client, offset, length int64) error {
	r, err := c.Get(t.Context(), "packs/a", offset, length)
	if err != nil {
		return err
	}
	defer r.Close()
	_, err = io.Copy(io.Discard, r)
	return err
}

func TestWhatIsNoServerIsSaidToBeNone(t *testing.T) {
	page := func(status int, body string) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(status); io.WriteString(w, body) }
	}
	tests := map[string]http.HandlerFunc{
		"a web site":          page(200, "<html>hello</html>"),
		"not found":           page(404, "<html>404</html>"),
		"a redirect":          func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, "/login", http.StatusFound) },
		"json of another API": page(200, `{"status":"fine"}`),
		"unauthorized":        page(401, ""),
		"an empty answer":     page(204, ""),
		"a later version": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Syncfs-Api", "9")
			io.WriteString(w, "{}")
		},
	}
	for name, handler := range tests {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(handler)
			defer server.Close()
			for call, err := range everything(t, newClient(t, remote.ClientOptions{URL: server.URL, Key: "k"}, nil)) {
				if !errors.Is(err, remote.ErrNotServer) {
					t.Errorf("%s: %v, want ErrNotServer", call, err)
				}
			}
		})
	}
}

func TestWhatDoesNotSpeakHTTPIsNoServer(t *testing.T) {
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := ln.Accept()
			if err != nil {
				return
			}
			io.WriteString(conn, "SSH-2.0-OpenSSH_9.2\r\nmore\r\n\r\n")
			time.Sleep(5 * time.Millisecond)
			conn.Close()
		}
	}()
	defer func() { ln.Close(); <-done }()
	for _, scheme := range []string{"http", "https"} {
		c := newClient(t, remote.ClientOptions{URL: scheme + "://" + ln.Addr().String(), Tries: 2}, nil)
		if _, err := c.Probe(t.Context()); !errors.Is(err, remote.ErrNotServer) {
			t.Errorf("%s to an SSH server: %v, want ErrNotServer", scheme, err)
		}
	}
}

func TestTheWrongSchemeIsExplained(t *testing.T) {
	plain, secure := serve(t, worldOptions{}), serve(t, worldOptions{tls: true})
	for _, url := range []string{"https://" + plain.addr, "http://" + secure.addr} {
		_, err := newClient(t, remote.ClientOptions{URL: url, Key: testKey, Tries: 2}, nil).Probe(t.Context())
		if !errors.Is(err, remote.ErrNotServer) {
			t.Errorf("%s: %v, want ErrNotServer", url, err)
		}
	}
}

func TestGarbageOfAServerIsAnError(t *testing.T) {
	answers := map[string]http.HandlerFunc{
		"no json": func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "{{{{") },
		"zeros":   func(w http.ResponseWriter, _ *http.Request) { w.Write(make([]byte, 5000)) },
		"null":    func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "null") },
		"a list":  func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "[1,2,3]") },
		"bad error": func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(404)
			io.WriteString(w, `{"code":"moved","message":"\u001b[2J"}`)
		},
		"wrong objects": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"objects":[{"name":"../../etc/passwd","size":-5}],"heads":[{"folder":"../x","number":0}],"folder":"other","number":7,"offset":-3}`)
		},
		"endless page": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, `{"objects":[{"name":"a","size":1}],"next":"0"}`)
		},
		"a wrong range": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Range", "bytes 7-9/10")
			w.WriteHeader(206)
			io.WriteString(w, "abc")
		},
		"a false digest": func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Repr-Digest", "sha-256=:"+strings.Repeat("A", 43)+"=:")
			w.Header().Set("Content-Length", "5")
			io.WriteString(w, "hello")
		},
		"events of nothing": func(w http.ResponseWriter, _ *http.Request) {
			io.WriteString(w, "event: ready\ndata: {\"keepAliveSeconds\":1}\n\nevent: head\ndata: {\"folder\":\"\"}\n\n")
		},
	}
	for name, handler := range answers {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				io.Copy(io.Discard, r.Body)
				w.Header().Set("Syncfs-Api", "1")
				handler(w, r)
			}))
			defer server.Close()
			c := newClient(t, remote.ClientOptions{URL: server.URL, Key: "k", Tries: 2}, nil)
			for call, err := range everything(t, c) {
				// A bare 200 is all that these three need; a 404 is "not there".
				switch call {
				case "Put", "Put large", "Delete":
					if name != "bad error" {
						continue
					}
				}
				if call == "List" && name == "null" || call == "ListHeads" && strings.Contains("null, endless page", name) {
					continue // an empty listing
				}
				if err == nil {
					t.Errorf("%s believed %s", call, name)
				} else if strings.Contains(err.Error(), "\x1b") {
					t.Errorf("%s passes control characters on: %q", call, err)
				}
			}
		})
	}
}

func TestABodyThatIsCutIsAnError(t *testing.T) {
	data := randomBytes(6, 100_000)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Syncfs-Api", "1")
		h.Set("Repr-Digest", "sha-256=:"+strings.Repeat("A", 43)+"=:")
		h.Set("Content-Length", fmt.Sprint(len(data)))
		if r.Header.Get("Range") != "" {
			h.Set("Content-Range", fmt.Sprintf("bytes %s/%d", strings.TrimPrefix(r.Header.Get("Range"), "bytes="), len(data)))
			w.WriteHeader(206)
			panic(http.ErrAbortHandler)
		}
		w.Write(data[:50_000])
		w.(http.Flusher).Flush()
		panic(http.ErrAbortHandler)
	}))
	defer server.Close()
	server.Config.ErrorLog = nil
	c := newClient(t, remote.ClientOptions{URL: server.URL, Tries: 2}, nil)
	r, err := c.Get(t.Context(), "packs/a", 0, -1)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	got, err := io.ReadAll(r)
	if err == nil || !bytes.HasPrefix(data, got) {
		t.Errorf("read %d bytes of a body that is cut: %v", len(got), err)
	}
}

func TestBytesThatGoBadOnTheWayAreNotStored(t *testing.T) {
	w := serve(t, worldOptions{})
	for _, size := range []int{100, 3 << 20} {
		data := randomBytes(7, size)
		request, err := http.NewRequest(http.MethodPut, w.url+"/v1/blobs/packs/a", bytes.NewReader(data))
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("X-API-Key", testKey)
		request.Header.Set("Repr-Digest", "sha-256=:"+strings.Repeat("A", 43)+"=:")
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusUnprocessableEntity {
			t.Errorf("%d bytes with a false digest: %d, want 422", size, response.StatusCode)
		}
		if _, err := w.store.Stat(t.Context(), "packs/a"); err == nil {
			t.Errorf("%d bytes with a false digest were stored", size)
		}
	}
}
