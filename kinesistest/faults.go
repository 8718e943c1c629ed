package kinesistest

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// Call describes one request, to choose which requests fail. Do not change its fields.
type Call struct {
	Operation string // such as SubscribeToShard
	Stream    string // name of the stream, if the request named it by name or ARN; else ""
	Shard     string // id of the shard; "" if the request named none
	Consumer  string // name of the consumer; "" if the request named none

	// Client is the host that the request came from. On an in-memory network it is the argument of
	// [Server.HTTPClientFrom], and "client" for [Server.HTTPClient]. On a TCP port it is the IP
	// address.
	Client string

	RemoteAddr string      // host and port of the connection, the same for all requests on it
	Header     http.Header // of the request, such as User-Agent
	Body       []byte      // of the request, unchanged

	codec codec           // of the request
	done  <-chan struct{} // closed when the client has gone or the server closes
	steps []streamStep    // what the faults do to the subscription
}

// Fault makes some calls fail, or the subscriptions that they open. The zero value of every
// selecting field selects all.
type Fault struct {
	// Operation, Stream, Shard, Consumer and Client select calls by the fields of the same name in
	// [Call].
	Operation string
	Stream    string
	Shard     string
	Consumer  string
	Client    string

	// When, if set, selects among the calls that the fields above have selected. Several goroutines of
	// the server call it at once.
	When func(*Call) bool

	// Skip is how many of the selected calls pass before the first one that fails. Default: 0.
	Skip int

	// Times is how many calls fail after that. Default: 0, all of them until the fault is removed.
	Times int

	// Do says what happens. All actions happen. If several actions answer a call or break it off, the
	// first one counts. If several faults select the same call, the one that was injected first
	// counts.
	Do []Action
}

// Inject adds a fault for calls that arrive from now on. remove takes it away again, and does not
// undo its effects.
func (s *Server) Inject(f Fault) (remove func()) { return s.faults.inject(f) }

// OnCall calls fn for every call before it takes effect, after the faults injected before. fn may
// return a fault for that call, of which only Do counts, or nil. It can also count and watch calls.
// Several goroutines of the server call fn at once. remove takes fn away again.
func (s *Server) OnCall(fn func(*Call) *Fault) (remove func()) {
	return s.faults.add(&installed{hook: fn})
}

// Freeze holds back the calls that match selects, before they take effect, and the events of their
// subscriptions. When thaw is called, all is applied, in no particular order, even if the client
// has given up meanwhile. A worker that is stopped for a while with requests under way looks like
// that: by SIGSTOP, a long garbage collection or a suspended machine. Several goroutines of the
// server call match at once. Closing the server ends all.
func (s *Server) Freeze(match func(*Call) bool) (thaw func()) { return s.faults.freeze(match) }

// faults holds the faults and hooks of a server.
type faults struct {
	closed   chan struct{}
	once     sync.Once
	frozen   atomic.Int32 // number of freezes, so that the hot path need not lock
	remember atomic.Bool  // a RepeatLastEvent has been injected: keep last events

	mu      sync.Mutex // guards the fields below, never held while calling a function of the user's
	list    []*installed
	freezes []*freeze
	last    map[string][]byte // last event frame by consumer and shard
}

// installed is a fault or a hook in place.
type installed struct {
	fault Fault
	hook  func(*Call) *Fault
	seen  int // calls selected so far; guarded by faults.mu
}

type freeze struct {
	match func(*Call) bool
	thawn chan struct{}
}

func newFaults() *faults {
	return &faults{closed: make(chan struct{}), last: make(map[string][]byte)}
}

// close releases every call that waits.
func (f *faults) close() { f.once.Do(func() { close(f.closed) }) }

func (f *faults) inject(fault Fault) (remove func()) {
	for _, a := range fault.Do {
		if a.remembers {
			f.remember.Store(true)
		}
	}
	return f.add(&installed{fault: fault})
}

func (f *faults) add(i *installed) (remove func()) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.list = append(f.list, i)
	return func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.list = slices.DeleteFunc(slices.Clone(f.list), func(j *installed) bool { return j == i })
	}
}

func (f *faults) freeze(match func(*Call) bool) (thaw func()) {
	z := &freeze{match: match, thawn: make(chan struct{})}
	f.mu.Lock()
	defer f.mu.Unlock()
	f.freezes = append(f.freezes, z)
	f.frozen.Add(1)
	return sync.OnceFunc(func() {
		f.mu.Lock()
		defer f.mu.Unlock()
		f.freezes = slices.DeleteFunc(slices.Clone(f.freezes), func(y *freeze) bool { return y == z })
		f.frozen.Add(-1)
		close(z.thawn)
	})
}

// whileFrozen returns true when no freeze holds the call back any more, and false when the server
// closes first.
func (f *faults) whileFrozen(c *Call) bool {
	for f.frozen.Load() > 0 {
		f.mu.Lock()
		freezes := f.freezes
		f.mu.Unlock()
		i := slices.IndexFunc(freezes, func(z *freeze) bool { return z.match(c) })
		if i < 0 {
			return true
		}
		select {
		case <-freezes[i].thawn:
		case <-f.closed:
			return false
		}
	}
	return true
}

// plan is the sum of the actions on one call.
type plan struct {
	delay       time.Duration
	delayAnswer time.Duration
	hold        time.Duration
	fate        fate
	fail        *apiError
	status      int
	body        []byte
	goAway      bool
	omits       bool // shards of a list: omit, or all when that is empty
	omit        []string
	falseEnd    *time.Duration // MillisBehindLatest of a false end of the shard
	hidesEnd    bool
	steps       []streamStep
}

// fate says how a call ends, if a fault ends it.
type fate int

const (
	fateNone fate = iota
	fateAnswer
	fateLoseRequest
	fateLoseAnswer
	fateSilence
	fateSilentAnswer
)

// verdict says how a handler goes on with a call:
//
//	v := s.faults.call(ctx, c)
//	if v.before(ctx) != nil { panic(http.ErrAbortHandler) } // waits; error: the request is lost
//	if v.answered(w) { return }                             // or v.err, an error of the service
//	... apply the operation ...
//	if v.after(ctx) != nil { panic(http.ErrAbortHandler) }  // waits; error: the answer is lost
//	... write the answer ...
//
// (The panic breaks the connection on HTTP/1.1 and the stream on HTTP/2.)
type verdict struct {
	plan
	err  error // the answer, in place of applying the operation
	f    *faults
	call *Call
}

// errLost means that a request or an answer shall not arrive.
var errLost = errors.New("kinesistest: lost by a fault")

// call decides about a call, by the faults in place when it arrives.
func (f *faults) call(ctx context.Context, c *Call) verdict {
	c.done = ctx.Done()
	v := verdict{plan: f.plan(c), f: f, call: c}
	c.steps = v.steps
	if v.fail != nil {
		v.err = v.fail
	}
	return v
}

// before waits while the call is held back or delayed. It goes on waiting if the client goes away,
// because a request that has arrived is not affected.
func (v verdict) before(ctx context.Context) error {
	if !v.f.whileFrozen(v.call) {
		return errLost
	}
	if !v.f.wait(nil, v.delay) {
		return errLost
	}
	switch v.fate {
	case fateSilence:
		v.f.wait(ctx.Done(), forEver)
		return errLost
	case fateLoseRequest:
		return errLost
	}
	return nil
}

// answered writes the answer of a fault, if there is one.
func (v verdict) answered(w http.ResponseWriter) bool {
	if v.goAway {
		w.Header().Set("Connection", "close") // net/http turns it into GOAWAY on HTTP/2
	}
	if v.fate != fateAnswer {
		return false
	}
	c, status, body := v.call.encoding(), v.status, v.body
	if v.fail != nil {
		status = v.fail.httpStatus()
		body, _ = c.encode(errorBody{Type: v.fail.code, Message: v.fail.message})
	}
	w.Header().Set("Content-Type", c.contentType())
	w.WriteHeader(status)
	_, _ = w.Write(body) // an error means that the client has gone away
	return true
}

// after decides about the answer of a call that has taken effect.
func (v verdict) after(ctx context.Context) error {
	v.f.wait(ctx.Done(), v.delayAnswer)
	switch v.fate {
	case fateSilentAnswer:
		v.f.wait(ctx.Done(), forEver)
		return errLost
	case fateLoseAnswer:
		return errLost
	}
	return nil
}

// encoding is the codec of the request, and JSON if that is not known.
func (c *Call) encoding() codec {
	if c.codec == nil {
		return jsonCodec{}
	}
	return c.codec
}

// plan adds up the actions of every fault that selects the call.
func (f *faults) plan(c *Call) plan {
	var p plan
	f.mu.Lock()
	list := f.list
	f.mu.Unlock()
	for _, i := range list {
		do := i.fault.Do
		if i.hook != nil {
			fault := i.hook(c)
			if fault == nil {
				continue
			}
			do = fault.Do
		} else if !i.fault.selects(c) || !f.due(i) {
			continue
		}
		for _, a := range do {
			a.apply(&p)
		}
	}
	return p
}

// due counts a selected call and tells whether the fault acts on it.
func (f *faults) due(i *installed) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	i.seen++
	n := i.seen - i.fault.Skip
	return n > 0 && (i.fault.Times <= 0 || n <= i.fault.Times)
}

func (f *Fault) selects(c *Call) bool {
	return (f.Operation == "" || f.Operation == c.Operation) &&
		(f.Stream == "" || f.Stream == c.Stream) &&
		(f.Shard == "" || f.Shard == c.Shard) &&
		(f.Consumer == "" || f.Consumer == c.Consumer) &&
		(f.Client == "" || f.Client == c.Client) &&
		(f.When == nil || f.When(c))
}

const forEver = time.Duration(-1)

// wait waits for d and returns true. It returns false if done is closed or the server closes first.
func (f *faults) wait(done <-chan struct{}, d time.Duration) bool {
	if d == 0 {
		return true
	}
	var elapsed <-chan time.Time // nil, never ready: for ever
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		elapsed = timer.C
	}
	select {
	case <-elapsed:
		return true
	case <-done:
		return false
	case <-f.closed:
		return false
	}
}

// Action is an effect of a [Fault] on a call. Functions of this package make actions. The zero
// value does nothing.
type Action struct {
	do        func(*plan)
	remembers bool
}

func (a Action) apply(p *plan) {
	if a.do != nil {
		a.do(p)
	}
}

func end(f fate) Action {
	return Action{do: func(p *plan) {
		if p.fate == fateNone {
			p.fate = f
		}
	}}
}

// Delay makes the call wait before it takes effect, even if its client goes away meanwhile. Several
// delays add up.
func Delay(d time.Duration) Action { return Action{do: func(p *plan) { p.delay += d }} }

// DelayAnswer makes the answer wait; of a subscription, the headers. The call takes effect at once.
// Several delays add up.
func DelayAnswer(d time.Duration) Action { return Action{do: func(p *plan) { p.delayAnswer += d }} }

// Fail answers the call with an error of the service instead of applying it. code is the name of
// the error, such as ProvisionedThroughputExceededException or AccessDeniedException. The status is
// 500 for InternalFailure, 503 for ServiceUnavailable (both with or without Exception after the
// name), and 400 for any other.
func Fail(code, message string) Action {
	e := &apiError{status: http.StatusBadRequest, code: code, message: message}
	switch strings.TrimSuffix(code, "Exception") {
	case "InternalFailure", "InternalServerError":
		e.status = http.StatusInternalServerError
	case "ServiceUnavailable":
		e.status = http.StatusServiceUnavailable
	}
	return Action{do: func(p *plan) {
		if p.fate == fateNone {
			p.fate, p.fail = fateAnswer, e
		}
	}}
}

// Answer answers the call with another status and body instead of applying it. The content type is
// that of the request.
func Answer(status int, body []byte) Action {
	return Action{do: func(p *plan) {
		if p.fate == fateNone {
			p.fate, p.status, p.body = fateAnswer, status, body
		}
	}}
}

// OmitShards makes the answer of a ListShards leave out some shards, by their ids, or all shards if
// there are no ids. Other calls are not changed.
func OmitShards(ids ...string) Action {
	return Action{do: func(p *plan) { p.omits, p.omit = true, append(p.omit, ids...) }}
}

// FalseEnd makes the answer of a GetRecords say that the shard has ended, at any place of the
// iterator. The answer has no records, no next iterator and no children. Its MillisBehindLatest is
// behind, and absent if behind is negative.
func FalseEnd(behind time.Duration) Action {
	return Action{do: func(p *plan) { p.falseEnd = &behind }}
}

// HideEnd hides the end of a closed shard. GetRecords gives a next iterator and names no children,
// and the last event of a subscription has a continuation besides its children.
func HideEnd() Action { return Action{do: func(p *plan) { p.hidesEnd = true }} }

// LoseRequest breaks the connection (on HTTP/2: the stream) before the call takes effect.
func LoseRequest() Action { return end(fateLoseRequest) }

// LoseAnswer breaks the connection (on HTTP/2: the stream) after the call took effect, before any
// byte of the answer.
func LoseAnswer() Action { return end(fateLoseAnswer) }

// Silence never answers the call while its client waits. The call takes no effect.
func Silence() Action { return end(fateSilence) }

// SilentAnswer applies the call and never answers it while its client waits.
func SilentAnswer() Action { return end(fateSilentAnswer) }

// SendGoAway sends GOAWAY on the connection of the call with its answer. On HTTP/1.1 it closes the
// connection after the answer. See [Server.GoAway].
func SendGoAway() Action { return Action{do: func(p *plan) { p.goAway = true }} }

// HoldSubscription makes the service believe that the subscription of the call still runs, for d
// after its end. Other calls for that consumer and shard fail with ResourceInUseException.
func HoldSubscription(d time.Duration) Action {
	return Action{do: func(p *plan) { p.hold = max(p.hold, d) }}
}

// errStreamOver is what a frameWriter returns when a fault has ended the stream: the handler just
// returns.
var errStreamOver = errors.New("kinesistest: a fault ended the stream")
