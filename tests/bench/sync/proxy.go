//go:build linux

package main

import (
	"errors"
	"io"
	"net"
	"sync"
	"sync/atomic"
)

// proxy passes connections on and counts the bytes, both directions together.
type proxy struct {
	l     net.Listener
	to    string
	bytes atomic.Int64
	work  sync.WaitGroup

	mu     sync.Mutex // guards conns, closed
	conns  map[net.Conn]bool
	closed bool
}

// newProxy listens on loopback for connections to to.
func newProxy(to string) (*proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &proxy{l: l, to: to, conns: map[net.Conn]bool{}}
	p.work.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.work.Go(func() { p.pass(c) })
		}
	})
	return p, nil
}

func (p *proxy) addr() string { return p.l.Addr().String() }

func (p *proxy) port() string {
	_, port, _ := net.SplitHostPort(p.addr()) // an address of ours
	return port
}

// keep notes a connection, to be closed with the proxy.
func (p *proxy) keep(c net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.closed {
		p.conns[c] = true
	}
	return !p.closed
}

func (p *proxy) drop(c net.Conn) {
	c.Close()
	p.mu.Lock()
	delete(p.conns, c)
	p.mu.Unlock()
}

func (p *proxy) pass(from net.Conn) {
	to, err := net.Dial("tcp", p.to)
	if err != nil {
		from.Close()
		return
	}
	defer p.drop(from)
	defer p.drop(to)
	if !p.keep(from) || !p.keep(to) {
		return
	}
	var both sync.WaitGroup
	copyOne := func(dst, src net.Conn) {
		buf := make([]byte, 256<<10)
		for {
			n, err := src.Read(buf)
			p.bytes.Add(int64(n))
			if n > 0 {
				if _, werr := dst.Write(buf[:n]); werr != nil {
					break
				}
			}
			if err != nil {
				if !errors.Is(err, io.EOF) {
					src.Close()
				}
				break
			}
		}
		if t, ok := dst.(*net.TCPConn); ok {
			_ = t.CloseWrite() // the other direction may go on
		}
	}
	both.Go(func() { copyOne(to, from) })
	both.Go(func() { copyOne(from, to) })
	both.Wait()
}

func (p *proxy) close() error {
	if p == nil {
		return nil
	}
	err := p.l.Close()
	p.mu.Lock()
	p.closed = true
	for c := range p.conns {
		c.Close()
	}
	p.mu.Unlock()
	p.work.Wait()
	return err
}
