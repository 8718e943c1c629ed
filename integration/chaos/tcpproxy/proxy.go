// Package tcpproxy is a proxy for TCP that breaks connections on demand: it resets, swallows,
// slows down and cuts. integration/chaos has one between each worker and each of its servers.
package tcpproxy

import (
	"context"
	"errors"
	"io"
	"net"
	"sync"
	"time"
)

// Mode is a kind of fault.
type Mode string

// The modes.
const (
	Pass      Mode = ""          // no fault
	Reset     Mode = "reset"     // all connections are reset, and new ones at once
	BlackHole Mode = "blackhole" // nothing arrives until the fault ends; what was sent arrives then
	Slow      Mode = "slow"      // every piece of data waits
	Cut       Mode = "cut"       // a connection is reset after some bytes of both directions
)

// Fault is what the proxy does with connections. The zero value passes everything.
type Fault struct {
	Mode  Mode
	Delay time.Duration // Slow: how long each piece of data waits
	Bytes int           // Slow: the bytes a second of one direction, 0 for no limit; Cut: the bytes that pass
}

const (
	pieceSize   = 16 << 10
	dialTimeout = 10 * time.Second
)

// Proxy accepts connections and forwards them to one address.
type Proxy struct {
	listener net.Listener
	upstream string
	stop     context.CancelFunc
	wg       sync.WaitGroup // the goroutines of the proxy

	mu      sync.Mutex // guards the fields below
	fault   Fault
	changed chan struct{} // closed at the next change of fault
	links   map[*link]struct{}
}

// passed is the wait of a piece of data that need not wait.
var passed = func() chan time.Time {
	c := make(chan time.Time)
	close(c)
	return c
}()

// link is one connection of a client and, once dialed, that to the upstream server.
type link struct {
	done   chan struct{} // closed when the link ends
	client *net.TCPConn

	mu     sync.Mutex   // guards the fields below
	ended  bool         // done is closed
	server *net.TCPConn // nil until dialed
	left   int          // bytes until the cut
}

// Listen starts a proxy on a free port of the loopback interface.
func Listen(upstream string) (*Proxy, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	p := &Proxy{
		listener: listener, upstream: upstream, stop: cancel,
		changed: make(chan struct{}), links: map[*link]struct{}{},
	}
	p.wg.Go(func() { p.accept(ctx) }) // ends with the listener
	return p, nil
}

// Address returns where the proxy listens, host:port.
func (p *Proxy) Address() string { return p.listener.Addr().String() }

// Set replaces the fault, also for the connections that exist.
func (p *Proxy) Set(f Fault) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.fault = f
	close(p.changed)
	p.changed = make(chan struct{})
	for l := range p.links {
		l.mu.Lock()
		l.left = f.Bytes
		l.mu.Unlock()
		if f.Mode == Reset {
			l.reset()
		}
	}
}

// ResetAll resets the connections that exist, whatever the fault is.
func (p *Proxy) ResetAll() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.reset()
	}
}

// Close ends the proxy and its connections.
func (p *Proxy) Close() {
	_ = p.listener.Close() // a port that was never used has nothing to lose
	p.stop()
	p.ResetAll()
	p.wg.Wait()
}

func (p *Proxy) accept(ctx context.Context) {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		l := &link{client: client.(*net.TCPConn), done: make(chan struct{})}
		p.mu.Lock()
		p.links[l] = struct{}{}
		l.left = p.fault.Bytes
		refuse := p.fault.Mode == Reset || ctx.Err() != nil
		p.mu.Unlock()
		if refuse {
			l.reset()
		}
		p.wg.Go(func() { p.serve(ctx, l) }) // ends with the link
	}
}

// serve forwards one connection until it ends.
func (p *Proxy) serve(ctx context.Context, l *link) {
	defer func() {
		l.close()
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	}()
	if !p.await(l, 0) {
		return
	}
	dialer := net.Dialer{Timeout: dialTimeout}
	server, err := dialer.DialContext(ctx, "tcp", p.upstream)
	if err != nil {
		l.reset()
		return
	}
	l.mu.Lock()
	l.server = server.(*net.TCPConn)
	ended := l.ended
	l.mu.Unlock()
	if ended {
		return
	}
	var wg sync.WaitGroup
	wg.Go(func() { p.forward(l, l.server, l.client) }) // ends with the link or the requests
	p.forward(l, l.client, l.server)
	wg.Wait()
}

// forward copies one direction. The end of one side's data is passed on, and any error resets both.
func (p *Proxy) forward(l *link, to, from *net.TCPConn) {
	buffer := make([]byte, pieceSize)
	for {
		n, err := from.Read(buffer)
		if n > 0 && p.await(l, n) {
			pass, whole := p.allow(l, n)
			if _, writeErr := to.Write(buffer[:pass]); writeErr != nil || !whole {
				l.reset()
				return
			}
		}
		switch {
		case errors.Is(err, io.EOF):
			if to.CloseWrite() != nil {
				l.reset()
			}
			return
		case err != nil:
			l.reset()
			return
		}
	}
}

// await waits as long as the fault wants before n bytes may pass. It returns false if the link has
// ended.
func (p *Proxy) await(l *link, n int) bool {
	for {
		p.mu.Lock()
		fault, changed := p.fault, p.changed
		p.mu.Unlock()
		var pause <-chan time.Time // for ever
		switch fault.Mode {
		case BlackHole:
		case Slow:
			wait := fault.Delay
			if fault.Bytes > 0 {
				wait += time.Duration(n) * time.Second / time.Duration(fault.Bytes)
			}
			pause = time.After(wait)
		default:
			pause = passed
		}
		select {
		case <-pause:
			return true
		case <-changed:
		case <-l.done:
			return false
		}
	}
}

// allow says how many of n bytes pass before the cut, and whether that is all of them.
func (p *Proxy) allow(l *link, n int) (pass int, whole bool) {
	p.mu.Lock()
	cut := p.fault.Mode == Cut
	p.mu.Unlock()
	if !cut {
		return n, true
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	pass = min(n, l.left)
	l.left -= pass
	return pass, pass == n
}

// reset ends both connections, with RST instead of FIN.
func (l *link) reset() {
	l.mu.Lock()
	for _, conn := range []*net.TCPConn{l.client, l.server} {
		if conn != nil {
			_ = conn.SetLinger(0) // an error says that it is closed
		}
	}
	l.mu.Unlock()
	l.close()
}

func (l *link) close() {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.ended {
		l.ended = true
		close(l.done)
	}
	for _, conn := range []*net.TCPConn{l.client, l.server} {
		if conn != nil {
			_ = conn.Close() // an error says that it is closed
		}
	}
}
