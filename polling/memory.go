package polling

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/smithy-go/middleware"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/kinesis-go/kcl/internal/line"
)

const (
	// largestAnswer is the largest answer of the service: 10 MiB, as base64 in JSON.
	largestAnswer = 14 << 20
	// decoding is how many times its length an answer takes while it is decoded.
	decoding = 5
	// recordBytes is what a decoded record takes besides its data.
	recordBytes = 256
	// readAhead is what an HTTP/2 connection buffers of an answer that nobody reads.
	readAhead = 4 << 20
	// largeAnswer is the size from which an answer waits for its turn.
	largeAnswer = 1 << 20
)

// Memory bounds what all [Fetcher] values that share it hold at a time. These are the answers that
// are being received and decoded, the batches in the loop bodies, and those read ahead. A Fetcher
// that would exceed the bound waits, in the order of arrival, with its answer still in the network.
// An answer that is larger than the bound passes when it is alone. Records that a loop body keeps
// do not count.
//
// The garbage collector lets a heap grow to twice of what is in use. Set GOMEMLIMIT for a process
// that must not grow so far. Memory is safe for concurrent use. A nil *Memory bounds nothing. Then
// every Fetcher holds up to two answers, of at most 10 MiB each, and the memory to decode one.
type Memory struct {
	calls gate // calls whose answer may be large; a unit is what the network buffers of one answer
	bytes gate // bytes of answers from their first byte on
}

// NewMemory returns a bound of the given number of bytes. With less than 64 MiB even a few shards
// with large records wait for each other.
func NewMemory(bytes int64) *Memory {
	bytes = max(bytes, 1)
	network := bytes / 4
	return &Memory{calls: gate{limit: max(1, network/readAhead)}, bytes: gate{limit: max(1, bytes-network)}}
}

// roomAhead tells whether there is memory to read ahead that no other Fetcher waits for.
func (m *Memory) roomAhead() bool {
	return m == nil || m.bytes.halfFree()
}

// grant is the part of a Memory that one call and its batch hold.
type grant struct {
	m *Memory
	// ahead says that the call reads ahead. Such a call does not wait for memory: it would delay
	// those behind it for as long as loop bodies keep their batches.
	ahead   bool
	hasTurn bool
	held    int64
}

// errNoRoom ends an attempt to read ahead. The reader tries again when the loop body comes back.
var errNoRoom = errors.New("no memory to read ahead")

// waitTurn waits for the turn of a call whose answer may be large.
func (g *grant) waitTurn(ctx context.Context) error {
	if g.m == nil {
		return nil
	}
	if err := g.m.calls.acquire(ctx, 1); err != nil {
		return err
	}
	g.hasTurn = true
	return nil
}

// reserve takes the memory for an answer with so many bytes of records before the call is made. An
// answer that finds no memory afterwards has used up the shard's limits for nothing.
func (g *grant) reserve(bytes int) error {
	if g.m == nil || !g.ahead {
		return nil
	}
	n := min(int64(bytes)*4/3, largestAnswer) * decoding // base64
	if !g.m.bytes.try(n) {
		return errNoRoom
	}
	g.held = n
	return nil
}

// waitForAnswer waits until an answer of the given length may be read. A negative length is
// unknown.
func (g *grant) waitForAnswer(ctx context.Context, length int64) error {
	if g.m == nil {
		return nil
	}
	if length < 0 {
		length = largestAnswer
	}
	n := min(length*decoding, g.m.bytes.limit)
	switch {
	case n <= g.held:
		g.m.bytes.release(g.held - n)
	case !g.ahead:
		if err := g.m.bytes.acquire(ctx, n-g.held); err != nil {
			return err
		}
	case !g.m.bytes.try(n - g.held):
		return errNoRoom
	}
	g.held = n
	g.endTurn()
	return nil
}

// shrink gives back everything except the bytes of the batch.
func (g *grant) shrink(bytes int64) {
	if g.m == nil {
		return
	}
	if bytes < g.held {
		g.m.bytes.release(g.held - bytes)
		g.held = bytes
	}
	g.endTurn()
}

func (g *grant) endTurn() {
	if g.hasTurn {
		g.hasTurn = false
		g.m.calls.release(1)
	}
}

// free gives everything back. It may be called again.
func (g *grant) free() { g.shrink(0) }

// onHeader makes a call of GetRecords note when its answer begins, and wait for memory before it
// reads the rest. The wait for memory does not count as silence of the service.
func (o *outcome) onHeader(opt *kinesis.Options) {
	m := middleware.DeserializeMiddlewareFunc("kclAnswer", func(
		ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler,
	) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, md, err := next.HandleDeserialize(ctx, in)
		o.headers = time.Now()
		if response, ok := out.RawResponse.(*smithyhttp.Response); ok && err == nil {
			silence := line.Of(ctx)
			silence.Pause()
			o.length = response.ContentLength
			err = o.grant.waitForAnswer(ctx, o.length)
			silence.Resume()
		}
		return out, md, err
	})
	add := func(stack *middleware.Stack) error { return stack.Deserialize.Add(m, middleware.After) }
	opt.APIOptions = append(opt.APIOptions[:len(opt.APIOptions):len(opt.APIOptions)], add)
}

// gate hands out units in the order of the callers.
type gate struct {
	limit int64

	mu    sync.Mutex // guards the fields below
	used  int64
	queue []*ticket
}

type ticket struct {
	n       int64
	granted chan struct{} // closed when n is granted
}

var errLimit = errors.New("more than there is")

// try takes n units if they are free and nobody waits for any.
func (g *gate) try(n int64) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.tryLocked(n)
}

func (g *gate) tryLocked(n int64) bool {
	if len(g.queue) > 0 || g.used+n > g.limit {
		return false
	}
	g.used += n
	return true
}

// acquire waits for n units, which must not be more than the limit.
func (g *gate) acquire(ctx context.Context, n int64) error {
	if n > g.limit {
		return errLimit
	}
	g.mu.Lock()
	if g.tryLocked(n) {
		g.mu.Unlock()
		return nil
	}
	t := &ticket{n: n, granted: make(chan struct{})}
	g.queue = append(g.queue, t)
	g.mu.Unlock()
	select {
	case <-t.granted:
		return nil
	case <-ctx.Done():
		g.leave(t)
		return context.Cause(ctx)
	}
}

// leave takes a ticket back, also one that has just been granted.
func (g *gate) leave(t *ticket) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if i := slices.Index(g.queue, t); i >= 0 {
		g.queue = slices.Delete(g.queue, i, i+1)
	} else {
		g.used -= t.n
	}
	g.grantLocked()
}

func (g *gate) release(n int64) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.used -= n
	g.grantLocked()
}

func (g *gate) grantLocked() {
	for len(g.queue) > 0 && g.used+g.queue[0].n <= g.limit {
		t := g.queue[0]
		g.queue = g.queue[1:]
		g.used += t.n
		close(t.granted)
	}
}

func (g *gate) halfFree() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return len(g.queue) == 0 && g.used <= g.limit/2
}
