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
	// largestAnswer is what the service sends at most: 10 MiB, as base64 in JSON.
	largestAnswer = 14 << 20
	// decoding is how many times its length an answer takes while it is decoded.
	decoding = 5
	// recordBytes is what a decoded record takes besides its data.
	recordBytes = 256
	// readAhead is what an HTTP/2 connection buffers of an answer that nobody reads.
	readAhead = 4 << 20
	// largeAnswer is from where on answers take their turn.
	largeAnswer = 1 << 20
)

// Memory bounds what all [Fetcher] values that share it hold at a time: the
// answers being received and decoded, the batches in the loop bodies, and those
// read ahead. Whoever would exceed it waits, in the order of arrival, with its
// answer still in the network. An answer that is larger than the whole passes
// when it is alone. Records that a loop body keeps are not counted.
//
// The garbage collector lets a heap grow to twice of what is in use; a process
// that must not sets GOMEMLIMIT. Memory is safe for concurrent use. A nil
// *Memory bounds nothing: then every Fetcher holds up to two answers, of at most
// 10 MiB each, and what decoding one takes.
type Memory struct {
	calls gate // calls whose answer may be large: what the network buffers of them
	bytes gate // answers from their first byte on
}

// NewMemory returns a bound of the given number of bytes. Less than 64 MiB
// makes shards with large records wait for each other even when there are few.
func NewMemory(bytes int64) *Memory {
	bytes = max(bytes, 1)
	network := bytes / 4
	return &Memory{calls: gate{limit: max(1, network/readAhead)}, bytes: gate{limit: max(1, bytes-network)}}
}

// roomAhead tells whether reading ahead takes nothing that others wait for.
func (m *Memory) roomAhead() bool {
	return m == nil || m.bytes.halfFree()
}

// grant is what one call and its batch hold of a Memory.
type grant struct {
	m     *Memory
	ahead bool // of reading ahead, which waits for no memory: who has to would stop those behind it, for as long as loop bodies keep what they have
	turn  bool
	held  int64
}

// errNoRoom ends reading ahead: the loop body comes back first.
var errNoRoom = errors.New("no memory to read ahead")

// call waits for the turn of a call whose answer may be large.
func (g *grant) call(ctx context.Context) error {
	if g.m == nil {
		return nil
	}
	if err := g.m.calls.acquire(ctx, 1); err != nil {
		return err
	}
	g.turn = true
	return nil
}

// expect takes what an answer with so many bytes of records will need, before
// it is asked for: one that cannot be read then has used up the shard's limits.
func (g *grant) expect(bytes int) error {
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

// answer waits until an answer of that length may be read; below 0 it is not known.
func (g *grant) answer(ctx context.Context, length int64) error {
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

// keep gives back what the batch does not take.
func (g *grant) keep(bytes int64) {
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
	if g.turn {
		g.turn = false
		g.m.calls.release(1)
	}
}

// free gives everything back. It may be called again.
func (g *grant) free() { g.keep(0) }

// headed makes a call of GetRecords note when its answer begins, and ask for
// the memory before it reads the rest. That wait is not counted as the service's.
func (o *outcome) headed(opt *kinesis.Options) {
	m := middleware.DeserializeMiddlewareFunc("kclAnswer", func(ctx context.Context, in middleware.DeserializeInput, next middleware.DeserializeHandler) (middleware.DeserializeOutput, middleware.Metadata, error) {
		out, md, err := next.HandleDeserialize(ctx, in)
		o.headers = time.Now()
		if response, ok := out.RawResponse.(*smithyhttp.Response); ok && err == nil {
			silence := line.Of(ctx)
			silence.Pause()
			o.length = response.ContentLength
			err = o.grant.answer(ctx, o.length)
			silence.Resume()
		}
		return out, md, err
	})
	opt.APIOptions = append(opt.APIOptions[:len(opt.APIOptions):len(opt.APIOptions)], func(stack *middleware.Stack) error {
		return stack.Deserialize.Add(m, middleware.After)
	})
}

// gate hands out units in the order of asking.
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

// try takes n units if they are there, and nobody waits for any.
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

// acquire takes n units, which is at most the limit.
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

// leave takes back a ticket that may have been granted meanwhile.
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
