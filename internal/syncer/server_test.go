package syncer_test

import (
	"context"
	"net"
	"path/filepath"
	"testing"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
	"github.com/syncfs/syncfs/remote"
)

const serverKey = "the-key-of-these-machines"

// server is a real file server in this process, over a store that outlives it.
type server struct {
	t     testing.TB
	store blob.Store
	dir   string
	addr  string
	stop  func()
}

// serve lets machines that are made from now on reach mem through a server.
func (w *world) serve() {
	w.t.Helper()
	s := &server{t: w.t, store: w.mem, dir: filepath.Join(w.t.TempDir(), "server"), addr: "127.0.0.1:0"}
	s.start()
	w.t.Cleanup(func() { s.stop() })
	w.server = s
}

func (s *server) start() {
	s.t.Helper()
	data, err := remote.OpenData(s.dir, remote.DataOptions{})
	if err != nil {
		s.t.Fatal(err)
	}
	if err := data.Tokens.Grant("machines", remote.RoleAdmin, serverKey); err != nil {
		s.t.Fatal(err)
	}
	o := data.ServerOptions()
	o.Store, o.Limits.Grace = s.store, 100*time.Millisecond
	srv, err := remote.NewServer(o)
	if err != nil {
		s.t.Fatal(err)
	}
	ln, err := net.Listen("tcp", s.addr)
	if err != nil {
		s.t.Fatal(err)
	}
	s.addr = ln.Addr().String()
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := srv.Serve(ctx, ln, nil); err != nil {
			s.t.Errorf("serve: %v", err)
		}
	}()
	s.stop = func() {
		cancel()
		<-ended
		if err := data.Close(); err != nil {
			s.t.Errorf("close the server's data: %v", err)
		}
	}
}

// restart cuts every connection; nothing that was acknowledged is lost by it.
func (s *server) restart() {
	s.t.Helper()
	s.stop()
	s.start()
}

func (s *server) client() far {
	s.t.Helper()
	c, err := remote.NewClient(remote.ClientOptions{URL: "http://" + s.addr, Key: serverKey, Tries: 2})
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(c.Close)
	return c
}
