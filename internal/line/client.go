package line

import (
	"net"
	"net/http"
	"net/http/httptrace"
	"reflect"
	"sync"
	"time"
)

// HTTPClient is the SDK's.
type HTTPClient interface {
	Do(req *http.Request) (*http.Response, error)
}

// Nobody says when a connection was closed. It is forgotten when nothing was sent on it for
// forgetAfter. One that is to be given up must not stand for its host's others for that long.
const (
	forgetAfter      = 10 * time.Minute
	forgetEndedAfter = 30 * time.Second
)

// Client is an HTTP client that gives up connections over another one, whose connections it does
// not make itself. While a connection of a host is to be given up, requests to the host carry
// Close. net/http uses no connection again that has carried such a request; streams that it
// carries go on. It is safe for concurrent use.
type Client struct {
	base HTTPClient

	mu    sync.Mutex // guards the field below and what it points to
	conns map[connKey]*known
}

// connKey is a connection. conn is nil for a host whose transport does not tell.
type connKey struct {
	host string
	conn net.Conn
}

type known struct {
	*Health
	used  time.Time
	ended bool // a request with Close was sent on it
}

// NewClient returns a Client over base, or base itself if that gives up connections already.
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
	u := &use{c: c, key: connKey{host: host}, ends: c.toEnd(host)}
	ctx := httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{GotConn: u.got})
	req = req.WithContext(ctx) // a shallow copy
	req.Close = req.Close || u.ends
	return Judge(req, c.base.Do, u.judged)
}

// CloseIdleConnections closes the connections of base that carry nothing.
func (c *Client) CloseIdleConnections() {
	if base, ok := c.base.(interface{ CloseIdleConnections() }); ok {
		base.CloseIdleConnections()
	}
}

// toEnd tells whether a connection of the host is to be given up. It forgets old ones.
func (c *Client) toEnd(host string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	found := false
	for key, k := range c.conns {
		idle, ended := time.Since(k.used), k.Ended()
		switch {
		case k.ended, idle >= forgetAfter, ended && idle >= forgetEndedAfter:
			delete(c.conns, key)
		case key.host == host && ended:
			found = true
		}
	}
	return found
}

// use is one request: which connection it has.
type use struct {
	c    *Client
	ends bool

	mu  sync.Mutex // guards the field below
	key connKey
}

// got notes the connection. A request that net/http sends again has several.
func (u *use) got(info httptrace.GotConnInfo) {
	if info.Conn == nil || !reflect.TypeOf(info.Conn).Comparable() {
		return
	}
	u.mu.Lock()
	nameless := connKey{host: u.key.host}
	u.key.conn = info.Conn
	key := u.key
	u.mu.Unlock()
	u.c.forget(nameless) // what failed before there was a connection
	u.c.note(key, func(k *known) {
		if !info.Reused { // the address may be that of one that is gone
			*k = known{Health: NewHealth()}
		}
		k.ended = u.ends
	})
}

func (u *use) judged(good bool) {
	u.mu.Lock()
	key := u.key
	u.mu.Unlock()
	u.c.note(key, func(k *known) {
		k.Note(good)
		k.ended = k.ended || u.ends
	})
}

func (c *Client) forget(key connKey) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.conns, key)
}

func (c *Client) note(key connKey, f func(*known)) {
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
