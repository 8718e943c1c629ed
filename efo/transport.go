package efo

import (
	"bytes"
	"cmp"
	"io"
	"log/slog"
	"net/http"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"

	"github.com/kinesis-go/kcl/internal/line"
)

// DefaultMaxConcurrentOpens is the default of [TransportConfig].
const DefaultMaxConcurrentOpens = 32

// maxBody is the largest request that is read into memory before it is sent. A SubscribeToShard has
// a few hundred bytes.
const maxBody = 64 << 10

// TransportConfig says how [NewHTTPClient] derives an HTTP client.
type TransportConfig struct {
	// H2C speaks HTTP/2 with prior knowledge to http endpoints, such as a local server. Defaults
	// to false: http endpoints get HTTP/1.1.
	H2C bool
	// MaxConcurrentOpens is how many subscriptions may be opening at a time. Without a limit, a
	// process with a thousand shards would start with a thousand requests at once. Defaults to 32
	// (DefaultMaxConcurrentOpens).
	MaxConcurrentOpens int
	// Logger defaults to slog.Default().
	Logger *slog.Logger
}

// NewHTTPClient returns the HTTP client that carries subscriptions, for [Config.HTTPClient]. All
// subscribers of a process share one. base is the HTTP client of the user's kinesis.Client
// (client.Options().HTTPClient).
//
// If base is nil or the SDK's own kind, the result is derived from it, with its proxy, TLS and
// dialer. It is set up for streams that live for minutes: HTTP/2 windows of 512 KiB per stream, as
// in the Java KCL; pings that notice a dead connection within 20 seconds; up to 64 subscriptions on
// a connection; one connection dialled at a time; and no timeout on a response. Any other base is
// used unchanged, because its owner has set it up. Only the Timeout of an http.Client is left out,
// with a warning, because it would cut every subscription.
//
// A connection is given up after three failed calls in a row, and each one after about half an
// hour: the server behind it may no longer be the right one.
//
// The result is safe for concurrent use and dials nothing by itself. A derived one has a method
// CloseIdleConnections for the end of the process.
func NewHTTPClient(base aws.HTTPClient, cfg TransportConfig) aws.HTTPClient {
	cfg.MaxConcurrentOpens = cmp.Or(max(cfg.MaxConcurrentOpens, 0), DefaultMaxConcurrentOpens)
	cfg.Logger = cmp.Or(cfg.Logger, slog.Default())
	var own *awshttp.BuildableClient
	switch b := base.(type) {
	case nil:
		own = awshttp.NewBuildableClient()
	case *awshttp.BuildableClient:
		own = b
	default:
		return line.NewClient(withoutTimeout(base, cfg.Logger))
	}
	tr := own.GetTransport() // a copy, without the client's timeouts
	configure(tr, cfg.H2C)
	return &transport{
		base: &http.Client{
			Transport:     newPool(tr),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		},
		opens: make(chan struct{}, cfg.MaxConcurrentOpens),
		log:   cfg.Logger,
	}
}

// withoutTimeout returns an http.Client without its Timeout, which would count all five minutes of
// a subscription.
func withoutTimeout(base aws.HTTPClient, log *slog.Logger) aws.HTTPClient {
	client, ok := base.(*http.Client)
	if !ok || client == nil || client.Timeout <= 0 {
		return base
	}
	log.Warn("the Timeout of the Kinesis client's http.Client would cut every subscription, subscriptions go without it; "+
		"set ResponseHeaderTimeout of its Transport instead", slog.Duration("timeout", client.Timeout))
	out := *client
	out.Timeout = 0
	return &out
}

// configure sets up a transport for subscriptions. Two fields are off on purpose. A
// HTTP2Config.MaxReceiveBufferPerConnection below streams x window would let one slow processor
// stop all shards on its connection. StrictMaxConcurrentRequests would make a subscribe wait for
// the end of another subscription, which does not end.
func configure(tr *http.Transport, h2c bool) {
	h2 := http.HTTP2Config{}
	if tr.HTTP2 != nil {
		h2 = *tr.HTTP2
	}
	h2.MaxReceiveBufferPerStream = 512 << 10
	h2.SendPingTimeout = 15 * time.Second
	h2.PingTimeout = 5 * time.Second
	h2.WriteByteTimeout = 15 * time.Second
	h2.MaxReceiveBufferPerConnection = 0
	h2.StrictMaxConcurrentRequests = false
	tr.HTTP2 = &h2
	tr.ForceAttemptHTTP2 = true
	tr.ResponseHeaderTimeout = 0 // the subscriber has a deadline of its own
	tr.MaxConnsPerHost = 0       // with HTTP/2 a limit can hang (golang/go#34941)
	if h2c {
		p := new(http.Protocols)
		p.SetHTTP2(true)
		p.SetUnencryptedHTTP2(true)
		tr.Protocols = p
	}
}

// transport is an aws.HTTPClient that opens few subscriptions at a time and keeps request bodies in
// memory.
type transport struct {
	base  *http.Client
	opens chan struct{}
	log   *slog.Logger
	warn  sync.Once
}

// GivesUpConnections marks the type for [line.NewClient]: the pool gives up connections.
func (t *transport) GivesUpConnections() {}

// Do sends a request and returns when the header of the answer is there. The wait for a place among
// the opens does not count as silence of the service.
func (t *transport) Do(req *http.Request) (*http.Response, error) {
	silence := line.Of(req.Context())
	silence.Pause()
	select {
	case t.opens <- struct{}{}:
		defer func() { <-t.opens }()
	case <-req.Context().Done():
		return nil, req.Context().Err()
	}
	silence.Resume()
	req, err := plainBody(req)
	if err != nil {
		return nil, err
	}
	resp, err := t.base.Do(req)
	if err != nil {
		return nil, err
	}
	if resp.ProtoMajor < 2 && req.URL.Scheme == "https" {
		t.warn.Do(func() {
			t.log.Warn("subscriptions run over HTTP/1.1, one connection for each: "+
				"look for a proxy that does not pass HTTP/2", "endpoint", req.URL.Host)
		})
	}
	return resp, nil
}

// CloseIdleConnections closes the connections that carry nothing. Otherwise
// they close by themselves after the transport's IdleConnTimeout (90s).
func (t *transport) CloseIdleConnections() { t.base.CloseIdleConnections() }

// plainBody replaces the SDK's reader by the bytes of the body. The SDK closes its reader as soon
// as the header of the answer is there. Over HTTP/1.1, net/http then reads the request body once
// more. It finds the reader closed, and gives the connection up while the answer is still arriving.
// net/http can also send a body in memory again by itself, on a new connection after a GOAWAY.
func plainBody(req *http.Request) (*http.Request, error) {
	if req.Body == nil || req.Body == http.NoBody || req.ContentLength < 0 || req.ContentLength > maxBody {
		return req, nil
	}
	body, err := io.ReadAll(req.Body)
	if err != nil {
		return nil, err
	}
	if err := req.Body.Close(); err != nil {
		return nil, err
	}
	out := req.WithContext(req.Context()) // a shallow copy
	out.Body = io.NopCloser(bytes.NewReader(body))
	out.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(body)), nil }
	return out, nil
}
