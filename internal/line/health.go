package line

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

const (
	// maxFailures is how many calls in a row may fail on a connection before it is given up. Calls of
	// one caller count for themselves, too: the connection may work for other callers.
	maxFailures = 3
	// minAge is how old a connection must be before it is given up for failures. In an outage each
	// connection is replaced no more often than that.
	minAge = 10 * time.Second
	// maxAge is how old a connection may become, plus a third at random.
	maxAge = 30 * time.Minute
	// lasting is the age of an answer from which a byte of it shows that the connection works. A
	// server that accepts a subscription and then falls silent has sent nothing that late.
	lasting = 10 * time.Second
)

// Health is the record of one connection. It is not safe for concurrent use.
type Health struct {
	born, retires time.Time
	failures      int            // in a row
	of            map[string]int // failures in a row of each caller that failed last
	bad           bool           // enough calls have failed, once the connection was old enough
}

// NewHealth returns the Health of a connection that was made now.
func NewHealth() *Health {
	now := time.Now()
	return &Health{born: now, retires: now.Add(maxAge + rand.N(maxAge/3)), of: map[string]int{}}
}

// Note counts whether a call of caller succeeded, see [WithCaller].
func (h *Health) Note(caller string, good bool) {
	if good {
		h.failures = 0
		delete(h.of, caller)
		return
	}
	h.failures++
	h.of[caller]++
	if max(h.failures, h.of[caller]) >= maxFailures && time.Since(h.born) >= minAge {
		h.bad = true
	}
}

// Ended tells whether no more requests shall be sent on the connection.
func (h *Health) Ended() bool {
	now := time.Now()
	return h.bad || h.failures >= maxFailures && now.Sub(h.born) >= minAge || now.After(h.retires)
}

type callerKey struct{}

// WithCaller returns a context for the calls of one caller, such as the reader of a shard. Many
// callers share a connection. If it fails for one of them, successes of the others must not hide
// that.
func WithCaller(ctx context.Context, caller string) context.Context {
	return context.WithValue(ctx, callerKey{}, caller)
}

// CallerOf returns the caller of a call's context, or an empty string.
func CallerOf(ctx context.Context) string {
	caller, _ := ctx.Value(callerKey{}).(string)
	return caller
}

// Judge sends a request and tells whether its connection works. A connection is bad after a 5xx
// answer, after a failure of the transport, and after silence until the caller's deadline. It is
// good after an answer that came to its end, or that still brings bytes after a while. A call that
// its caller gives up tells nothing. Bytes of the answer count for the [Silence] of the request.
func Judge(
	req *http.Request, send func(*http.Request) (*http.Response, error), tell func(good bool),
) (*http.Response, error) {
	resp, err := send(req)
	j := &judge{ctx: req.Context(), tell: tell}
	switch {
	case err != nil:
		j.failed()
		return resp, err
	case resp.StatusCode >= http.StatusInternalServerError:
		j.say(false)
	}
	Of(req.Context()).Heard()
	j.body, j.began = resp.Body, time.Now()
	resp.Body = j
	return resp, nil
}

// judge is the body of an answer. It tells once whether the connection works.
type judge struct {
	ctx   context.Context //nolint:containedctx // of its request
	tell  func(good bool)
	body  io.ReadCloser
	began time.Time
	once  sync.Once
}

// say tells the verdict. Later verdicts do not count.
func (j *judge) say(good bool) { j.once.Do(func() { j.tell(good) }) }

// failed tells of a failure, unless the caller has given the call up.
func (j *judge) failed() {
	if j.ctx.Err() == nil || errors.Is(context.Cause(j.ctx), context.DeadlineExceeded) {
		j.say(false)
	}
}

// Read implements [io.Reader].
func (j *judge) Read(p []byte) (int, error) {
	n, err := j.body.Read(p)
	if n > 0 {
		Of(j.ctx).Heard()
		if time.Since(j.began) >= lasting {
			j.say(true)
		}
	}
	switch {
	case err == io.EOF:
		j.say(true)
	case err != nil:
		j.failed()
	}
	return n, err
}

// Close implements [io.Closer].
func (j *judge) Close() error {
	if errors.Is(context.Cause(j.ctx), context.DeadlineExceeded) {
		j.say(false)
	}
	return j.body.Close()
}
