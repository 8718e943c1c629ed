package sim

import (
	"context"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/processors"
)

// The decorators of package processors around the processor of a world.
const (
	decoratorNone       = "none"
	decoratorRetry      = "retry" // half of the worlds have a handler of dead letters
	decoratorBatch      = "batch"
	decoratorConcurrent = "concurrent"
	decoratorLanes      = "lanes" // Concurrent, with a Retry in each lane
	decoratorEach       = "each"  // one record in a call
)

var decorators = []string{
	decoratorNone, decoratorRetry, decoratorBatch, decoratorConcurrent, decoratorLanes, decoratorEach,
}

// autoCheckpoints tells whether the scheduler may checkpoint by itself. It must not if a decorator
// returns before the records are processed.
func (s Scenario) autoCheckpoints() bool {
	return s.Processor == styleAuto && (s.Decorator == decoratorNone || s.Decorator == decoratorRetry)
}

// style returns how the processors checkpoint. A Batch does not checkpoint by itself.
func (s Scenario) style() string {
	if s.Processor == styleAuto && s.Decorator == decoratorBatch {
		return styleEach
	}
	return s.Processor
}

// newProcessor returns the processor of a shard, with the decorators of the world.
func (k *worker) newProcessor(shard string) kcl.Processor {
	w := k.w
	d := w.dice.roll("decorator")
	plain := func(lane int) *processor {
		p := &processor{k: k, shard: shard, lane: lane, calls: w.check.Reader(k.name, shard)}
		p.calls.Lane = w.scenario.Decorator == decoratorConcurrent || w.scenario.Decorator == decoratorLanes
		return p
	}
	concurrent := processors.ConcurrentOptions{
		Lanes: 1 + d.roll("lanes").n(4), MaxBatch: 1 + d.roll("batch").n(20), MaxRecords: 10 + d.roll("records").n(100),
		Logger: k.log,
	}
	switch w.scenario.Decorator {
	case decoratorRetry:
		return plain(0).retry(d)
	case decoratorBatch:
		return processors.Batch(plain(0), processors.BatchOptions{
			MaxRecords: 1 + d.roll("records").n(100), MaxAge: d.roll("age").skewed(100*time.Millisecond, 5*time.Second),
			Logger: k.log,
		})
	case decoratorConcurrent:
		return processors.Concurrent(func(lane int) kcl.Processor { return plain(lane) }, concurrent)
	case decoratorLanes:
		return processors.Concurrent(func(lane int) kcl.Processor { return plain(lane).retry(d) }, concurrent)
	case decoratorEach:
		p := plain(0)
		return &each{processor: p, inner: processors.Each(p.handle, processors.FuncOptions{Logger: k.log})}
	}
	return plain(0)
}

// retry decorates a processor with Retry. With a handler of dead letters, some records never
// succeed.
func (p *processor) retry(d dice) kcl.Processor {
	w := p.k.w
	o := processors.RetryOptions{Attempts: 1 + d.roll("attempts").n(3), Logger: p.k.log}
	if w.scenario.Kind != quiet && d.roll("dead letters").chance(0.5) {
		p.poisoned = true
		o.DeadLetter = func(_ context.Context, l processors.DeadLetter) error {
			if w.dice.roll("dead letter", p.k.name, l.Record.Position().String(), time.Now()).chance(0.2) {
				return errProcessor
			}
			p.calls.Handled(l.Record)
			return nil
		}
	}
	return processors.Retry(p, o)
}

// poison tells whether a record never succeeds.
func (p *processor) poison(records []kcl.Record) bool {
	for _, r := range records {
		if p.poisoned && p.k.w.dice.roll("poison", r.Position().String()).chance(0.01) {
			return true
		}
	}
	return false
}

// each is a processor made by processors.Each, whose function tells the Checker of each record. It
// tells the Checker of the other calls.
type each struct {
	*processor
	inner kcl.Processor
}

// handle processes one record. The checkpoints are those of Each.
func (p *processor) handle(ctx context.Context, r kcl.Record) error {
	return p.ProcessRecords(ctx, kcl.ProcessRecordsInput{Records: []kcl.Record{r}})
}

func (e *each) Initialize(ctx context.Context, in kcl.InitializeInput) error {
	if err := e.inner.Initialize(ctx, in); err != nil {
		return err
	}
	return e.processor.Initialize(ctx, in)
}

func (e *each) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	return e.inner.ProcessRecords(ctx, in)
}

func (e *each) LeaseLost(ctx context.Context, in kcl.LeaseLostInput) {
	e.inner.LeaseLost(ctx, in)
	e.processor.LeaseLost(ctx, in)
}

func (e *each) ShardEnded(ctx context.Context, in kcl.ShardEndedInput) error {
	e.k.w.stream.observe()
	end := e.calls.ShardEnded()
	err := e.inner.ShardEnded(ctx, in)
	end(err)
	return err
}

func (e *each) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	end := e.calls.ShutdownRequested()
	err := e.inner.ShutdownRequested(ctx, in)
	if ctx.Err() != nil {
		err = ctx.Err() // LeaseLost may follow
	}
	end(err)
	return err
}
