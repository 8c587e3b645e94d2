package remote

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/sync/errgroup"
)

// sweepEvery is how often unfinished uploads are looked through.
const sweepEvery = time.Hour

// Serve answers on ln, with TLS when config is not nil, until ctx ends: then it
// takes no more requests, ends event streams at once, and gives running
// requests Limits.Grace to finish. It closes ln. A Server serves once.
func (s *Server) Serve(ctx context.Context, ln net.Listener, config *tls.Config) error {
	server := &http.Server{
		Handler: s.handler,
		// Time limits on whole requests would cut slow uploads that are fine;
		// bodies and answers are watched for progress instead.
		ReadHeaderTimeout: 15 * time.Second,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    32 << 10,
		ErrorLog:          slog.NewLogLogger(s.log.Handler(), slog.LevelDebug),
		Protocols:         new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxConcurrentStreams:          250,
			MaxReadFrameSize:              256 << 10,
			MaxReceiveBufferPerConnection: 4<<20 - 1,
			MaxReceiveBufferPerStream:     2 << 20,
			SendPingTimeout:               30 * time.Second,
			PingTimeout:                   15 * time.Second,
			WriteByteTimeout:              s.o.Limits.Stall,
		},
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	server.RegisterOnShutdown(s.stop)

	group, inner := errgroup.WithContext(ctx)
	group.Go(func() error {
		var err error
		if config != nil {
			server.TLSConfig = config.Clone()
			err = server.ServeTLS(ln, "", "")
		} else {
			err = server.Serve(ln)
		}
		if errors.Is(err, http.ErrServerClosed) {
			return nil
		}
		return fmt.Errorf("serve: %w", err)
	})
	group.Go(func() error {
		tick := time.NewTicker(sweepEvery)
		defer tick.Stop()
		for {
			select {
			case <-inner.Done():
				return nil
			case <-tick.C:
				s.partials.sweep()
			}
		}
	})
	if s.o.Uploads != nil {
		group.Go(func() error {
			s.o.Uploads.sweepLoop(inner, s.o.KeepUploads)
			return nil
		})
	}
	group.Go(func() error {
		<-inner.Done()
		return s.shutDown(server)
	})
	return group.Wait()
}

func (s *Server) shutDown(server *http.Server) error {
	s.stop()
	ctx, cancel := context.WithTimeout(context.Background(), s.o.Limits.Grace)
	defer cancel()
	err := server.Shutdown(ctx)
	if err != nil {
		s.log.Warn("requests are cut off: they did not end in time", "grace", s.o.Limits.Grace)
		server.Close() // of connections that are being given up
	}
	// Handlers of closed connections end by themselves, those that store get
	// told to.
	s.Close()
	return nil
}
