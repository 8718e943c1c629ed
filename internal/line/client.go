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
	// forgetAfter is how long a connection is remembered on which nothing is sent. net/http does not
	// say when it closes a connection.
	forgetAfter = 10 * time.Minute
	// forgetEndedAfter is the same for a connection that is to be given up. It is shorter, because
	// the other connections of the host carry no more than one request meanwhile.
	forgetEndedAfter = 30 * time.Second
)

// Client is an HTTP client that gives up connections which another HTTP client makes. While a
// connection of a host is to be given up, requests to the host carry Close. net/http does not use a
// connection again that has carried such a request; streams on it go on. Client is safe for
// concurrent use.
type Client struct {
	base HTTPClient

	mu    sync.Mutex // guards the field below and what it points to
	conns map[connKey]*known
}

// connKey is a connection. conn is nil if the transport of the host does not report connections.
type connKey struct {
	host string
	conn net.Conn
}

// known is what Client knows of a connection.
type known struct {
	*Health
	used   time.Time
	closed bool // a request with Close was sent on it
}

// NewClient returns a Client over base, or base itself if it gives up connections already.
func NewClient(base HTTPClient) HTTPClient {
	if _, does := base.(interface{ GivesUpConnections() }); does {
		return base
	}
	return &Client{base: base, conns: map[connKey]*known{}}
}

// GivesUpConnections marks the type for [NewClient].
func (c *Client) GivesUpConnections() {}

// Do implements [HTTPClient].
func (c *Client) Do(req *http.Request) (*http.Response, error) {
	host := req.URL.Scheme + "://" + req.URL.Host
	u := &use{c: c, key: connKey{host: host}, closes: c.mustClose(host)}
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: u.got})
	req = req.WithContext(ctx) // a shallow copy
	req.Close = req.Close || u.closes
	caller := CallerOf(ctx)
	return Judge(req, c.base.Do, func(good bool) { u.count(caller, good) })
}

// CloseIdleConnections closes the connections of base that carry nothing.
func (c *Client) CloseIdleConnections() {
	if base, ok := c.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// mustClose tells whether a connection of the host is to be given up. It forgets old connections.
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

// got notes the connection. A request that net/http sends again has several connections.
func (u *use) got(info httptrace.GotConnInfo) {
	if info.Conn == nil || !reflect.TypeOf(info.Conn).Comparable() {
		return
	}
	u.mu.Lock()
	nameless := connKey{host: u.key.host}
	u.key.conn = info.Conn
	key := u.key
	u.mu.Unlock()
	u.c.forget(nameless) // its failures came before there was a connection
	u.c.update(key, func(k *known) {
		if !info.Reused { // a closed connection may have had the same address
			*k = known{Health: NewHealth()}
		}
		k.closed = u.closes
	})
}

// count counts whether the request succeeded.
func (u *use) count(caller string, good bool) {
	u.mu.Lock()
	key := u.key
	u.mu.Unlock()
	u.c.update(key, func(k *known) {
		k.Note(caller, good)
		k.closed = k.closed || u.closes
	})
}

func (c *Client) forget(key connKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, key)
}

func (c *Client) update(key connKey, f func(*known)) {
	c.mu.Lock()
	defer c.mu.Unlock()
	k := c.conns[key]
	if k == nil {
		k = &known{Health: NewHealth()}
		c.conns[key] = k
	}
	k.used = time.Now()
	f(k)
}
