package polling

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/fromsdk"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardread"
)

const (
	// maxBackoff makes a reader call less than once in five seconds while the service always
	// fails. Waits are within plus or minus half.
	maxBackoff = 12 * time.Second
	// maxThrottle is short, because a throttled shard has other pollers. A reader that waited
	// longer than the others would get less than its part.
	firstThrottle = 250 * time.Millisecond
	maxThrottle   = time.Second

	// maxRefusals is how many useless iterators in a row the reader accepts. After that the
	// request itself must be wrong.
	maxRefusals = 5

	opIterator = "GetShardIterator"
	opRecords  = "GetRecords"
)

// reader is the state of one run of Batches. It belongs to one goroutine.
type reader struct {
	Config
	pace     *pace
	http     aws.HTTPClient
	shardID  string
	backoff  *retry.Backoff
	throttle *retry.Backoff
	log      *slog.Logger

	position   kcl.Position // where reading goes on: after the last batch read
	iterator   *string      // of the position; nil when there is none
	ending     ending       // what is known about the end of the shard
	recordSize int          // average in bytes, of the last answer with records
	behind     bool         // the last answer was not at the tip, or there is none yet
	failures   int          // in a row
	refusals   int          // useless iterators in a row

	grant grant  // of the batch in the loop body
	ahead *ahead // the attempt that is being made while the loop body runs; nil without one
}

// next returns the next batch, or a final error. The last batch has been processed.
func (r *reader) next(ctx context.Context) (kcl.Batch, error) {
	r.grant.free()
	for {
		out := r.nextOutcome(ctx)
		if ctx.Err() != nil {
			out.grant.free()
			return kcl.Batch{}, context.Cause(ctx) // an answer after the end of ctx does not count
		}
		if out.opened {
			r.Observer.Opened()
		}
		if out.received {
			r.Observer.Received()
		}
		if out.err == nil {
			r.failures, r.refusals = 0, 0
			r.backoff.Reset()
			r.throttle.Reset()
			r.grant = out.grant
			if out.received {
				r.Metrics.Batch(len(out.batch.Records), out.payload, out.batch.BehindLatest, !out.batch.LagUnknown)
			}
			return out.batch, nil
		}
		wait, err := r.react(ctx, out)
		if ctx.Err() != nil {
			return kcl.Batch{}, context.Cause(ctx)
		}
		if err != nil {
			return kcl.Batch{}, err
		}
		if err := retry.Sleep(ctx, wait-time.Since(out.at)); err != nil {
			return kcl.Batch{}, err
		}
	}
}

// attempt makes the calls for the next batch, once. It asks for limit records at most. ahead says
// that the loop body has a batch meanwhile.
func (r *reader) attempt(ctx context.Context, limit int, ahead bool) (out outcome) {
	ctx = line.WithCaller(ctx, r.shardID)
	out.grant.m, out.grant.ahead = r.Memory, ahead
	defer func() {
		out.at = time.Now()
		if out.err != nil {
			out.grant.free()
		}
	}()
	if (r.ending.endSent || r.ending.idles(time.Now())) && r.checkEnd(ctx, &out) {
		return out
	}
	if r.iterator == nil {
		out.op = opIterator
		if out.err = r.open(ctx); out.err != nil {
			return out
		}
		out.opened = true
	}
	out.op = opRecords
	if out.err = retry.Sleep(ctx, r.pace.delay(time.Now())); out.err != nil {
		return out
	}
	if r.read(ctx, limit, &out); out.err == nil && r.ending.endSent && len(out.batch.Records) == 0 {
		r.checkEnd(ctx, &out)
	}
	return out
}

// open gets an iterator for the position.
func (r *reader) open(ctx context.Context) error {
	answer, err := r.iteratorAt(ctx, r.position)
	if err != nil {
		return err
	}
	r.position = shardread.Anchor(r.position, answer.ResultMetadata) // until the first record comes
	r.iterator = answer.ShardIterator
	return nil
}

// iteratorAt gets an iterator. The answer has one if there is no error.
func (r *reader) iteratorAt(ctx context.Context, at kcl.Position) (*kinesis.GetShardIteratorOutput, error) {
	in := shardread.IteratorInput(at)
	in.StreamARN, in.StreamName, in.ShardId = optional(r.StreamARN), optional(r.StreamName), &r.shardID
	out, err := line.Call(ctx, r.CallTimeout, func(ctx context.Context) (*kinesis.GetShardIteratorOutput, error) {
		return r.Client.GetShardIterator(ctx, in, r.options)
	})
	if err != nil {
		return nil, err
	}
	if aws.ToString(out.ShardIterator) == "" {
		return nil, errors.New("the service sent no shard iterator")
	}
	return out, nil
}

// read calls GetRecords once.
func (r *reader) read(ctx context.Context, limit int, out *outcome) {
	if r.behind || r.recordSize*limit > largeAnswer {
		if out.err = out.grant.waitTurn(ctx); out.err != nil {
			return
		}
	}
	if r.behind { // the answer may have as many bytes as the limit allows
		if out.err = out.grant.reserve(r.recordSize * limit); out.err != nil {
			return
		}
	}
	sent := time.Now()
	r.pace.sent(sent)
	answer, err := line.Call(ctx, r.CallTimeout, func(ctx context.Context) (*kinesis.GetRecordsOutput, error) {
		return r.Client.GetRecords(ctx, &kinesis.GetRecordsInput{
			StreamARN:     optional(r.StreamARN),
			ShardIterator: r.iterator,
			Limit:         aws.Int32(int32(limit)), // Validate bounds it
		}, r.options, out.onHeader)
	})
	if err != nil {
		out.err = err
		if errors.Is(err, errNoRoom) { // the answer counts for the limits of the shard
			r.pace.answered(sent, out.headers, int(max(0, out.length)*3/4), true, !r.behind, r.IdleInterval)
		}
		return
	}
	records, payload, total, err := fromsdk.Records(answer.Records)
	if err != nil {
		out.err = err
		return
	}
	out.grant.shrink(int64(total) + recordBytes*int64(len(records)))
	b := fromsdk.Batch(records, r.position, answer.MillisBehindLatest)
	if len(records) > 0 {
		r.recordSize = total/len(records) + 1
	}
	wasBehind := r.behind
	r.iterator = answer.NextShardIterator
	r.behind = b.BehindLatest > 0 || len(records) >= limit
	r.pace.answered(sent, out.headers, total, len(records) > 0, !r.behind, r.IdleInterval)
	r.position = b.Next
	children := fromsdk.Children(answer.ChildShards, r.shardID)
	if b.End = r.ending.observe(answer, records, wasBehind, children, b.ReceivedAt); b.End != nil {
		b.Next = kcl.Position{}
	}
	if aws.ToString(r.iterator) == "" {
		r.iterator = nil // attempt asks whether the shard has ended, after the records of this answer
	}
	out.batch, out.payload, out.received = b, payload, true
}

// classify decides what the reader does about an error.
func classify(err error) shardread.Action {
	switch {
	case awserr.Throttled(err):
		return shardread.Throttle
	case awserr.Is(err, "ExpiredIteratorException", "InvalidArgumentException"):
		return shardread.Renew
	}
	return shardread.Classify(err)
}

// react decides about an error. It returns the wait before the next attempt, or a final error.
func (r *reader) react(ctx context.Context, out outcome) (time.Duration, error) {
	op, err := out.op, out.err
	r.failures++
	wait := time.Duration(0)
	act := classify(err)
	switch act {
	case shardread.Retry:
		wait = r.backoff.Next()
	case shardread.Throttle:
		wait = r.throttle.Next()
		if r.failures == 1 && op == opRecords {
			r.pace.refused(out.at)
		}
	case shardread.Slow:
		wait = shardread.SlowWait()
	case shardread.Renew:
		if op == opIterator && r.position.Kind == kcl.AtTimestamp {
			wait = r.backoff.Next() // a time in the future becomes valid by waiting
			break
		}
		if op == opIterator {
			return 0, fmt.Errorf("%w: %s on shard %s of %s: %w",
				kcl.ErrInvalidPosition, r.position, r.shardID, r.resource(), err)
		}
		r.iterator = nil
		r.refusals++
		if r.refusals > maxRefusals {
			return 0, fmt.Errorf("get records of shard %s of %s: %d iterators in a row were refused: %w",
				r.shardID, r.resource(), r.refusals, err)
		}
		if r.refusals > 1 {
			wait = r.backoff.Next()
		}
	case shardread.Lookup:
		if err := r.lookup(ctx, err); err != nil {
			return 0, err
		}
		r.iterator = nil
		wait = r.backoff.Next()
	case shardread.Denied:
		return 0, awserr.Explain(err, "kinesis:"+op, r.resource())
	case shardread.Stop:
		return 0, fmt.Errorf("%s on shard %s of %s: %w", op, r.shardID, r.resource(), err)
	}
	r.reportRetry(ctx, act, op, wait, err)
	return wait, nil
}

// lookup finds out whether the stream or the shard is missing. It returns nil when reading may
// succeed later.
func (r *reader) lookup(ctx context.Context, notFound error) error {
	ctx, cancel := context.WithTimeout(ctx, r.CallTimeout)
	defer cancel()
	out, err := r.Client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{
		StreamARN: optional(r.StreamARN), StreamName: optional(r.StreamName),
	}, r.options)
	switch {
	case awserr.Is(err, "ResourceNotFoundException"):
		return fmt.Errorf("%w: %s: %w", kcl.ErrStreamNotFound, r.resource(), err)
	case awserr.Denied(err):
		return fmt.Errorf("shard %s of %s or the stream does not exist any more: %w", r.shardID, r.resource(),
			awserr.Explain(err, "kinesis:DescribeStreamSummary", r.resource()))
	case err != nil:
		return nil // not known: try to read again
	case out.StreamDescriptionSummary != nil && out.StreamDescriptionSummary.StreamStatus == types.StreamStatusDeleting:
		return fmt.Errorf("%w: %s is being deleted", kcl.ErrStreamNotFound, r.resource())
	}
	if r.Lineage != nil {
		if _, _, listed, err := r.Lineage.Shard(ctx, r.shardID); err != nil || listed {
			return nil // not known, or the shard exists: try to read again
		}
	}
	return fmt.Errorf("%w: %s of %s: %w", kcl.ErrShardNotFound, r.shardID, r.resource(), notFound)
}

// reportRetry tells the metrics, the observer and the log about a failure. An iterator that expired
// is no warning, and neither are the first refusals. A failure that lasts is a warning each time
// the number of failures has doubled.
func (r *reader) reportRetry(ctx context.Context, act shardread.Action, op string, wait time.Duration, err error) {
	r.Metrics.Retried(op, awserr.Code(err))
	r.Observer.Retrying(err, wait)
	level := slog.LevelWarn
	switch doubled := r.failures&(r.failures-1) == 0; {
	case act == shardread.Renew && r.refusals == 1, act == shardread.Throttle && r.failures < 8, !doubled:
		level = slog.LevelDebug
	}
	r.log.LogAttrs(ctx, level, "reading failed, trying again",
		slog.String("operation", op), slog.String("code", awserr.Code(err)), slog.Int("failures", r.failures),
		slog.Duration("wait", wait), slog.String("position", r.position.String()), slog.Any("err", err))
}

// options are those of every call. The reader itself tries again, so the SDK does not.
func (r *reader) options(o *kinesis.Options) {
	o.Retryer = aws.NopRetryer{}
	o.HTTPClient = r.http
}

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
