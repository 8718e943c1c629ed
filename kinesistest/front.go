package kinesistest

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/internal/memnet"
)

const (
	// memHost is the name of the server's host on an in-memory network. The name is reserved, so DNS
	// never resolves it.
	memHost = "kinesis.test"

	// clientStreamWindow is how much the server may send ahead on one HTTP/2 stream to a client of
	// this package.
	clientStreamWindow = 512 << 10

	headerTimeout = time.Minute // for the headers of a request, so that idle attackers (and dead clients) go away
)

// front is the network side of a [Server]: its listener, its connections and its clients. The
// requests go to handler.
type front struct {
	cfg     Config
	handler http.Handler

	network    *memnet.Network // nil on a TCP port
	ownNetwork bool
	listener   net.Listener
	url        string
	cert       *certificate // nil without TLS
	cancel     context.CancelFunc
	base       func(net.Listener) context.Context
	accepting  sync.WaitGroup // the accept loop and the loops of every generation
	handling   sync.WaitGroup // requests

	mu         sync.Mutex // guards the fields below
	closed     bool
	current    *generation
	earlier    []*generation
	conns      map[net.Conn]struct{}
	transports []*http.Transport
}

// start listens and accepts connections.
func (f *front) start() error {
	ctx, cancel := context.WithCancel(context.Background())
	f.cancel, f.base = cancel, func(net.Listener) context.Context { return ctx }
	f.conns = make(map[net.Conn]struct{})
	if err := f.listen(); err != nil {
		cancel()
		return err
	}
	f.current = f.newGeneration()
	f.accepting.Go(f.accept) // ends when shutDown closes the listener
	return nil
}

// URL is the endpoint for clients, such as http://127.0.0.1:4567. On an in-memory network only
// clients of [Server.HTTPClient] and [Server.HTTPClientFrom] reach it.
func (f *front) URL() string { return f.url }

// CertPEM is the certificate that clients must trust, in PEM. It is nil without [Config.TLS]. It is
// made at start, signed by itself, and valid for the name and address in [Server.URL], localhost
// and the loopback addresses.
func (f *front) CertPEM() []byte {
	if f.cert == nil {
		return nil
	}
	return f.cert.pem
}

// HTTPClient returns a new HTTP client that reaches the server and trusts its certificate. It has
// connections of its own. It speaks HTTP/2, or HTTP/1.1 if [Config.HTTP1] is set. Give it to the
// AWS SDK as Options.HTTPClient, together with [Server.URL] as Options.BaseEndpoint.
func (f *front) HTTPClient() *http.Client { return f.HTTPClientFrom("client") }

// HTTPClientFrom is [Server.HTTPClient] for a client on the host of that name. [Server.Kill],
// [Server.Partition] and [Server.SetLatency] act on the host, and [Call.Client] is its name. On a
// TCP port the name has no effect.
func (f *front) HTTPClientFrom(host string) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(f.cfg.HTTP1)
	protocols.SetHTTP2(!f.cfg.HTTP1)
	protocols.SetUnencryptedHTTP2(!f.cfg.HTTP1)
	t := &http.Transport{
		Protocols:           protocols,
		HTTP2:               &http.HTTP2Config{MaxReceiveBufferPerStream: clientStreamWindow},
		MaxIdleConnsPerHost: 1024,
	}
	if f.network != nil {
		t.DialContext = f.network.Host(host).DialContext
	}
	if f.cert != nil {
		t.TLSClientConfig = &tls.Config{RootCAs: f.cert.pool, MinVersion: tls.VersionTLS12}
	}
	f.mu.Lock()
	f.transports = append(f.transports, t)
	f.mu.Unlock()
	if f.cfg.HTTP1 {
		return &http.Client{Transport: wholeBodies{t}}
	}
	return &http.Client{Transport: t}
}

// wholeBodies is a transport that reads the body of a request before it sends the request. The AWS
// SDK for Go closes its body as soon as the headers of the answer are there. net/http may
// not have read the body to its end by then. HTTP/1.1 takes that for a failed write and closes the
// connection during the answer. On a loopback connection that happens often, on a real network
// hardly ever.
type wholeBodies struct{ *http.Transport }

func (t wholeBodies) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.Body == nil {
		return t.Transport.RoundTrip(r)
	}
	body, err := io.ReadAll(r.Body)
	if err = errors.Join(err, r.Body.Close()); err != nil {
		return nil, err
	}
	r = r.Clone(r.Context())
	r.Body = io.NopCloser(bytes.NewReader(body))
	return t.Transport.RoundTrip(r)
}

// shutDown closes the listener and every connection, and waits for every request to end. It calls
// release to end the requests that wait.
func (f *front) shutDown(release func()) {
	f.mu.Lock()
	f.closed = true
	generations := slices.Concat(f.earlier, []*generation{f.current})
	transports := f.transports
	f.mu.Unlock()

	f.cancel()
	release()
	_ = f.listener.Close()
	for _, g := range generations {
		_ = g.http.Close()
		g.feed.close()
	}
	if f.ownNetwork {
		_ = f.network.Close()
	}
	for _, t := range transports {
		t.CloseIdleConnections()
	}
	f.accepting.Wait()
	for _, g := range generations { // again, for a connection that was being accepted the first time
		_ = g.http.Close()
	}
	f.handling.Wait()
}

// GoAway sends a GOAWAY frame to every HTTP/2 client: it shall open no more streams on its
// connections. Running subscriptions go on, and new requests come on new connections. HTTP/1.1
// connections close when their request ends.
func (f *front) GoAway() {
	f.mu.Lock()
	if f.closed {
		f.mu.Unlock()
		return
	}
	old := f.current
	f.earlier = append(f.earlier, old)
	f.current = f.newGeneration()
	f.mu.Unlock()
	f.accepting.Go(func() { // ends when the old connections have, or at Close
		_ = old.http.Shutdown(f.base(nil))
	})
}

// CloseConnections closes every connection, also during a request. Clients see the end of the
// connection.
func (f *front) CloseConnections() { f.dropConnections(false) }

// ResetConnections is [Server.CloseConnections] with a reset (RST).
func (f *front) ResetConnections() { f.dropConnections(true) }

func (f *front) dropConnections(reset bool) {
	f.mu.Lock()
	conns := make([]net.Conn, 0, len(f.conns))
	for c := range f.conns {
		conns = append(conns, c)
	}
	f.mu.Unlock()
	for _, c := range conns {
		if t, ok := c.(secureConn); ok {
			c = t.raw // no farewell
		}
		if l, ok := c.(interface{ SetLinger(seconds int) error }); ok && reset {
			_ = l.SetLinger(0)
		}
		_ = c.Close()
	}
}

// Connections returns the number of open connections.
func (f *front) Connections() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.conns)
}

func (f *front) listen() error {
	scheme := "http"
	if f.cfg.TLS {
		scheme = "https"
		cert, err := newCertificate(f.cfg.Listen)
		if err != nil {
			return fmt.Errorf("kinesistest: make a certificate: %w", err)
		}
		f.cert = cert
	}
	var err error
	switch {
	case f.cfg.Listen != "" && f.cfg.Network != nil:
		return errors.New("kinesistest: Config.Listen and Config.Network exclude each other: set one of them")
	case f.cfg.Listen != "":
		f.listener, err = net.Listen("tcp", f.cfg.Listen)
	default:
		f.network = f.cfg.Network
		if f.network == nil {
			f.network, f.ownNetwork = memnet.New(), true
		}
		f.listener, err = f.network.Listen(memHost)
	}
	if err != nil {
		return fmt.Errorf("kinesistest: listen on Config.Listen %q: %w", f.cfg.Listen, err)
	}
	f.url = scheme + "://" + f.listener.Addr().String()
	return nil
}

// accept gives new connections to the current generation.
func (f *front) accept() {
	for {
		c, err := f.listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				slog.Error("the fake Kinesis no longer accepts connections", slog.Any("err", err))
			}
			return
		}
		if f.cert != nil {
			c = secureConn{Conn: tls.Server(c, f.cert.config()), raw: c}
		}
		f.mu.Lock()
		g := f.current
		f.mu.Unlock()
		if !g.feed.put(c) {
			_ = c.Close()
		}
	}
}

// secureConn hides a TLS connection from net/http. Then net/http tells HTTP/2 from HTTP/1.1 by the
// first bytes, and not by ALPN. Clients of the Java SDK, such as the KCL, by default speak HTTP/2
// without ALPN, and AWS understands them.
type secureConn struct {
	net.Conn          // of TLS
	raw      net.Conn // below
}

// generation is the HTTP server of all connections accepted since the last GoAway. Each GOAWAY
// needs a whole http.Server, because net/http sends that frame only when a server shuts down.
type generation struct {
	http *http.Server
	feed *feed
}

func (f *front) newGeneration() *generation {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	g := &generation{
		feed: newFeed(f.listener.Addr()),
		http: &http.Server{
			Handler:           http.HandlerFunc(f.handle),
			Protocols:         protocols,
			BaseContext:       f.base,
			ConnState:         f.connState,
			ReadHeaderTimeout: headerTimeout, // no write timeout: a subscription writes for five minutes
			HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: f.cfg.MaxConcurrentStreams},
		},
	}
	f.accepting.Go(func() { _ = g.http.Serve(g.feed) }) // ends when the feed is closed
	return g
}

func (f *front) connState(c net.Conn, state http.ConnState) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch state {
	case http.StateNew:
		f.conns[c] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(f.conns, c)
	}
}

// handle receives every request.
func (f *front) handle(w http.ResponseWriter, r *http.Request) {
	f.mu.Lock()
	if f.closed { // Close may be waiting already
		f.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	f.handling.Add(1)
	f.mu.Unlock()
	defer f.handling.Done()
	f.handler.ServeHTTP(w, r)
}

// feed is a net.Listener that gets its connections from put.
type feed struct {
	addr  net.Addr
	conns chan net.Conn
	done  chan struct{}
	once  sync.Once
}

func newFeed(addr net.Addr) *feed {
	return &feed{addr: addr, conns: make(chan net.Conn), done: make(chan struct{})}
}

// put hands over a connection. It returns false if the feed is closed.
func (f *feed) put(c net.Conn) bool {
	select {
	case f.conns <- c:
		return true
	case <-f.done:
		return false
	}
}

func (f *feed) Accept() (net.Conn, error) {
	select {
	case c := <-f.conns:
		return c, nil
	case <-f.done:
		return nil, net.ErrClosed
	}
}

func (f *feed) close()         { f.once.Do(func() { close(f.done) }) }
func (f *feed) Close() error   { f.close(); return nil }
func (f *feed) Addr() net.Addr { return f.addr }

// certificate is a self-signed certificate that can be trusted as a root.
type certificate struct {
	pair tls.Certificate
	pool *x509.CertPool
	pem  []byte
}

func (c *certificate) config() *tls.Config {
	return &tls.Config{
		Certificates: []tls.Certificate{c.pair},
		MinVersion:   tls.VersionTLS12,
		NextProtos:   []string{"h2", "http/1.1"},
	}
}

func newCertificate(listen string) (*certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	serial, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), 120))
	if err != nil {
		return nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          serial,
		Subject:               pkix.Name{CommonName: "kinesistest"},
		NotBefore:             now.Add(-24 * time.Hour),
		NotAfter:              now.AddDate(10, 0, 0),
		KeyUsage:              x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
		ExtKeyUsage:           []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
		BasicConstraintsValid: true,
		IsCA:                  true,
		DNSNames:              []string{"localhost", memHost},
		IPAddresses:           []net.IP{net.IPv4(127, 0, 0, 1), net.IPv6loopback},
	}
	if host, _, err := net.SplitHostPort(listen); err == nil && host != "" {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		return nil, err
	}
	leaf, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, err
	}
	pool := x509.NewCertPool()
	pool.AddCert(leaf)
	return &certificate{
		pair: tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key, Leaf: leaf},
		pool: pool,
		pem:  pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}),
	}, nil
}
