// Package memnet is a network inside one process, with listeners, connections and their accidents.
//
// Whole programs, with HTTP servers and SDK clients, can run on it inside a testing/synctest
// bubble. Every wait is on a channel or a [sync.Cond], which a bubble counts as durable. No lock is
// held during a wait.
//
// # Model
//
// A [Network] has named hosts. A listener's host is the host part of its address. A connection of
// [Network.DialContext] comes from the host named "", and one of [Host.DialContext] from that host.
// Two hosts have a [Link] with a latency. A link can be held (a partition: bytes wait until it is
// released), ended (FIN) or reset (RST). A host can be killed: nothing leaves or reaches it any
// more, and its peers do not notice.
//
// A connection buffers without limit, so Write never blocks. Every accident acts on the side that
// reads. With a pipe without a buffer, a peer that stops reading would block the other's HTTP/2
// write lock. A lock is not a durable wait, so virtual time would stop for ever. A sender that
// ignores flow control (HTTP/1.1) can therefore fill the memory.
//
// There is no KCL counterpart. Package kinesistest and the tests of this module use it.
package memnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"sync"
	"syscall"
	"time"
)

// Addr is the address of one end of a connection: "host:port".
type Addr string

// Network returns "mem".
func (Addr) Network() string { return "mem" }

// String returns "host:port".
func (a Addr) String() string { return string(a) }

// Network is a set of listeners, hosts and links. Make one with [New]; inside a bubble, make it
// inside the bubble. All methods may be called from any goroutine.
type Network struct {
	mu        sync.Mutex // guards the fields below, and those of Host, Link and listener; taken before a half's
	listeners map[string]*listener
	hosts     map[string]*Host
	links     map[[2]string]*Link
	port      int
	closed    bool
	done      chan struct{} // closed by Close
}

// New returns an empty network without latency.
func New() *Network {
	return &Network{
		listeners: make(map[string]*listener),
		hosts:     make(map[string]*Host),
		links:     make(map[[2]string]*Link),
		port:      40000,
		done:      make(chan struct{}),
	}
}

// Listen announces on addr, "host:port". Port 0 or no port picks a free one. It fails when the
// address is in use.
func (n *Network) Listen(addr string) (net.Listener, error) {
	host, port, err := net.SplitHostPort(addr)
	if err != nil {
		host, port = addr, "0"
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.closed {
		return nil, opError("listen", addr, net.ErrClosed)
	}
	if port == "" || port == "0" {
		port = n.nextPortLocked()
	}
	key := net.JoinHostPort(host, port)
	if n.listeners[key] != nil {
		return nil, opError("listen", key, syscall.EADDRINUSE)
	}
	l := &listener{network: n, host: n.hostLocked(host), addr: Addr(key)}
	l.cond = sync.NewCond(&n.mu)
	n.listeners[key] = l
	return l, nil
}

// DialContext connects the host named "" to a listener. It has the signature of
// [net.Dialer.DialContext]; the network argument is ignored. See [Host.DialContext].
func (n *Network) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return n.Host("").DialContext(ctx, network, addr)
}

// HTTPClient is [Host.HTTPClient] of the host named "".
func (n *Network) HTTPClient(http2 bool) *http.Client { return n.Host("").HTTPClient(http2) }

// Host returns the host of that name. It makes the host if there is none.
func (n *Network) Host(name string) *Host {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.hostLocked(name)
}

// Link returns the link between two hosts, in either order. It makes the link if there is none.
func (n *Network) Link(a, b string) *Link {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.linkLocked(a, b)
}

// Close closes every listener and both ends of every connection. Dials that wait fail, and so do
// Accept and Read, with [net.ErrClosed]. It may be called more than once.
func (n *Network) Close() error {
	n.mu.Lock()
	if n.closed {
		n.mu.Unlock()
		return nil
	}
	n.closed = true
	close(n.done)
	var conns []*conn
	for _, l := range n.links {
		for c := range l.conns {
			conns = append(conns, c)
		}
	}
	for _, l := range n.listeners {
		l.closeLocked()
	}
	n.mu.Unlock()
	for _, c := range conns {
		_ = c.Close()
	}
	return nil
}

func (n *Network) hostLocked(name string) *Host {
	h := n.hosts[name]
	if h == nil {
		h = &Host{network: n, name: name}
		n.hosts[name] = h
	}
	return h
}

func (n *Network) linkLocked(a, b string) *Link {
	if b < a {
		a, b = b, a
	}
	key := [2]string{a, b}
	l := n.links[key]
	if l == nil {
		l = &Link{network: n, conns: make(map[*conn]struct{}), changed: make(chan struct{})}
		l.dead = n.hostLocked(a).dead || n.hostLocked(b).dead
		l.ends = key
		n.links[key] = l
	}
	return l
}

func (n *Network) nextPortLocked() string {
	n.port++
	return strconv.Itoa(n.port)
}

// Host is one machine (or one process) on a [Network].
type Host struct {
	network *Network
	name    string
	dead    bool // guarded by network.mu
}

// Listen is [Network.Listen] on a port of this host; 0 picks a free one.
func (h *Host) Listen(port int) (net.Listener, error) {
	return h.network.Listen(net.JoinHostPort(h.name, strconv.Itoa(port)))
}

// DialContext connects to the listener at addr. It takes one round trip of the link. It waits while
// the link is held, and for ever when a host was killed. If ctx ends first, it returns the error of
// ctx. Without a listener it fails with [syscall.ECONNREFUSED].
func (h *Host) DialContext(ctx context.Context, _, addr string) (net.Conn, error) {
	n := h.network
	target, _, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, opError("dial", addr, err)
	}
	waited := false
	for {
		if err := ctx.Err(); err != nil {
			return nil, opError("dial", addr, err)
		}
		n.mu.Lock()
		if n.closed {
			n.mu.Unlock()
			return nil, opError("dial", addr, net.ErrClosed)
		}
		link := n.linkLocked(h.name, target)
		changed, rtt := link.changed, 2*link.latency
		switch {
		case link.held || link.dead:
			n.mu.Unlock()
			if err := n.wait(ctx, changed, nil); err != nil {
				return nil, opError("dial", addr, err)
			}
		case rtt > 0 && !waited:
			n.mu.Unlock()
			waited = true
			timer := time.NewTimer(rtt)
			err := n.wait(ctx, nil, timer.C)
			timer.Stop()
			if err != nil {
				return nil, opError("dial", addr, err)
			}
		default:
			l := n.listeners[addr]
			if l == nil {
				n.mu.Unlock()
				return nil, opError("dial", addr, syscall.ECONNREFUSED)
			}
			c := link.connectLocked(Addr(net.JoinHostPort(h.name, n.nextPortLocked())), l)
			n.mu.Unlock()
			return c, nil
		}
	}
}

// HTTPClient returns a client on this host that reaches every listener of the network. With http2,
// the client speaks HTTP/2, with prior knowledge (h2c) to http URLs, and otherwise HTTP/1.1. Its
// transport is a new [*http.Transport]. The caller may change it before use, for example its
// TLSClientConfig.
func (h *Host) HTTPClient(http2 bool) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(!http2)
	protocols.SetHTTP2(http2)
	protocols.SetUnencryptedHTTP2(http2)
	return &http.Client{Transport: &http.Transport{
		DialContext:         h.DialContext,
		Protocols:           protocols,
		MaxIdleConnsPerHost: 1024,
	}}
}

// Kill silences the host for ever, as when its process is killed behind a firewall. Its connections
// stay open, but no byte, end or reset leaves or reaches it. Dials from it and to it wait until
// their context ends.
func (h *Host) Kill() {
	n := h.network
	n.mu.Lock()
	defer n.mu.Unlock()
	h.dead = true
	for key, l := range n.links {
		if key[0] == h.name || key[1] == h.name {
			l.dead = true
			l.applyLocked()
		}
	}
}

func (n *Network) wait(ctx context.Context, changed <-chan struct{}, timer <-chan time.Time) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-n.done:
		return net.ErrClosed
	case <-changed:
		return nil
	case <-timer:
		return nil
	}
}

// Link is the path between two hosts. Its settings hold for connections that exist and for those to
// come.
type Link struct {
	network *Network
	ends    [2]string
	conns   map[*conn]struct{} // this and the rest guarded by network.mu
	latency time.Duration
	held    bool
	dead    bool
	changed chan struct{} // closed and replaced at every change
}

// SetLatency sets the time that bytes need in each direction. The default is 0. Bytes under way
// keep their time.
func (l *Link) SetLatency(d time.Duration) {
	l.network.mu.Lock()
	defer l.network.mu.Unlock()
	l.latency = max(d, 0)
	l.applyLocked()
}

// Hold partitions the two hosts: bytes, ends and dials wait, unseen, until [Link.Release].
func (l *Link) Hold() { l.setHeld(true) }

// Release undoes [Link.Hold]. Everything that was held back arrives.
func (l *Link) Release() { l.setHeld(false) }

func (l *Link) setHeld(held bool) {
	l.network.mu.Lock()
	defer l.network.mu.Unlock()
	l.held = held
	l.applyLocked()
}

// Reset cuts every connection of the link at once. Reads and writes on both sides fail with
// [syscall.ECONNRESET], and bytes under way are lost. Reset acts on a held link too, but not on a
// link of a killed host.
func (l *Link) Reset() { l.cut(syscall.ECONNRESET) }

// End closes every connection of the link. Both sides read the bytes under way and then io.EOF.
// Their writes fail with [syscall.EPIPE].
func (l *Link) End() { l.cut(nil) }

func (l *Link) cut(reset error) {
	l.network.mu.Lock()
	defer l.network.mu.Unlock()
	if l.dead {
		return
	}
	for c := range l.conns {
		c.rd.cut(reset)
		c.wr.cut(reset)
		delete(l.conns, c)
	}
}

// Conns returns the number of open connections of the link (either end not yet closed).
func (l *Link) Conns() int {
	l.network.mu.Lock()
	defer l.network.mu.Unlock()
	return len(l.conns) / 2
}

func (l *Link) applyLocked() {
	for c := range l.conns {
		c.rd.setGate(l.latency, l.held, l.dead)
	}
	close(l.changed)
	l.changed = make(chan struct{})
}

// connectLocked makes a connection, queues its far end at the listener and returns the near end.
func (l *Link) connectLocked(local Addr, to *listener) *conn {
	out, in := newHalf(l.latency), newHalf(l.latency)
	near := &conn{link: l, rd: in, wr: out, local: local, remote: to.addr}
	far := &conn{link: l, rd: out, wr: in, local: to.addr, remote: local}
	l.conns[near], l.conns[far] = struct{}{}, struct{}{}
	to.queue = append(to.queue, far)
	to.cond.Broadcast()
	return near
}

// listener is the [net.Listener] of a Network. Its queue of connections has no bound.
type listener struct {
	network *Network
	host    *Host
	addr    Addr
	cond    *sync.Cond // on network.mu
	queue   []*conn
	closed  bool
}

var _ net.Listener = (*listener)(nil)

func (l *listener) Accept() (net.Conn, error) {
	l.network.mu.Lock()
	defer l.network.mu.Unlock()
	for len(l.queue) == 0 && !l.closed {
		l.cond.Wait()
	}
	if l.closed {
		return nil, opError("accept", l.addr.String(), net.ErrClosed)
	}
	c := l.queue[0]
	l.queue = l.queue[1:]
	return c, nil
}

func (l *listener) Close() error {
	l.network.mu.Lock()
	if l.closed {
		l.network.mu.Unlock()
		return opError("close", l.addr.String(), net.ErrClosed)
	}
	l.closeLocked()
	queue := l.queue
	l.queue = nil
	l.network.mu.Unlock()
	for _, c := range queue { // dialled, never accepted
		_ = c.Close()
	}
	return nil
}

func (l *listener) closeLocked() {
	l.closed = true
	delete(l.network.listeners, l.addr.String())
	l.cond.Broadcast()
}

func (l *listener) Addr() net.Addr { return l.addr }

// opError gives err the shape that callers of package net expect.
func opError(op, addr string, err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("memnet: %s %s: %w", op, addr, err)
	}
	return &net.OpError{Op: op, Net: "mem", Addr: Addr(addr), Err: err}
}
