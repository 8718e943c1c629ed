package line

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/internal/chance"
)

const (
	// maxFailures is the number of consecutive failures after which a connection is given up. The
	// failures of each caller also count separately: the connection may work for other callers.
	maxFailures = 3
	// minAge is the least age of a connection that is given up for failures. So an outage replaces
	// each connection at most once in that time.
	minAge = 10 * time.Second
	// maxAge is the age after which a connection is given up, plus up to a third at random.
	maxAge = 30 * time.Minute
	// provenAge is the age of an answer at which a byte of it proves that the connection works. A
	// server that accepts a subscription and then falls silent sends no byte that late.
	provenAge = 10 * time.Second
)

// Health is the record of one connection. It is not safe for concurrent use.
type Health struct {
	born, retires time.Time
	failures      int            // consecutive failures of all callers
	byCaller      map[string]int // consecutive failures of each caller; only callers that failed last
	failed        bool           // too many calls failed at an age of minAge or more
}

// NewHealth returns the Health of a connection that was made now.
func NewHealth() *Health {
	now := time.Now()
	return &Health{born: now, retires: now.Add(maxAge + chance.N(maxAge/3, "connection")), byCaller: map[string]int{}}
}

// Record counts a call of caller that succeeded or failed, see [WithCaller].
func (h *Health) Record(caller string, good bool) {
	if good {
		h.failures = 0
		delete(h.byCaller, caller)
		return
	}
	h.failures++
	h.byCaller[caller]++
	if max(h.failures, h.byCaller[caller]) >= maxFailures && time.Since(h.born) >= minAge {
		h.failed = true
	}
}

// Ended tells whether the connection must be given up: it takes no more requests.
func (h *Health) Ended() bool {
	now := time.Now()
	return h.failed || h.failures >= maxFailures && now.Sub(h.born) >= minAge || now.After(h.retires)
}

type callerKey struct{}

// WithCaller returns a context for the calls of one caller, such as the reader of a shard. Many
// callers share a connection. The successes of other callers must not hide the failures of one.
func WithCaller(ctx context.Context, caller string) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// CallerOf returns the caller of a call's context, or an empty string.
func CallerOf(ctx context.Context) string {
	caller, _ := ctx.Value(callerKey{}).(string)
	return caller
}

// Send sends a request, and reports once whether its connection works. The connection is bad after
// a 5xx answer, after an error of the transport, or after silence until the caller's deadline. It
// is good after a complete answer, or after a byte of an answer of age provenAge. Send reports
// nothing after the caller cancels the call. Bytes of the answer count for the [Silence] of the
// request.
func Send(
	req *http.Request, send func(*http.Request) (*http.Response, error), report func(good bool),
) (*http.Response, error) {
	resp, err := send(req)
	b := &watchedBody{ctx: req.Context(), report: report}
	switch {
	case err != nil:
		b.reportFailure()
		return resp, err
	case resp.StatusCode >= http.StatusInternalServerError:
		b.reportOnce(false)
	}
	Of(req.Context()).Heard()
	b.body, b.began = resp.Body, time.Now()
	resp.Body = b
	return resp, nil
}

// watchedBody is the body of an answer. It reports once whether the connection works.
type watchedBody struct {
	ctx    context.Context //nolint:containedctx // of its request
	report func(good bool)
	body   io.ReadCloser
	began  time.Time // when the body began
	once   sync.Once
}

// reportOnce calls report at the first call.
func (b *watchedBody) reportOnce(good bool) { b.once.Do(func() { b.report(good) }) }

// reportFailure reports a failure, unless the caller has cancelled the call.
func (b *watchedBody) reportFailure() {
	if b.ctx.Err() == nil || errors.Is(context.Cause(b.ctx), context.DeadlineExceeded) {
		b.reportOnce(false)
	}
}

// Read implements [io.Reader].
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.body.Read(p)
	if n > 0 {
		Of(b.ctx).Heard()
		if time.Since(b.began) >= provenAge {
			b.reportOnce(true)
		}
	}
	switch {
	case err == io.EOF:
		b.reportOnce(true)
	case err != nil:
		b.reportFailure()
	}
	return n, err
}

// Close implements [io.Closer].
func (b *watchedBody) Close() error {
	if errors.Is(context.Cause(b.ctx), context.DeadlineExceeded) {
		b.reportOnce(false)
	}
	return b.body.Close()
}
