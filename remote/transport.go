package remote

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"net/url"
	"sync/atomic"
	"time"

	"github.com/syncfs/syncfs/internal/blob"
)

// newTransport makes connections to one server. Whole requests have no time
// limit; dead connections show by keep-alives, HTTP/2 pings and the watch over
// each request's progress.
func newTransport(host, pin string, open *conns) *http.Transport {
	dialer := &net.Dialer{
		Timeout:         10 * time.Second,
		KeepAliveConfig: net.KeepAliveConfig{Enable: true, Idle: 15 * time.Second, Interval: 5 * time.Second, Count: 3},
	}
	t := &http.Transport{
		Proxy: http.ProxyFromEnvironment,
		DialContext: func(ctx context.Context, network, address string) (net.Conn, error) {
			conn, err := dialer.DialContext(ctx, network, address)
			if err != nil {
				return nil, err
			}
			polite := &politeConn{Conn: conn}
			open.add(polite)
			return polite, nil
		},
		TLSHandshakeTimeout:    10 * time.Second,
		ExpectContinueTimeout:  5 * time.Second,
		IdleConnTimeout:        90 * time.Second,
		MaxIdleConns:           64,
		MaxIdleConnsPerHost:    32,
		MaxResponseHeaderBytes: 64 << 10,
		DisableCompression:     true, // sealed bytes do not shrink
		WriteBufferSize:        64 << 10,
		ReadBufferSize:         64 << 10,
		Protocols:              new(http.Protocols),
		HTTP2: &http.HTTP2Config{
			MaxReadFrameSize:              256 << 10,
			MaxReceiveBufferPerConnection: 4<<20 - 1,
			MaxReceiveBufferPerStream:     4<<20 - 1,
			SendPingTimeout:               10 * time.Second,
			PingTimeout:                   10 * time.Second,
			WriteByteTimeout:              30 * time.Second,
		},
		TLSClientConfig: &tls.Config{
			MinVersion: tls.VersionTLS12,
			// VerifyConnection does it all: a pinned certificate needs no
			// authority and no name, and an unknown one is to be told of.
			InsecureSkipVerify: true,
			VerifyConnection:   func(state tls.ConnectionState) error { return verify(state, host, pin) },
		},
	}
	t.Protocols.SetHTTP1(true)
	t.Protocols.SetHTTP2(true)
	return t
}

// verify trusts the pinned certificate, or without a pin what the system trusts.
func verify(state tls.ConnectionState, host, pin string) error {
	if len(state.PeerCertificates) == 0 {
		return errors.New("the server shows no certificate")
	}
	leaf := state.PeerCertificates[0]
	fingerprint := Fingerprint(leaf.Raw)
	if pin != "" {
		if fingerprint != pin {
			return &UntrustedError{Fingerprint: fingerprint, Pinned: pin}
		}
		return nil
	}
	chain := x509.NewCertPool()
	for _, c := range state.PeerCertificates[1:] {
		chain.AddCert(c)
	}
	if _, err := leaf.Verify(x509.VerifyOptions{DNSName: host, Intermediates: chain}); err != nil {
		return &UntrustedError{Fingerprint: fingerprint, Reason: err}
	}
	return nil
}

// exchange is one request to be made, perhaps several times.
type exchange struct {
	method string
	path   string // from /v1/ on; all in it is safe in a URL
	query  url.Values
	header http.Header
	body   *uploadBody   // nil: none
	stall  time.Duration // how long nothing may come; 0: the client's
	probe  bool          // it finds out whether the server is alive
}

// reply is an answer that is a success. Its body is watched: reading fails when
// nothing comes for the stall time. It must be closed.
type reply struct {
	response *http.Response
	watch    *watchdog
}

// once makes a request and judges the answer; what is no success is an error
// that blob's conditions can be found in.
func (c *Client) once(ctx context.Context, x exchange) (*reply, error) {
	if c.silent.Load() && !x.probe {
		return nil, fmt.Errorf("%w: %w", blob.ErrOffline, ErrSilent)
	}
	watch := newWatchdog(ctx, cmp.Or(x.stall, c.stall))
	request, seen, err := c.request(watch, x)
	if err != nil {
		watch.stop()
		return nil, err
	}
	response, err := c.transport.RoundTrip(request)
	if x.body != nil {
		// The transport may go on reading the body; the caller must not notice.
		x.body.detach()
	}
	if err != nil {
		err = c.judge(ctx, watch, x, seen, err)
		watch.stop()
		return nil, err
	}
	c.silent.Store(false)
	api := response.Header.Get(headerAPI)
	switch {
	case response.StatusCode/100 != 2 || api == "":
		err := errorOf(response)
		watch.stop()
		return nil, err
	case api != apiVersion:
		response.Body.Close()
		watch.stop()
		return nil, fmt.Errorf("%w: it speaks version %q of the API; this is %s", ErrNotServer, clip(api), apiVersion)
	}
	watch.touch()
	return &reply{response: response, watch: watch}, nil
}

func (c *Client) request(watch *watchdog, x exchange) (*http.Request, *firstBytes, error) {
	target := *c.base
	target.Path += x.path
	target.RawQuery = x.query.Encode()
	seen := new(firstBytes)
	ctx := httptrace.WithClientTrace(watch.ctx, seen.trace(watch))
	request, err := http.NewRequestWithContext(ctx, x.method, target.String(), nil)
	if err != nil {
		return nil, nil, err
	}
	for name, values := range x.header {
		request.Header[name] = values
	}
	if c.key != "" {
		request.Header.Set("Authorization", "Bearer "+c.key)
	}
	request.Header.Set("User-Agent", "syncfs")
	if x.body != nil {
		x.body.attach(watch)
		request.ContentLength = x.body.size
		request.GetBody = x.body.open
		request.Body, _ = x.body.open()
		if x.body.size > smallPut {
			// An answer that needs no body then comes before it is sent.
			request.Header.Set("Expect", "100-continue")
		}
	}
	return request, seen, nil
}

// judge names the failure of a request that got no answer.
func (c *Client) judge(ctx context.Context, watch *watchdog, x exchange, seen *firstBytes, err error) error {
	var untrusted *UntrustedError
	var record tls.RecordHeaderError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case x.body != nil && x.body.problem() != nil:
		return x.body.problem()
	case watch.bit():
		c.silent.CompareAndSwap(false, c.doubted)
		return fmt.Errorf("%w: %w for %s", blob.ErrOffline, errStalled, watch.period)
	case errors.As(err, &untrusted):
		return untrusted
	case errors.Is(err, http.ErrSchemeMismatch), errors.As(err, &record):
		return fmt.Errorf("%w: it does not speak TLS; is its address http://%s?", ErrNotServer, c.base.Host)
	case seen.rude(), seen.garbage() && !isNetwork(err):
		return fmt.Errorf("%w: %w: %w", ErrNotServer, errGarbled, err)
	}
	return fmt.Errorf("%w: %w", blob.ErrOffline, err)
}

func isNetwork(err error) bool {
	var network net.Error
	return errors.As(err, &network) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
}

// politeConn notices a server that speaks before it was asked, as those of SSH
// or mail do and no HTTP server does.
type politeConn struct {
	net.Conn
	asked, rude atomic.Bool
	closed      func() // called by Close
}

func (c *politeConn) Close() error {
	c.closed()
	return c.Conn.Close()
}

func (c *politeConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 && !c.asked.Load() {
		c.rude.Store(true)
	}
	return n, err
}

func (c *politeConn) Write(p []byte) (int, error) {
	c.asked.Store(true)
	return c.Conn.Write(p)
}

// firstBytes notices whether the server sent anything at all: an error of HTTP/1
// after that, which is none of the network, means that it was not HTTP.
type firstBytes struct {
	some, fine atomic.Bool
	conn       atomic.Pointer[politeConn]
}

func (f *firstBytes) garbage() bool { return f.some.Load() && !f.fine.Load() }

func (f *firstBytes) rude() bool {
	conn := f.conn.Load()
	return conn != nil && conn.rude.Load()
}

func (f *firstBytes) trace(watch *watchdog) *httptrace.ClientTrace {
	return &httptrace.ClientTrace{
		GotConn: func(info httptrace.GotConnInfo) {
			switch conn := info.Conn.(type) {
			case *politeConn:
				f.conn.Store(conn)
			case *tls.Conn:
				f.fine.Store(conn.ConnectionState().NegotiatedProtocol == "h2")
			}
		},
		GotFirstResponseByte: func() { f.some.Store(true) },
		Got1xxResponse: func(int, textproto.MIMEHeader) error {
			f.fine.Store(true)
			watch.touch()
			return nil
		},
	}
}

// Read reads the answer's body.
func (r *reply) Read(p []byte) (int, error) {
	n, err := r.response.Body.Read(p)
	if n > 0 {
		r.watch.touch()
	}
	if err == nil || err == io.EOF {
		return n, err
	}
	if parent := r.watch.parent.Err(); parent != nil {
		return n, parent
	}
	if r.watch.bit() {
		err = errStalled
	}
	return n, fmt.Errorf("%w: %w", blob.ErrOffline, err)
}

// Close gives the connection back, or closes it when the body was not read.
func (r *reply) Close() error {
	if n := r.response.ContentLength; n > 0 && n <= 4<<10 {
		// What was not read of a short body, so that the connection can be used
		// again.
		io.Copy(io.Discard, r.response.Body)
	}
	err := r.response.Body.Close()
	r.watch.stop()
	return err
}

// watchdog ends a request that makes no progress.
type watchdog struct {
	ctx    context.Context
	parent context.Context
	cancel context.CancelCauseFunc
	timer  *time.Timer
	period time.Duration
}

func newWatchdog(parent context.Context, period time.Duration) *watchdog {
	ctx, cancel := context.WithCancelCause(parent)
	w := &watchdog{ctx: ctx, parent: parent, cancel: cancel, period: period}
	w.timer = time.AfterFunc(period, func() { cancel(errStalled) })
	return w
}

// touch tells of progress.
func (w *watchdog) touch() { w.timer.Reset(w.period) }

// bit tells whether the watchdog has ended the request.
func (w *watchdog) bit() bool { return errors.Is(context.Cause(w.ctx), errStalled) }

// stop ends the watch and the request.
func (w *watchdog) stop() {
	w.timer.Stop()
	w.cancel(context.Canceled)
}
