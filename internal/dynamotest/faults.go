package dynamotest

import (
	"context"
	"net/http"
	"slices"
	"sync"
	"time"
)

// Call describes one request, to choose which requests fail.
type Call struct {
	Operation string // such as UpdateItem
	Table     string
	Key       string // value of the hash key; "" when the request names no item
	// Client is the host that the request came from: on an in-memory network, the argument of
	// [Server.HTTPClientFrom].
	Client string
	// RemoteAddr is host and port of the connection. Requests on one connection have the same.
	RemoteAddr string
	Body       []byte
}

// Fault makes some calls fail. The zero value of every selecting field selects all. The words are
// those of package kinesistest.
type Fault struct {
	// Operation, Table, Key and Client select calls by the fields of the same name in [Call].
	Operation string
	Table     string
	Key       string
	Client    string
	// When, if set, selects among those. Several goroutines call it.
	When func(Call) bool
	// Skip is how many of the selected calls pass before the first one that fails.
	Skip int
	// Times is how many calls fail after that. 0 means all.
	Times int
	// Do says what happens. If several actions end a call, the first one counts.
	Do []Action
}

// Action is an effect of a [Fault] on a call.
type Action func(*plan)

// plan is the sum of the actions on one call.
type plan struct {
	delay, delayAnswer time.Duration
	fail               *apiError
	status             int    // of an answer of the test's own; 0 for none
	body               []byte // of that answer
	loseRequest        bool   // break the connection instead of applying the call
	loseAnswer         bool   // break the connection after applying it
	silent             bool   // wait for the client to give up before breaking it
	lands              bool   // apply the call late after the client has given up
	late               time.Duration
}

func (p *plan) ends() bool { return p.fail != nil || p.status != 0 || p.loseRequest || p.loseAnswer }

func end(f func(*plan)) Action {
	return func(p *plan) {
		if !p.ends() {
			f(p)
		}
	}
}

// Delay makes the call wait before it takes effect. Several delays add up. A call whose client goes
// away meanwhile takes effect at once.
func Delay(d time.Duration) Action { return func(p *plan) { p.delay += d } }

// DelayAnswer makes the answer wait. The call takes effect at once.
func DelayAnswer(d time.Duration) Action { return func(p *plan) { p.delayAnswer += d } }

// Fail answers with an error of the service instead of applying the call.
func Fail(code, message string) Action {
	return end(func(p *plan) { p.fail = &apiError{code: code, message: message} })
}

// Answer answers with a status and a body of the test's own instead of applying the call.
func Answer(status int, body []byte) Action {
	return end(func(p *plan) { p.status, p.body = status, body })
}

// Throttle answers with ProvisionedThroughputExceededException.
func Throttle() Action {
	return Fail("ProvisionedThroughputExceededException", "The level of configured provisioned throughput for the "+
		"table was exceeded. Consider increasing your provisioning level with the UpdateTable API.")
}

// Deny answers with AccessDeniedException.
func Deny() Action {
	return Fail("AccessDeniedException",
		"User: arn:aws:iam::000000000000:user/test is not authorized to perform this action")
}

// LoseRequest breaks the connection before the call takes effect.
func LoseRequest() Action { return end(func(p *plan) { p.loseRequest = true }) }

// LoseAnswer breaks the connection after the call took effect.
func LoseAnswer() Action { return end(func(p *plan) { p.loseAnswer = true }) }

// Silence never answers the call, which takes no effect.
func Silence() Action { return end(func(p *plan) { p.loseRequest, p.silent = true, true }) }

// SilentAnswer applies the call and never answers it.
func SilentAnswer() Action { return end(func(p *plan) { p.loseAnswer, p.silent = true, true }) }

// Late never answers the call. The call takes effect d after its client has given up, if its
// conditions still hold then.
func Late(d time.Duration) Action {
	return end(func(p *plan) { p.loseAnswer, p.lands, p.late = true, true, d })
}

// Inject adds a fault for calls that arrive from now on. remove takes it away again.
func (s *Server) Inject(f Fault) (remove func()) {
	return s.faults.add(&installed{Fault: f})
}

// OnCall calls fn for every call before it takes effect, after the faults that were injected
// before. fn returns what happens to the call; nil means nothing. Several goroutines call fn at
// once. remove takes fn away again.
func (s *Server) OnCall(fn func(Call) []Action) (remove func()) {
	return s.faults.add(&installed{hook: fn})
}

// Freeze holds back the calls that match selects, before they take effect, until thaw is called.
// Then all are applied, in no particular order, even if the client has given up meanwhile. A worker
// that was stopped with requests under way looks like that. Closing the server drops them.
func (s *Server) Freeze(match func(Call) bool) (thaw func()) {
	z := &freeze{match: match, thawn: make(chan struct{})}
	s.faults.mu.Lock()
	defer s.faults.mu.Unlock()
	s.faults.freezes = append(s.faults.freezes, z)
	return sync.OnceFunc(func() {
		s.faults.mu.Lock()
		defer s.faults.mu.Unlock()
		s.faults.freezes = slices.DeleteFunc(slices.Clone(s.faults.freezes), func(y *freeze) bool { return y == z })
		close(z.thawn)
	})
}

type installed struct {
	Fault
	hook func(Call) []Action // if set, it decides instead of Fault
	seen int                 // guarded by faults.mu
}

type freeze struct {
	match func(Call) bool
	thawn chan struct{}
}

type faults struct {
	closed chan struct{}
	once   sync.Once

	mu      sync.Mutex // guards the fields below; never held while calling a function of the user's
	list    []*installed
	freezes []*freeze
}

func (f *faults) close() { f.once.Do(func() { close(f.closed) }) }

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

// any tells whether a fault was ever injected, or a freeze is on.
func (f *faults) any() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.list) > 0 || len(f.freezes) > 0
}

// before holds the call back while it is frozen or delayed. It panics with [http.ErrAbortHandler]
// if the call shall be lost.
func (f *faults) before(ctx context.Context, c Call) plan {
	for {
		f.mu.Lock()
		freezes := f.freezes
		f.mu.Unlock()
		i := slices.IndexFunc(freezes, func(z *freeze) bool { return z.match(c) })
		if i < 0 {
			break
		}
		select {
		case <-freezes[i].thawn:
		case <-f.closed:
			panic(http.ErrAbortHandler)
		}
	}
	var p plan
	f.mu.Lock()
	list := f.list
	f.mu.Unlock()
	for _, i := range list {
		for _, a := range f.actions(i, c) {
			a(&p)
		}
	}
	f.wait(ctx, p.delay)
	if p.lands {
		select {
		case <-ctx.Done():
		case <-f.closed:
			panic(http.ErrAbortHandler)
		}
		f.wait(context.WithoutCancel(ctx), p.late)
	}
	if p.loseRequest {
		f.lose(ctx, p)
	}
	return p
}

// after runs once the call has taken effect.
func (f *faults) after(ctx context.Context, p plan) {
	f.wait(ctx, p.delayAnswer)
	if p.loseAnswer {
		f.lose(ctx, p)
	}
}

func (f *faults) lose(ctx context.Context, p plan) {
	if p.silent {
		select {
		case <-ctx.Done():
		case <-f.closed:
		}
	}
	panic(http.ErrAbortHandler) // breaks the connection without an answer
}

// actions returns what i does to a call.
func (f *faults) actions(i *installed, c Call) []Action {
	switch {
	case i.hook != nil:
		return i.hook(c)
	case i.selects(c) && f.due(i):
		return i.Do
	}
	return nil
}

func (f *faults) due(i *installed) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	i.seen++
	n := i.seen - i.Skip
	return n > 0 && (i.Times <= 0 || n <= i.Times)
}

func (f *Fault) selects(c Call) bool {
	return (f.Operation == "" || f.Operation == c.Operation) &&
		(f.Table == "" || f.Table == c.Table) &&
		(f.Key == "" || f.Key == c.Key) &&
		(f.Client == "" || f.Client == c.Client) &&
		(f.When == nil || f.When(c))
}

func (f *faults) wait(ctx context.Context, d time.Duration) {
	if d <= 0 {
		return
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	case <-f.closed:
	}
}
