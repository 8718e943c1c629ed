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
	"testing"
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

// Server is a running fake Kinesis. Start one with [Start] or [New]. All methods may be called from
// any goroutine.
type Server struct {
	cfg     Config
	backend *backend
	faults  *faults

	network    *memnet.Network // nil on a TCP port
	ownNetwork bool
	listener   net.Listener
	url        string
	cert       *certificate // nil without TLS
	cancel     context.CancelFunc
	base       func(net.Listener) context.Context
	closeOnce  sync.Once
	accepting  sync.WaitGroup // the accept loop and the loops of every generation
	handling   sync.WaitGroup // requests

	mu         sync.Mutex // guards the fields below
	closed     bool
	current    *generation
	earlier    []*generation
	conns      map[net.Conn]struct{}
	transports []*http.Transport
}

// Start starts a server. It fails if the configuration is wrong or the address of [Config.Listen]
// is not available. Call [Server.Close] at the end. Inside a testing/synctest bubble, start and
// close it inside the bubble.
func Start(cfg Config) (*Server, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	cfg = cfg.withDefaults()
	ctx, cancel := context.WithCancel(context.Background())
	s := &Server{
		cfg:     cfg,
		backend: newBackend(cfg),
		faults:  newFaults(),
		cancel:  cancel,
		base:    func(net.Listener) context.Context { return ctx },
		conns:   make(map[net.Conn]struct{}),
	}
	if err := s.listen(); err != nil {
		cancel()
		return nil, err
	}
	s.current = s.newGeneration()
	s.accepting.Go(s.accept) // ends when Close closes the listener
	return s, nil
}

// New is [Start] for tests. It fails the test instead of returning an error, and closes the server
// when the test ends.
func New(tb testing.TB, cfg Config) *Server {
	tb.Helper()
	s, err := Start(cfg)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(s.Close)
	return s
}

// URL is the endpoint for clients, such as http://127.0.0.1:4567. On an in-memory network only
// clients of [Server.HTTPClient] and [Server.HTTPClientFrom] reach it.
func (s *Server) URL() string { return s.url }

// CertPEM is the certificate that clients must trust, in PEM. It is nil without [Config.TLS]. It is
// made at start, signed by itself, and valid for the name and address in [Server.URL], localhost
// and the loopback addresses.
func (s *Server) CertPEM() []byte {
	if s.cert == nil {
		return nil
	}
	return s.cert.pem
}

// HTTPClient returns a new HTTP client that reaches the server and trusts its certificate. It has
// connections of its own. It speaks HTTP/2, or HTTP/1.1 if [Config.HTTP1] is set. Give it to the
// AWS SDK as Options.HTTPClient, together with [Server.URL] as Options.BaseEndpoint.
func (s *Server) HTTPClient() *http.Client { return s.HTTPClientFrom("client") }

// HTTPClientFrom is [Server.HTTPClient] for a client on the host of that name. [Server.Kill],
// [Server.Partition] and [Server.SetLatency] act on the host, and [Call.Client] is its name. On a
// TCP port the name has no effect.
func (s *Server) HTTPClientFrom(host string) *http.Client {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(s.cfg.HTTP1)
	protocols.SetHTTP2(!s.cfg.HTTP1)
	protocols.SetUnencryptedHTTP2(!s.cfg.HTTP1)
	t := &http.Transport{
		Protocols:           protocols,
		HTTP2:               &http.HTTP2Config{MaxReceiveBufferPerStream: clientStreamWindow},
		MaxIdleConnsPerHost: 1024,
	}
	if s.network != nil {
		t.DialContext = s.network.Host(host).DialContext
	}
	if s.cert != nil {
		t.TLSClientConfig = &tls.Config{RootCAs: s.cert.pool, MinVersion: tls.VersionTLS12}
	}
	s.mu.Lock()
	s.transports = append(s.transports, t)
	s.mu.Unlock()
	if s.cfg.HTTP1 {
		return &http.Client{Transport: wholeBodies{t}}
	}
	return &http.Client{Transport: t}
}

// wholeBodies is a transport that reads the body of a request before it sends the request. The AWS
// SDK for Go closes its body as soon as the headers of the answer are there. If net/http has not
// read the body to its end by then, HTTP/1.1 takes that for a failed write and closes the
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

// Close stops the server. It closes the listener and every connection, and waits for every request
// to end. It may be called more than once.
func (s *Server) Close() {
	s.closeOnce.Do(func() {
		s.mu.Lock()
		s.closed = true
		generations := slices.Concat(s.earlier, []*generation{s.current})
		transports := s.transports
		s.mu.Unlock()

		s.cancel()
		s.faults.close()
		_ = s.listener.Close()
		for _, g := range generations {
			_ = g.http.Close()
			g.feed.close()
		}
		if s.ownNetwork {
			_ = s.network.Close()
		}
		for _, t := range transports {
			t.CloseIdleConnections()
		}
		s.accepting.Wait()
		for _, g := range generations { // again, for a connection that was being accepted the first time
			_ = g.http.Close()
		}
		s.handling.Wait()
		s.backend.close()
	})
}

// GoAway sends a GOAWAY frame to every HTTP/2 client: it shall open no more streams on its
// connections. Running subscriptions go on, and new requests come on new connections. HTTP/1.1
// connections close when their request ends.
func (s *Server) GoAway() {
	s.mu.Lock()
	if s.closed {
		s.mu.Unlock()
		return
	}
	old := s.current
	s.earlier = append(s.earlier, old)
	s.current = s.newGeneration()
	s.mu.Unlock()
	s.accepting.Go(func() { // ends when the old connections have, or at Close
		_ = old.http.Shutdown(s.base(nil))
	})
}

// CloseConnections closes every connection, also during a request. Clients see the end of the
// connection.
func (s *Server) CloseConnections() { s.dropConnections(false) }

// ResetConnections is [Server.CloseConnections] with a reset (RST).
func (s *Server) ResetConnections() { s.dropConnections(true) }

func (s *Server) dropConnections(reset bool) {
	s.mu.Lock()
	conns := make([]net.Conn, 0, len(s.conns))
	for c := range s.conns {
		conns = append(conns, c)
	}
	s.mu.Unlock()
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
func (s *Server) Connections() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.conns)
}

func (s *Server) listen() error {
	scheme := "http"
	if s.cfg.TLS {
		scheme = "https"
		cert, err := newCertificate(s.cfg.Listen)
		if err != nil {
			return fmt.Errorf("kinesistest: make a certificate: %w", err)
		}
		s.cert = cert
	}
	var err error
	switch {
	case s.cfg.Listen != "" && s.cfg.Network != nil:
		return errors.New("kinesistest: Config.Listen and Config.Network exclude each other: set one of them")
	case s.cfg.Listen != "":
		s.listener, err = net.Listen("tcp", s.cfg.Listen)
	default:
		s.network = s.cfg.Network
		if s.network == nil {
			s.network, s.ownNetwork = memnet.New(), true
		}
		s.listener, err = s.network.Listen(memHost)
	}
	if err != nil {
		return fmt.Errorf("kinesistest: listen on Config.Listen %q: %w", s.cfg.Listen, err)
	}
	s.url = scheme + "://" + s.listener.Addr().String()
	return nil
}

// accept gives new connections to the current generation.
func (s *Server) accept() {
	for {
		c, err := s.listener.Accept()
		if err != nil {
			if !errors.Is(err, net.ErrClosed) {
				slog.Error("the fake Kinesis no longer accepts connections", slog.Any("err", err))
			}
			return
		}
		if s.cert != nil {
			c = secureConn{Conn: tls.Server(c, s.cert.config()), raw: c}
		}
		s.mu.Lock()
		g := s.current
		s.mu.Unlock()
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

func (s *Server) newGeneration() *generation {
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	protocols.SetHTTP2(true)
	protocols.SetUnencryptedHTTP2(true)
	g := &generation{
		feed: newFeed(s.listener.Addr()),
		http: &http.Server{
			Handler:           http.HandlerFunc(s.handle),
			Protocols:         protocols,
			BaseContext:       s.base,
			ConnState:         s.connState,
			ReadHeaderTimeout: headerTimeout, // no write timeout: a subscription writes for five minutes
			HTTP2:             &http.HTTP2Config{MaxConcurrentStreams: s.cfg.MaxConcurrentStreams},
		},
	}
	s.accepting.Go(func() { _ = g.http.Serve(g.feed) }) // ends when the feed is closed
	return g
}

func (s *Server) connState(c net.Conn, state http.ConnState) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch state {
	case http.StateNew:
		s.conns[c] = struct{}{}
	case http.StateClosed, http.StateHijacked:
		delete(s.conns, c)
	}
}

// handle receives every request.
func (s *Server) handle(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	if s.closed { // Close may be waiting already
		s.mu.Unlock()
		panic(http.ErrAbortHandler)
	}
	s.handling.Add(1)
	s.mu.Unlock()
	defer s.handling.Done()
	s.ServeHTTP(w, r)
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
