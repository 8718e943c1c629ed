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
	// maxFailures is how many calls in a row may fail on a connection before it is given up.
	maxFailures = 3
	// minAge is how old a connection is before it is given up for failures. In an outage each
	// connection is replaced no more often than that.
	minAge = 10 * time.Second
	// maxAge is how old a connection may become, plus a third at random.
	maxAge = 30 * time.Minute
	// lasting is from when on a byte of an answer says that the connection works. Whoever accepts
	// a subscription and then falls silent has sent nothing that late.
	lasting = 10 * time.Second
)

// Health is what is known of a connection. It is not safe for concurrent use.
type Health struct {
	born, retires time.Time
	failures      int // in a row
}

// NewHealth returns the Health of a connection that was made now.
func NewHealth() *Health {
	now := time.Now()
	return &Health{born: now, retires: now.Add(maxAge + rand.N(maxAge/3))}
}

// Note counts what became of a call.
func (h *Health) Note(good bool) {
	if good {
		h.failures = 0
	} else {
		h.failures++
	}
}

// Ended tells whether the connection is to be used no more.
func (h *Health) Ended() bool {
	now := time.Now()
	return h.failures >= maxFailures && now.Sub(h.born) >= minAge || now.After(h.retires)
}

// Judge sends a request and tells how its connection does. Bad is an answer of the 5xx kind, a
// transport that fails, and silence until the caller's deadline. Good is an answer that came to its
// end, or one that still brings something after a while. A call that its caller gives up says
// nothing. Bytes of the answer count for the [Silence] of the request.
func Judge(req *http.Request, send func(*http.Request) (*http.Response, error), tell func(good bool)) (*http.Response, error) {
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

// judge is the body of an answer.
type judge struct {
	ctx   context.Context //nolint:containedctx // of its request
	tell  func(good bool)
	body  io.ReadCloser
	began time.Time
	once  sync.Once // of a verdict about the whole
}

// say gives the verdict, once.
func (j *judge) say(good bool) { j.once.Do(func() { j.tell(good) }) }

// failed tells of a failure, unless the caller has given up.
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
