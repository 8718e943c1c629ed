package multilang

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/multilang/internal/protocol"
)

// slotTime is how long a child that does not answer keeps others from starting.
const slotTime = 10 * time.Second

// childProcessor is the [kcl.Processor] of one shard. It has one child at a time.
type childProcessor struct {
	command *Command
	stream  kcl.StreamIdentifier
	shard   kcl.Shard
	log     *slog.Logger

	child     *conversation              // nil before Initialize has succeeded, and after the last message
	delivered kcl.ExtendedSequenceNumber // position of the last record that the child got
	accepted  kcl.ExtendedSequenceNumber // last position that the child has checkpointed
	overrun   bool                       // a call has ended because the shutdown took too long
}

var (
	_ kcl.Processor   = (*childProcessor)(nil)
	_ kcl.IdleChecker = (*childProcessor)(nil)
)

// Initialize starts a child and tells it where it begins. After an error no process is left.
func (p *childProcessor) Initialize(ctx context.Context, in kcl.InitializeInput) error {
	release, err := p.command.slot(ctx)
	if err != nil {
		return err
	}
	defer release()
	proc, err := p.command.start(p.stream)
	if err != nil {
		return p.failed(err)
	}
	defer time.AfterFunc(slotTime, release).Stop()
	child := converse(proc, p.command.cfg.Timeout, &p.command.stats, p.log)
	child.log.InfoContext(ctx, "child process started", "checkpoint", in.Checkpoint)
	if err := child.initialize(ctx, p.shard.ID, in.Checkpoint); err != nil {
		child.stop(ctx, 0)
		return p.failedUnless(ctx, err)
	}
	p.child = child
	return nil
}

// ProcessRecords sends a batch and waits until the child has processed it. If ctx ends first, the
// child keeps the batch, and LeaseLost waits for the child.
func (p *childProcessor) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	p.delivered = in.Records[len(in.Records)-1].Position()
	child := p.child // a LeaseLost that comes before send clears the field
	send := func() error {
		return child.writer.ProcessRecords(in.Records, in.BehindLatest, !in.LagUnknown, in.ReceivedAt)
	}
	return p.restartUnless(ctx, child.act(ctx, protocol.ProcessRecords, send, p.checkpoints(in.Checkpointer)))
}

// CheckIdle finds out whether the child has ended while there was nothing to do.
func (p *childProcessor) CheckIdle(ctx context.Context) error {
	return p.restartUnless(ctx, p.child.checkIdle(ctx))
}

// ShardEnded tells the child that it has got every record. The child must have checkpointed the
// last one before its status.
func (p *childProcessor) ShardEnded(ctx context.Context, in kcl.ShardEndedInput) error {
	err := p.child.simple(ctx, protocol.ShardEnded, p.checkpoints(in.Checkpointer))
	if err == nil && !covers(p.accepted, p.delivered) {
		p.command.stats.fail(unfinished)
		p.child.broken = fmt.Errorf("the child has finished shard %s without a checkpoint of its last record %s (last %s): "+
			"checkpoint when the shard ends", p.shard.ID, p.delivered, p.accepted)
		err = p.child.broken
	}
	if err != nil {
		return p.restartUnless(ctx, err)
	}
	p.child.stop(ctx, exitTime)
	p.child = nil
	return nil
}

// covers tells whether a checkpoint stands at the last record or after it. A child that gives the
// number of an aggregate means all of its records.
func covers(accepted, last kcl.ExtendedSequenceNumber) bool {
	if last.IsZero() {
		return true
	}
	accepted.SubSequenceNumber, last.SubSequenceNumber = 0, 0
	return accepted.Compare(last) >= 0
}

// ShutdownRequested lets the child checkpoint, and then tells it that the lease is lost, as the
// Java daemon does. At its return no process is left.
func (p *childProcessor) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	child := p.child
	if child == nil {
		return nil
	}
	p.child = nil
	err := child.simple(ctx, protocol.ShutdownRequested, p.checkpoints(in.Checkpointer))
	if err != nil {
		child.stop(ctx, 0)
		return err
	}
	p.part(ctx, child)
	return nil
}

// part says goodbye to a child and waits for its end.
func (p *childProcessor) part(ctx context.Context, child *conversation) {
	patience := exitTime
	if err := child.simple(ctx, protocol.LeaseLost, noCheckpointer); err != nil {
		p.notTold(ctx, err)
		patience = 0
	}
	child.stop(ctx, patience)
}

// notTold logs that a child could not be told that the lease is lost.
func (p *childProcessor) notTold(ctx context.Context, err error) {
	p.log.WarnContext(ctx, "child cannot be told that the lease is lost, stopping it", "err", err)
	_ = p.failedUnless(ctx, err)
}

// LeaseLost waits for an action that is still open, and tells the child that the lease is lost.
// Then it stops the child. After an overrun of the shutdown nobody waits for the child any more, so
// that it is killed at once.
func (p *childProcessor) LeaseLost(ctx context.Context, _ kcl.LeaseLostInput) {
	child := p.child
	if child == nil {
		return
	}
	p.child = nil
	if p.overrun {
		p.log.WarnContext(ctx, "child has not finished within the shutdown, killing it")
		child.kill()
		return
	}
	patience := exitTime
	if child.broken != nil {
		patience = 0
	} else if err := child.leaseLost(ctx); err != nil {
		p.notTold(ctx, err)
		patience = 0
	}
	// The child gets the time between SIGTERM and SIGKILL, also if it has used up the time of ctx.
	child.stop(context.WithoutCancel(ctx), patience)
}

// checkpoints returns how checkpoints are served with a checkpointer.
func (p *childProcessor) checkpoints(checkpointer kcl.Checkpointer) serve {
	return func(ctx context.Context, asked protocol.Asked) string {
		position, all := asked.Position()
		var err error
		if all {
			position = p.delivered
			err = checkpointer.Checkpoint(ctx)
		} else {
			err = checkpointer.CheckpointAt(ctx, position)
		}
		if err == nil {
			if position.Compare(p.accepted) > 0 {
				p.accepted = position
			}
			return ""
		}
		name := javaName(ctx, err)
		p.log.WarnContext(ctx, "checkpoint of the child failed", "err", err, "answer", name)
		return name
	}
}

// restartUnless asks for another child after a failure. The end of ctx is no failure.
func (p *childProcessor) restartUnless(ctx context.Context, err error) error {
	if err == nil {
		return nil
	}
	if ctx.Err() != nil {
		p.overrun = errors.Is(context.Cause(ctx), kcl.ErrShutdownTimeout)
		return err
	}
	return fmt.Errorf("%w: %w", kcl.ErrRestart, p.failed(err))
}

// failedUnless tells the user's function about a failure. The end of ctx is no failure.
func (p *childProcessor) failedUnless(ctx context.Context, err error) error {
	if ctx.Err() != nil {
		return err
	}
	return p.failed(err)
}

// failed tells the user's function about a failure.
func (p *childProcessor) failed(err error) error {
	if p.command.cfg.OnFailure != nil {
		p.command.cfg.OnFailure(p.stream, p.shard, err)
	}
	return err
}

// The names of Java's exceptions that children know.
const (
	shutdown        = "ShutdownException"
	throttling      = "ThrottlingException"
	invalidState    = "InvalidStateException"
	illegalArgument = "IllegalArgumentException"
	dependency      = "KinesisClientLibDependencyException"
)

// leaseIsLost answers the checkpoints of a child that has lost its lease.
func leaseIsLost(context.Context, protocol.Asked) string { return shutdown }

// javaName returns the exception that the Java daemon would name for a failed checkpoint.
func javaName(ctx context.Context, err error) string {
	code := ""
	if coded, ok := errors.AsType[interface {
		error
		ErrorCode() string
	}](err); ok { // an error of AWS
		code = coded.ErrorCode()
	}
	switch {
	case ctx.Err() != nil, errors.Is(err, kcl.ErrLeaseLost), errors.Is(err, kcl.ErrShutdownTimeout):
		return shutdown
	case errors.Is(err, kcl.ErrInvalidCheckpoint):
		return illegalArgument
	}
	switch code {
	case "ProvisionedThroughputExceededException", "ThrottlingException", "RequestLimitExceeded", "LimitExceededException":
		return throttling
	case "ResourceNotFoundException": // the lease table
		return invalidState
	}
	return dependency
}
