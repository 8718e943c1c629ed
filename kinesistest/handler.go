package kinesistest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// The request protocol is POST /, X-Amz-Target: Kinesis_20131202.OPERATION, with one JSON or CBOR
// map in and one out. A failure is a map with __type and message, and a status of 400, or 500 for
// failures of the service. Every answer has a request id and the server's Date, by which clients
// may set their clocks. The Date is that of time.Now, so that it follows virtual time.
const targetPrefix = "Kinesis_20131202."

// resource is the stream, shard or consumer that a request names.
type resource struct {
	stream, streamARN, shard, consumer, consumerARN string
}

// input is a decoded request.
type input interface{ resource() resource }

// operation is one API of the service.
type operation struct {
	name  string
	input func() input
	// run does the work with the backend's mutex held. The answer must not share memory that changes
	// later.
	run func(b *backend, now time.Time, in input) (any, error)
	// stream, if set, is called instead of run. It writes its own answer.
	stream func(s *Server, w http.ResponseWriter, r *http.Request, c codec, in input, v verdict) error
}

// define makes an operation out of a typed function.
func define[I any, P interface {
	*I
	input
}](name string, run func(b *backend, now time.Time, in P) (any, error),
) operation {
	return operation{
		name:  name,
		input: func() input { return P(new(I)) },
		run:   func(b *backend, now time.Time, in input) (any, error) { return run(b, now, in.(P)) },
	}
}

// operations is the dispatch table.
var operations = func() map[string]operation {
	table := map[string]operation{}
	for _, group := range [][]operation{
		streamOperations, settingOperations, tagOperations, toolOperations,
		shardOperations, reshardOperations, writeOperations, readOperations,
		consumerOperations,
		{subscribeOperation},
	} {
		for _, op := range group {
			table[op.name] = op
		}
	}
	return table
}()

// ServeHTTP answers one request of the Kinesis API. Any HTTP server can call it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	target := r.Header.Get("X-Amz-Target")
	if s.cfg.Others != nil && target != "" && !strings.HasPrefix(target, targetPrefix) {
		s.cfg.Others.ServeHTTP(w, r)
		return
	}
	started := time.Now()
	id := requestID()
	w.Header().Set("x-amzn-RequestId", id)
	w.Header().Set("x-amz-id-2", id)

	c, ok := codecFor(r.Header.Get("Content-Type"))
	if !ok {
		c = jsonCodec{}
	}
	c = s.backend.quirky(c)
	body, readErr := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBytes))
	fail := func(err error) {
		var e *apiError
		if !errors.As(err, &e) {
			e = &apiError{status: http.StatusInternalServerError, code: codeInternalFailure, message: err.Error()}
		}
		answer(w, r, started, c, e.httpStatus(), errorBody{Type: e.code, Message: e.message})
	}
	name, isTarget := strings.CutPrefix(target, targetPrefix)
	op, known := operations[name]
	switch {
	case r.Method != http.MethodPost:
		fail(&apiError{status: http.StatusMethodNotAllowed, code: codeUnknownOperation, message: "only POST is understood"})
		return
	case readErr != nil:
		var tooLarge *http.MaxBytesError
		if errors.As(readErr, &tooLarge) {
			fail(
				&apiError{
					status:  http.StatusRequestEntityTooLarge,
					code:    "RequestEntityTooLargeException",
					message: "Request size exceeded the limit",
				},
			)
			return
		}
		fail(errf(codeSerialization, "cannot read the request: %s", readErr)) // if the client has not gone away
		return
	case !ok, !isTarget, !known:
		fail(
			errf(codeUnknownOperation, "Unknown operation %.100q with Content-Type %.100q.", target,
				r.Header.Get("Content-Type")),
		)
		return
	}
	in := op.input()
	if err := c.decode(body, in); err != nil {
		fail(errf(codeSerialization, "%s", err))
		return
	}
	s.perform(w, r, started, request{op: op, codec: c, body: body, in: in}, fail)
}

// perform runs a decoded request under the faults that select it.
func (s *Server) perform(w http.ResponseWriter, r *http.Request, started time.Time, req request, fail func(error)) {
	op, c := req.op, req.codec
	s.backend.count(op.name)
	res := s.backend.complete(req.in.resource())
	v := s.faults.call(r.Context(), &Call{
		Operation: op.name, Stream: res.stream, Shard: res.shard, Consumer: res.consumer,
		Client: hostOf(r.RemoteAddr), RemoteAddr: r.RemoteAddr, Header: r.Header, Body: req.body, codec: c,
	})
	if v.before(r.Context()) != nil {
		panic(http.ErrAbortHandler) // breaks the connection (HTTP/1.1) or the stream (HTTP/2)
	}
	if v.fate == fateAnswer {
		settle(w, r, started)
	}
	if v.answered(w) {
		return
	}
	if err := s.backend.permit(op.name, res, req.in); err != nil {
		fail(err)
		return
	}
	if op.stream != nil {
		if err := op.stream(s, w, r, c, req.in, v); err != nil {
			fail(err)
		}
		return
	}
	out, err := s.backend.run(op, req.in, res)
	if v.after(r.Context()) != nil {
		panic(http.ErrAbortHandler)
	}
	if err != nil {
		fail(err)
		return
	}
	if list, ok := out.(listShardsOutput); ok && v.omits {
		list.Shards = slices.DeleteFunc(
			list.Shards,
			func(sh shardDescription) bool { return len(v.omit) == 0 || slices.Contains(v.omit, sh.ShardID) },
		)
		out = list
	}
	if records, ok := out.(getRecordsOutput); ok {
		out = records.faulty(req.in.(*getRecordsInput).ShardIterator, v)
	}
	answer(w, r, started, c, http.StatusOK, out)
}

// request is a decoded request.
type request struct {
	op    operation
	codec codec
	body  []byte
	in    input
}

func hostOf(addr string) string {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return addr
	}
	return host
}

// answer writes a whole answer.
func answer(w http.ResponseWriter, r *http.Request, started time.Time, c codec, status int, v any) {
	var body []byte
	if v != nil {
		var err error
		if body, err = encode(c, v); err != nil {
			status = http.StatusInternalServerError
			body, _ = c.encode(errorBody{Type: codeInternalFailure, Message: err.Error()})
		}
	}
	w.Header().Set("Content-Type", c.contentType())
	w.Header().Set("Content-Length", strconv.Itoa(len(body)))
	settle(w, r, started)
	w.WriteHeader(status)
	_, _ = w.Write(body) //nolint:gosec // JSON or CBOR, no page; an error means that the client has gone away
}

// settle is called just before the headers of an answer. It dates the answer. Over HTTP/1.1 it also
// lets a millisecond pass since the request came in. The AWS SDK for Go closes the body of its
// request when the call returns. net/http gives up a connection whose answer arrives before
// net/http has read that body to its end. A real network is never that fast.
func settle(w http.ResponseWriter, r *http.Request, started time.Time) {
	if r.ProtoMajor < 2 {
		if rest := time.Millisecond - time.Since(started); rest > 0 {
			wait(r.Context(), rest)
		}
	}
	w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
}

// wait returns after d, or when ctx is done.
func wait(ctx context.Context, d time.Duration) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-ctx.Done():
	}
}

func requestID() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:])
}

// run does an operation under the mutex, once the rates of account and stream allow it.
func (b *backend) run(op operation, in input, res resource) (any, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	now := time.Now()
	if err := b.throttleLocked(now, op.name, res.stream); err != nil {
		return nil, err
	}
	return op.run(b, now, in)
}

// throttleLocked applies the control-plane rates.
func (a *account) throttleLocked(now time.Time, op, stream string) error {
	rate, ok := callRates[op]
	if !ok {
		return nil
	}
	key := op
	if rate.scope == perStream {
		key += "/" + stream
	}
	if a.rateLocked(now, key, rate.perSecond) {
		return nil
	}
	if rate.scope == perAccount {
		return errf(codeLimitExceeded, "Rate exceeded for account %s.", a.cfg.AccountID)
	}
	return errf(codeLimitExceeded, "Rate exceeded for stream %s under account %s.", stream, a.cfg.AccountID)
}

// complete adds the names in ARNs, and the ARNs of names.
func (a *account) complete(res resource) resource {
	if res.consumerARN != "" {
		if p, ok := parseARN(res.consumerARN); ok {
			res.stream, res.consumer = p.stream, p.consumer
		}
	}
	if res.stream != "" && res.streamARN == "" {
		res.streamARN = fmt.Sprintf("arn:aws:kinesis:%s:%s:stream/%s", a.cfg.Region, a.cfg.AccountID, res.stream)
	}
	return res
}

// permit asks for every action that the request needs.
func (b *backend) permit(op string, res resource, in input) error {
	if err := b.checkName(in); err != nil {
		return err
	}
	if err := b.authorize(op, res); err != nil {
		return err
	}
	if in, ok := in.(*registerStreamConsumerInput); ok && len(in.Tags) > 0 {
		res.consumerARN = fmt.Sprintf("%s/consumer/%s:%d", res.streamARN, in.ConsumerName, seconds(time.Now()))
		return b.authorize("TagResource", res)
	}
	return nil
}

// authorize asks Config.Deny.
func (b *backend) authorize(op string, res resource) error {
	if b.cfg.Deny == nil {
		return nil
	}
	name := "*"
	if res.streamARN != "" {
		name = res.streamARN
	}
	if res.consumerARN != "" {
		name = res.consumerARN
	}
	if !b.cfg.Deny(op, name) {
		return nil
	}
	return errf(codeAccessDenied,
		"User: arn:aws:iam::%s:user/kinesistest is not authorized to perform: kinesis:%s on resource: %s because no "+
			"identity-based policy allows the kinesis:%s action",
		b.cfg.AccountID, op, name, op)
}

func (b *backend) count(op string) {
	b.mu.Lock()
	b.calls[op]++
	b.mu.Unlock()
}
