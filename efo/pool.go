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
	// streamsPerConn is how many subscriptions share an HTTP/2 connection at
	// most; the peer's own limit counts as well. A lost connection or packet
	// holds up all of them.
	streamsPerConn = 64
	// maxDials is how many connections to a host are made at a time, when the
	// peer is known to allow so few streams on each that one is not enough.
	maxDials = 8
	// settleTime is how long the others wait for the first answer on a new
	// connection, which tells how many streams the peer allows.
	settleTime = time.Second
	// dialTime is how long the others wait for a connection to be made. After
	// that one of them dials as well: a single address may swallow packets.
	dialTime = 5 * time.Second
	// idleTime is how long a connection may carry nothing.
	idleTime = 90 * time.Second
)

// pool puts subscriptions on few HTTP/2 connections. A plain http.Transport
// cannot know that a peer speaks HTTP/2 until it has asked, and dials for every
// request that finds no room: a thousand subscribes, a thousand handshakes.
// Here one connection is dialled at a time, or as many as the requests that wait
// will fill, and the others wait.
//
// Requests that cannot share a connection, to http endpoints without H2C or to
// peers that turned out to speak HTTP/1.1, go the transport's own way.
//
// A connection on which requests keep failing takes no more of them, nor does an
// old one: what it leads to may be gone, and would be asked for ever. Streams that
// it carries go on.
type pool struct {
	tr  *http.Transport
	own line.HTTPClient // the transport's own way

	mu    sync.Mutex // guards the field below and what it points to
	hosts map[string]*host
}

// conn is a connection and how it does.
type conn struct {
	*http.ClientConn
	*line.Health // guarded by pool.mu
}

type host struct {
	conns   []*conn
	leaving []*conn       // take no more requests, and are closed when they carry nothing
	room    int           // how many subscriptions the last new connection takes
	dialing int           // connections being made that cannot be shared yet
	waiting int           // requests that wait for one of them
	changed chan struct{} // closed, and made anew, when those shall look again
	http1   bool
}

func newPool(tr *http.Transport) *pool {
	if proxy := tr.Proxy; proxy != nil {
		// NewClientConn asks for the proxy with a request of its own that has no
		// port, which NO_PROXY may name.
		tr.Proxy = func(req *http.Request) (*url.URL, error) {
			if dialled, ok := req.Context().Value(dialledFor{}).(*http.Request); ok {
				req = dialled
			}
			return proxy(req)
		}
	}
	return &pool{tr: tr, own: line.NewClient(sender(tr.RoundTrip)), hosts: map[string]*host{}}
}

// sender is an HTTP client of one function.
type sender func(*http.Request) (*http.Response, error)

// Do sends a request.
func (s sender) Do(req *http.Request) (*http.Response, error) { return s(req) }

// dialledFor is the key under which a dial's context holds the request.
type dialledFor struct{}

// RoundTrip sends a request on a connection with room for it, or makes one.
func (p *pool) RoundTrip(req *http.Request) (*http.Response, error) {
	for {
		h, cc, wait, surplus := p.reserve(req)
		closeAll(surplus)
		switch {
		case h == nil:
			return p.own.Do(req)
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

// send sends a request on a connection, and notes how that does.
func (p *pool) send(cc *conn, req *http.Request) (*http.Response, error) {
	return line.Judge(req, cc.RoundTrip, func(good bool) {
		p.mu.Lock()
		defer p.mu.Unlock()
		cc.Note(good)
	})
}

// reserve says how a request goes: the transport's own way (h is nil), on cc,
// after waiting, or else on a connection that the caller has to dial. The surplus
// is for the caller to close, because that may take time.
func (p *pool) reserve(req *http.Request) (h *host, cc *conn, wait <-chan struct{}, surplus []*conn) {
	if pr := p.tr.Protocols; req.URL.Scheme != "https" && (pr == nil || !pr.UnencryptedHTTP2()) || pr != nil && pr.HTTP1() && !pr.HTTP2() {
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
		h.dialing++ // those that are being made have no room for all
	default:
		h.waiting++
		wait = h.changed
	}
	return h, cc, wait, surplus
}

// reserveLocked takes a place on the first connection that has one, drops the
// dead ones, and gives up those that are empty when another was chosen, that
// keep failing, or that are old.
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

// dial makes a connection and sends the request on it. Others may use it when
// that has been answered: by then the peer has said how many streams it allows.
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
		resp.Body = &lastBody{resp.Body, cc}
		p.keepToItself(h, cc)
		return resp, nil
	}
	share()
	return resp, err
}

// keepToItself is for a connection that turned out to speak HTTP/1.1. Where no
// other one speaks HTTP/2, all requests to the host go the transport's own way.
func (p *pool) keepToItself(h *host, cc *conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	h.conns = slices.DeleteFunc(h.conns, func(c *conn) bool { return c == cc || c.Err() != nil })
	h.http1 = len(h.conns) == 0
}

// lastBody closes the connection with the body: nothing else will use it.
type lastBody struct {
	io.ReadCloser
	cc *conn
}

func (b *lastBody) Close() error {
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

// takeIdle takes one connection out of the pool if it carries nothing, or with
// nil all such.
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
