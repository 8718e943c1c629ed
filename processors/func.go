package processors

import (
	"context"
	"log/slog"

	"github.com/kinesis-go/kcl"
)

// FuncOptions change what [Func] and [Each] do. The zero value is a working default.
type FuncOptions struct {
	// Checkpoints says when to checkpoint. Defaults to every 5 seconds.
	Checkpoints Checkpoints
	// Logger gets the errors that are not returned. Defaults to slog.Default().
	Logger *slog.Logger
}

// Func makes a processor of a function that handles one batch. When handle returns nil, the records
// are processed and may be checkpointed. After an error the batch is handled again. handle must not
// return nil while some of its work can still fail. It is called for one batch at a time, and never
// for an empty one. Its context ends with the lease.
func Func(handle func(ctx context.Context, records []kcl.Record) error, o FuncOptions) kcl.Processor {
	return &function{handle: handle, saver: newSaver(o.Checkpoints, o.Logger)}
}

// Each makes a processor of a function that handles one record. The records come in order, one at a
// time. After an error that record is handled again, and not the ones before it: checkpoints can be
// inside a batch. A stop of the worker waits for the records of a batch that has begun, up to
// scheduler.Config.ShutdownTimeout. After that time, the records since the last checkpoint come
// again.
func Each(handle func(ctx context.Context, record kcl.Record) error, o FuncOptions) kcl.Processor {
	return &function{
		handle: func(ctx context.Context, records []kcl.Record) error { return handle(ctx, records[0]) },
		step:   1,
		saver:  newSaver(o.Checkpoints, o.Logger),
	}
}

type function struct {
	handle func(context.Context, []kcl.Record) error
	step   int // records in a call of handle; 0 for all
	saver  *saver
	done   kcl.ExtendedSequenceNumber // of the last record handled
}

func (f *function) Initialize(context.Context, kcl.InitializeInput) error { return nil }

func (f *function) ProcessRecords(ctx context.Context, in kcl.ProcessRecordsInput) error {
	f.saver.use(in.Checkpointer)
	for records := after(in.Records, f.done); len(records) > 0; {
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		n := len(records)
		if f.step > 0 {
			n = f.step
		}
		if err := f.handle(ctx, records[:n:n]); err != nil {
			return err
		}
		f.done = records[n-1].Position()
		f.saver.add(ctx, f.done, n, size(records[:n]))
		records = records[n:]
	}
	return nil
}

func (f *function) LeaseLost(ctx context.Context, _ kcl.LeaseLostInput) { f.saver.stop(ctx) }

func (f *function) ShardEnded(ctx context.Context, in kcl.ShardEndedInput) error {
	return f.saver.finish(ctx, in.Checkpointer)
}

func (f *function) ShutdownRequested(ctx context.Context, in kcl.ShutdownRequestedInput) error {
	return f.saver.finish(ctx, in.Checkpointer)
}
