package line

import (
	"net"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"sync"
	"time"
)

// HTTPClient is the HTTP client of the SDK.
type HTTPClient interface {
	Do(req *http.Request) (*http.Response, error)
}

const (
	// forgetAfter is how long an unused connection is remembered. net/http does not report when it
	// closes a connection.
	forgetAfter = 10 * time.Minute
	// forgetEndedAfter is the same for a connection that must be given up. It is shorter, because
	// until then each other connection of the host carries only one request.
	forgetEndedAfter = 30 * time.Second
)

// Client is an HTTP client that gives up old and failing connections of another HTTP client. While
// a connection of a host must be given up, all requests to the host carry Close. net/http does not
// reuse a connection that has carried such a request, and streams on it go on. Client is safe for
// concurrent use.
type Client struct {
	base HTTPClient

	mu    sync.Mutex // guards the field below and what it points to
	conns map[connKey]*connState
}

// connKey identifies a connection. conn is nil if the host's transport does not report connections.
type connKey struct {
	host string
	conn net.Conn
}

// connState is the state of a connection.
type connState struct {
	*Health
	used   time.Time // when a request was last sent or answered
	closed bool      // a request with Close was sent
}

// NewClient returns a Client that uses base. It returns base itself if base gives up connections.
func NewClient(base HTTPClient) HTTPClient {
	if _, ok := base.(interface{ GivesUpConnections() }); ok {
		return base
	}
	return &Client{base: base, conns: map[connKey]*connState{}}
}

// GivesUpConnections marks the type for [NewClient].
func (c *Client) GivesUpConnections() {}

// Do implements [HTTPClient].
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	host := req.URL.Scheme + "://" + req.URL.Host
	u := &use{c: c, key: connKey{host: host}, closes: c.mustClose(host)}
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: u.gotConn})
	req = req.WithContext(ctx) // a shallow copy
	req.Close = req.Close || u.closes
	caller := CallerOf(ctx)
	return Send(req, c.base.Do, func(good bool) { u.result(caller, good) })
}

// CloseIdleConnections closes the idle connections of base.
func (c *Client) CloseIdleConnections() {
	if base, ok := c.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// mustClose tells whether a connection of the host must be given up. It forgets unused connections.
func (c *Client) mustClose(host string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := false
	for key, k := range c.conns {
		idle, ended := time.Since(k.used), k.Ended()
		switch {
		case k.closed, idle >= forgetAfter, ended && idle >= forgetEndedAfter:
			delete(c.conns, key)
		case key.host == host && ended:
			found = true
		}
	}
	return found
}

// use is one request and its connection.
type use struct {
	c      *Client
	closes bool // the request carries Close

	mu  sync.Mutex // guards the field below
	key connKey
}

// gotConn records the connection. If net/http sends a request again, it has several connections.
func (u *use) gotConn(info httptrace.GotConnInfo) {
	if info.Conn == nil || !reflect.TypeOf(info.Conn).Comparable() {
		return
	}
	u.mu.Lock()
	noConn := connKey{host: u.key.host}
	u.key.conn = info.Conn
	key := u.key
	u.mu.Unlock()
	u.c.forget(noConn) // its failures are those of dials
	u.c.update(key, func(k *connState) {
		if !info.Reused { // a closed connection may have had the same address
			*k = connState{Health: NewHealth()}
		}
		k.closed = u.closes
	})
}

// result records whether the request succeeded.
func (u *use) result(caller string, good bool) {
	u.mu.Lock()
	key := u.key
	u.mu.Unlock()
	u.c.update(key, func(k *connState) {
		k.Record(caller, good)
		k.closed = k.closed || u.closes
	})
}

func (c *Client) forget(key connKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, key)
}

func (c *Client) update(key connKey, f func(*connState)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.conns[key]
	if k == nil {
		k = &connState{Health: NewHealth()}
		c.conns[key] = k
	}
	k.used = time.Now()
	f(k)
}
