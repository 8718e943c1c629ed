package sim

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/sim/check"
)

// The styles of processors, by how they checkpoint.
const (
	styleEach    = "each"    // after each batch
	styleSparse  = "sparse"  // after about a third of the batches
	stylePartial = "partial" // somewhere in the batch
	stylePrepare = "prepare" // in two steps
	styleAuto    = "auto"    // the library checkpoints: Config.CheckpointInterval
)

var styles = []string{styleEach, styleSparse, stylePartial, stylePrepare, styleAuto}

// longestCall bounds a call of a processor.
const longestCall = 15 * time.Minute

var errProcessor = errors.New("processor failed, by the simulation")

// processor is the user's code of a world. It tells the Checker what it gets and what it has done.
type processor struct {
	k        *worker
	shard    string
	lane     int // of a concurrent processor
	calls    *check.Reader
	poisoned bool // some records never succeed
}

// roll returns the dice of a call that begins now.
func (p *processor) roll(call string) dice {
	return p.k.w.dice.roll(call, p.k.name, p.shard, p.lane, time.Now())
}

// fault tells whether a fault of the menu happens in this call.
func (p *processor) fault(d dice, name string) bool {
	f, ok := p.k.w.processorFaults[name]
	return ok && f.strikes(p.k.w, d, p.k.name, "its processor", p.shard)
}

func (p *processor) Initialize(ctx context.Context, in kcl.InitializeInput) error {
	end := p.calls.Initialize(in)
	d := p.roll("initialize")
	p.work(ctx, d)
	if p.fault(d, "processor-init-error") {
		end(errProcessor)
		return errProcessor
	}
	end(nil)
	return nil
}

func (p *processor) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	end := p.calls.Deliver(in)
	d := p.roll("process")
	p.work(ctx, d)
	n := len(in.Records)
	switch {
	case ctx.Err() != nil:
		end(0, ctx.Err())
		return ctx.Err()
	case p.fault(d, "processor-panic"):
		end(d.roll("done").n(n), errProcessor)
		panic("simulated panic")
	case p.fault(d, "processor-goexit"):
		end(0, errProcessor)
		runtime.Goexit()
	case p.fault(d, "processor-restart"):
		end(d.roll("done").n(n), errProcessor)
		p.calls.Replaced()
		return fmt.Errorf("%w: by the simulation", kcl.ErrRestart)
	case p.poison(in.Records):
		end(0, errProcessor)
		return errProcessor
	case p.fault(d, "processor-error"):
		end(d.roll("done").n(n), errProcessor)
		return errProcessor
	}
	p.calls.Done(n)
	err := p.checkpoint(ctx, d, in)
	if err == nil || errors.Is(err, kcl.ErrLeaseLost) || d.roll("swallow").chance(0.5) {
		end(n, nil)
		return nil
	}
	end(n, err)
	return err
}

// work takes the time of a call.
func (p *processor) work(ctx context.Context, d dice) {
	long := d.roll("long").between(0, 200*time.Millisecond)
	if p.k.w.scenario.Decorator == decoratorEach {
		long /= 10 // for one record
	}
	switch {
	case p.fault(d, "processor-slow"):
		long = d.roll("long").skewed(time.Second, 20*time.Second)
	case p.fault(d, "processor-blocks"):
		long = d.roll("long").skewed(time.Minute, 10*time.Minute)
	}
	if p.fault(d, "processor-ignores-cancel") {
		ctx = context.WithoutCancel(ctx)
	}
	_ = retry.Sleep(ctx, long) // cancelled calls end early
	p.k.whileFrozen()
}

// checkpoint checkpoints in the style of the world. All records of the batch are done.
func (p *processor) checkpoint(ctx context.Context, d dice, in kcl.ProcessRecordsInput) error {
	ck, n := in.Checkpointer, len(in.Records)
	if ck == nil {
		return nil
	}
	if p.fault(d, "processor-wrong-checkpoint") {
		wrong := in.Records[n-1].Position()
		wrong.SequenceNumber += "0"
		if err := ck.CheckpointAt(ctx, wrong); err == nil {
			p.k.w.check.Violate("S1", p.shard, "%s: a checkpoint at %s was accepted", p.k.name, wrong)
		}
	}
	if p.fault(d, "processor-forgets-checkpoint") {
		return nil
	}
	if p.fault(d, "processor-checkpoints-twice") {
		if err := ck.Checkpoint(ctx); err != nil {
			return err
		}
	}
	var err error
	switch p.k.w.scenario.style() {
	case styleEach:
		err = ck.Checkpoint(ctx)
	case styleSparse:
		if d.roll("sparse").chance(1.0 / 3) {
			err = ck.Checkpoint(ctx)
		}
	case stylePartial:
		err = ck.CheckpointAt(ctx, in.Records[d.roll("at").n(n)].Position())
	case stylePrepare:
		var prepared kcl.PreparedCheckpointer
		at := in.Records[d.roll("at").n(n)].Position()
		if prepared, err = ck.Prepare(ctx, at, []byte("state")); err == nil && d.roll("commit").chance(0.8) {
			err = prepared.Commit(ctx)
		}
		if errors.Is(err, errors.ErrUnsupported) { // in a lane
			err = nil
		}
	}
	if err == nil && p.fault(d, "processor-old-checkpoint") {
		_ = ck.CheckpointAt(ctx, in.Records[0].Position()) // refused if it goes back, which S2 checks
	}
	return err
}

func (p *processor) LeaseLost(context.Context, kcl.LeaseLostInput) { p.calls.LeaseLost()() }

func (p *processor) ShardEnded(ctx context.Context, in kcl.ShardEndedInput) error {
	p.k.w.stream.observe() // a change of the shard count takes effect late
	end := p.calls.ShardEnded()
	d := p.roll("end")
	p.work(ctx, d)
	if p.fault(d, "processor-end-error") {
		end(errProcessor)
		return errProcessor
	}
	end(nil)
	return nil
}

func (p *processor) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	end := p.calls.ShutdownRequested()
	d := p.roll("shutdown")
	if p.fault(d, "processor-shutdown-slow") {
		_ = retry.Sleep(ctx, d.skewed(time.Second, 40*time.Second)) // ctx ends with ShutdownTimeout
	}
	var err error
	if p.k.w.scenario.style() != styleAuto {
		err = in.Checkpointer.Checkpoint(ctx)
	}
	if ctx.Err() != nil {
		err = ctx.Err() // LeaseLost may follow
	}
	end(err)
	return err
}
