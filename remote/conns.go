package remote

import (
	"net"
	"sync"
)

// conns are the open connections of a client, so that those can be ended that
// are dead without knowing it.
type conns struct {
	mu   sync.Mutex // guards open
	open map[*politeConn]struct{}
}

func (c *conns) add(conn *politeConn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open == nil {
		c.open = map[*politeConn]struct{}{}
	}
	c.open[conn] = struct{}{}
	conn.closed = func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		delete(c.open, conn)
	}
}

// end closes the connections that which picks. What is under way on them fails
// as if the line had been cut, and is tried again by whoever retries.
func (c *conns) end(which func(net.Conn) bool) (n int) {
	c.mu.Lock()
	var list []*politeConn
	for conn := range c.open {
		if which(conn) {
			list = append(list, conn)
		}
	}
	c.mu.Unlock()
	for _, conn := range list {
		conn.Close()
	}
	return len(list)
}

// Reconnect ends all connections and makes new ones: after a machine has slept
// the other side has mostly given up the old ones, and nothing tells.
func (c *Client) Reconnect() {
	n := c.conns.end(func(net.Conn) bool { return true })
	c.log.Debug("connections are made anew", "ended", n)
}

// Moved ends the connections whose local address this machine does not have any
// more: nothing that is sent on them arrives, and nothing tells.
func (c *Client) Moved() {
	addresses, err := c.addresses()
	if err != nil {
		c.log.Debug("the addresses of this machine are not known", "err", err)
		return
	}
	n := c.conns.end(func(conn net.Conn) bool {
		local, ok := conn.LocalAddr().(*net.TCPAddr)
		if !ok {
			return false
		}
		for _, a := range addresses {
			if network, ok := a.(*net.IPNet); ok && (network.IP.Equal(local.IP) || network.IP.IsLoopback() && network.Contains(local.IP)) {
				return false
			}
		}
		return true
	})
	if n > 0 {
		c.log.Info("this machine's address has changed; connections are made anew", "ended", n)
	}
}
