package efo

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/internal/line"
)

const (
	// streamsPerConn is how many subscriptions share an HTTP/2 connection at most. The peer may
	// allow fewer. A lost connection or packet delays all of them.
	streamsPerConn = 64
	// maxDials is how many connections to a host are made at a time. More than one are made only
	// if the peer allows few streams on each.
	maxDials = 8
	// settleTime is how long other requests wait for the first answer on a new connection. The
	// answer tells how many streams the peer allows.
	settleTime = time.Second
	// dialTime is how long other requests wait for a connection to be made. After that one of
	// them dials as well, because one address of the host may not answer at all.
	dialTime = 5 * time.Second
	// idleTime is how long a connection may carry nothing.
	idleTime = 90 * time.Second
)

// pool puts subscriptions on few HTTP/2 connections. A plain http.Transport learns only from an
// answer that a peer speaks HTTP/2. Until then it dials for every request, so a thousand subscribes
// make a thousand handshakes. pool dials one connection at a time, or as many as the
// waiting requests will fill. The other requests wait.
//
// Requests that cannot share a connection use the transport without the pool. These are requests to
// http endpoints without H2C, and to peers that speak HTTP/1.1.
//
// A connection takes no more requests when requests on it keep failing or when it is old: the
// server behind it may no longer be the right one. Streams that it carries go on.
type pool struct {
	tr     *http.Transport
	direct line.HTTPClient // the transport without the pool

	mu    sync.Mutex // guards the field below and what it points to
	hosts map[string]*host
}

// conn is a connection with its health.
type conn struct {
	*http.ClientConn
	*line.Health // guarded by pool.mu
}

// host is what the pool knows of one host.
type host struct {
	conns   []*conn
	leaving []*conn       // these take no more requests, and are closed when they carry nothing
	room    int           // how many subscriptions the last new connection takes
	dialing int           // connections that are being made and cannot be shared yet
	waiting int           // requests that wait for one of them
	changed chan struct{} // closed to wake the waiting requests, and then replaced
	http1   bool          // the host speaks HTTP/1.1 only
}

func newPool(tr *http.Transport) *pool {
	if proxy := tr.Proxy; proxy != nil {
		// NewClientConn asks for the proxy with a request of its own, whose host has no port.
		// NO_PROXY may name the port.
		tr.Proxy = func(req *http.Request) (*url.URL, error) {
			if dialled, ok := req.Context().Value(dialledFor{}).(*http.Request); ok {
				req = dialled
			}
			return proxy(req)
		}
	}
	return &pool{tr: tr, direct: line.NewClient(doFunc(tr.RoundTrip)), hosts: map[string]*host{}}
}

// doFunc is an HTTP client made of one function.
type doFunc func(*http.Request) (*http.Response, error)

// Do calls f.
func (f doFunc) Do(req *http.Request) (*http.Response, error) { return f(req) }

// dialledFor is the key under which a dial's context holds the request.
type dialledFor struct{}

// RoundTrip sends a request on a connection with room for it. If there is none, it makes one.
func (p *pool) RoundTrip(req *http.Request) (*http.Response, error) {
	for {
		h, cc, wait, surplus := p.reserve(req)
		closeAll(surplus)
		switch {
		case h == nil:
			return p.direct.Do(req)
		case cc != nil:
			return p.send(cc, req)
		case wait == nil:
			return p.dial(req, h)
		}
		select {
		case <-wait:
		case <-req.Context().Done():
		}
		p.mu.Lock()
		h.waiting--
		p.mu.Unlock()
		if err := req.Context().Err(); err != nil {
			return nil, err
		}
	}
}

// send sends a request on a connection, and counts in its health whether the request succeeded.
func (p *pool) send(cc *conn, req *http.Request) (*http.Response, error) {
	caller := line.CallerOf(req.Context())
	return line.Send(req, cc.RoundTrip, func(good bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		cc.Record(caller, good)
	})
}

// reserve decides how a request goes. Without the pool if h is nil; on cc if it is set; after
// waiting for wait if that is set; and otherwise on a connection that the caller dials. The caller
// closes the surplus connections, because that may take time.
func (p *pool) reserve(req *http.Request) (h *host, cc *conn, wait <-chan struct{}, surplus []*conn) {
	if !mayShare(p.tr.Protocols, req.URL.Scheme) {
		return nil, nil, nil, nil
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	key := req.URL.Scheme + "://" + req.URL.Host
	h = p.hosts[key]
	if h == nil {
		h = &host{room: streamsPerConn, changed: make(chan struct{})}
		p.hosts[key] = h
	}
	if h.http1 {
		return nil, nil, nil, nil
	}
	cc, surplus = h.reserveLocked()
	switch {
	case cc != nil:
	case h.dialing < maxDials && h.dialing*(h.room-1) <= h.waiting:
		h.dialing++ // the connections that are being made have no room for all
	default:
		h.waiting++
		wait = h.changed
	}
	return h, cc, wait, surplus
}

// mayShare tells whether requests can share an HTTP/2 connection.
func mayShare(pr *http.Protocols, scheme string) bool {
	if pr == nil {
		return scheme == "https"
	}
	return (scheme == "https" || pr.UnencryptedHTTP2()) && (!pr.HTTP1() || pr.HTTP2())
}

// reserveLocked takes a place on the first connection that has one. It drops dead connections,
// moves failing and old ones to leaving, and returns the empty ones that are not needed.
func (h *host) reserveLocked() (chosen *conn, surplus []*conn) {
	h.conns = slices.DeleteFunc(h.conns, func(cc *conn) bool {
		switch {
		case cc.Err() != nil:
			return true
		case cc.Ended():
			h.leaving = append(h.leaving, cc)
			return true
		case chosen == nil && cc.InFlight() < streamsPerConn && cc.Available() > 0 && cc.Reserve() == nil:
			chosen = cc
		case chosen != nil && cc.InFlight() == 0:
			surplus = append(surplus, cc)
			return true
		}
		return false
	})
	h.leaving = slices.DeleteFunc(h.leaving, func(cc *conn) bool {
		if cc.Err() == nil && cc.InFlight() == 0 {
			surplus = append(surplus, cc)
			return true
		}
		return cc.Err() != nil
	})
	return chosen, surplus
}

// dial makes a connection and sends the request on it. Other requests may use the connection once
// the request has been answered: by then the peer has said how many streams it allows.
func (p *pool) dial(req *http.Request, h *host) (*http.Response, error) {
	settled := sync.OnceFunc(func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		h.dialing--
		close(h.changed)
		h.changed = make(chan struct{})
	})
	defer settled()
	defer time.AfterFunc(dialTime, settled).Stop()
	ctx := context.WithValue(req.Context(), dialledFor{}, req)
	raw, err := p.tr.NewClientConn(ctx, req.URL.Scheme, address(req))
	if err != nil {
		return nil, err
	}
	cc := &conn{raw, line.NewHealth()}
	if err := cc.Reserve(); err != nil {
		_ = cc.Close()
		return nil, err
	}
	cc.SetStateHook(func(*http.ClientConn) {
		if cc.InFlight() == 0 && cc.Err() == nil {
			time.AfterFunc(idleTime, func() { closeAll(p.takeIdle(cc)) })
		}
	})
	share := sync.OnceFunc(func() {
		p.mu.Lock()
		h.conns = append(h.conns, cc)
		if cc.Err() == nil {
			h.room = max(1, min(streamsPerConn, cc.InFlight()+cc.Available()))
		}
		p.mu.Unlock()
		settled()
	})
	defer time.AfterFunc(settleTime, share).Stop()

	resp, err := p.send(cc, req)
	if err == nil && resp.ProtoMajor < 2 {
		resp.Body = &closingBody{resp.Body, cc}
		p.removeHTTP1(h, cc)
		return resp, nil
	}
	share()
	return resp, err
}

// removeHTTP1 takes a connection that speaks HTTP/1.1 out of the pool. If no other connection of
// the host speaks HTTP/2, all requests to the host go without the pool from now on.
func (p *pool) removeHTTP1(h *host, cc *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.conns = slices.DeleteFunc(h.conns, func(c *conn) bool { return c == cc || c.Err() != nil })
	h.http1 = len(h.conns) == 0
}

// closingBody closes the connection with the body. No other request uses that connection.
type closingBody struct {
	io.ReadCloser
	cc *conn
}

func (b *closingBody) Close() error {
	err := b.ReadCloser.Close()
	_ = b.cc.Close()
	return err
}

func address(req *http.Request) string {
	if req.URL.Port() != "" {
		return req.URL.Host
	}
	port := "443"
	if req.URL.Scheme == "http" {
		port = "80"
	}
	return net.JoinHostPort(req.URL.Hostname(), port)
}

// CloseIdleConnections closes the connections that carry nothing; http.Client calls it.
func (p *pool) CloseIdleConnections() {
	p.tr.CloseIdleConnections()
	closeAll(p.takeIdle(nil))
}

// takeIdle takes all connections that carry nothing out of the pool, or only the given one.
func (p *pool) takeIdle(only *conn) (idle []*conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	take := func(cc *conn) bool {
		if (only != nil && cc != only) || cc.InFlight() > 0 {
			return false
		}
		idle = append(idle, cc)
		return true
	}
	for _, h := range p.hosts {
		h.conns = slices.DeleteFunc(h.conns, take)
		h.leaving = slices.DeleteFunc(h.leaving, take)
	}
	return idle
}

func closeAll(conns []*conn) {
	for _, cc := range conns {
		_ = cc.Close()
	}
}
