package polling

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/fromsdk"
	"github.com/kinesis-go/kcl/internal/retry"
)

const (
	// Waits are within plus or minus half, so a service that always fails is
	// called less than once in five seconds.
	firstBackoff = 500 * time.Millisecond
	maxBackoff   = 12 * time.Second
	// A throttled shard is shared with others: who waits longer than they do
	// gets less than its share.
	firstThrottle = 250 * time.Millisecond
	maxThrottle   = time.Second
	slowBackoff   = 30 * time.Second

	// maxRefusals is after how many useless iterators in a row the request
	// itself must be wrong.
	maxRefusals = 5

	opIterator = "GetShardIterator"
	opRecords  = "GetRecords"
)

// reader is one run of Batches: its state, on one goroutine.
type reader struct {
	Config
	pace     *pace
	shardID  string
	backoff  *retry.Backoff
	throttle *retry.Backoff
	log      *slog.Logger

	position kcl.Position // where to go on: after the last batch handed over
	iterator *string      // of the position; nil when there is none
	atEnd    bool         // the service gave no further iterator, and the children are not known
	failures int          // in a row
	refusals int          // iterators that were of no use, in a row
}

// next returns the next batch, or an error that is final.
func (r *reader) next(ctx context.Context) (kcl.Batch, error) {
	for {
		b, op, err := r.attempt(ctx)
		if ctx.Err() != nil {
			return kcl.Batch{}, context.Cause(ctx) // an answer that came too late moves nothing
		}
		if err == nil {
			r.failures, r.refusals = 0, 0
			r.backoff.Reset()
			r.throttle.Reset()
			r.position = b.Next
			return b, nil
		}
		wait, err := r.failed(ctx, op, err)
		if ctx.Err() != nil {
			return kcl.Batch{}, context.Cause(ctx)
		}
		if err != nil {
			return kcl.Batch{}, err
		}
		if err := retry.Sleep(ctx, wait); err != nil {
			return kcl.Batch{}, err
		}
	}
}

// attempt makes the calls that the next batch needs. On an error it names the
// operation that failed.
func (r *reader) attempt(ctx context.Context) (b kcl.Batch, op string, err error) {
	if r.atEnd {
		return r.end(ctx)
	}
	if r.iterator == nil {
		if err := r.open(ctx); err != nil {
			return b, opIterator, err
		}
	}
	if err := retry.Sleep(ctx, r.pace.wait(time.Now())); err != nil {
		return b, opRecords, err
	}
	b, err = r.read(ctx)
	if err == nil && r.atEnd && len(b.Records) == 0 {
		return r.end(ctx)
	}
	return b, opRecords, err
}

// open gets an iterator for the position.
func (r *reader) open(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, r.CallTimeout)
	defer cancel()
	in := &kinesis.GetShardIteratorInput{
		StreamARN:         optional(r.StreamARN),
		StreamName:        optional(r.StreamName),
		ShardId:           &r.shardID,
		ShardIteratorType: types.ShardIteratorType(r.position.Kind.String()),
	}
	switch r.position.Kind {
	case kcl.AtSequenceNumber, kcl.AfterSequenceNumber:
		in.StartingSequenceNumber = &r.position.SequenceNumber
	case kcl.AtTimestamp:
		in.Timestamp = &r.position.Timestamp
	case kcl.TrimHorizon, kcl.Latest:
	}
	out, err := r.Client.GetShardIterator(ctx, in, noRetries)
	if err != nil {
		return err
	}
	if aws.ToString(out.ShardIterator) == "" {
		return errors.New("the service sent no shard iterator")
	}
	if r.position.Kind == kcl.Latest {
		// From here on LATEST would mean a later tip than this iterator's.
		// Kinesis' clock, to the second, stands for it until a record comes.
		if t, ok := awsmiddleware.GetServerTime(out.ResultMetadata); ok && !t.IsZero() {
			r.position = kcl.Position{Kind: kcl.AtTimestamp, Timestamp: t.Add(-time.Second)}
		}
	}
	r.iterator = out.ShardIterator
	r.Observer.Opened()
	return nil
}

// read calls GetRecords once.
func (r *reader) read(ctx context.Context) (kcl.Batch, error) {
	ctx, cancel := context.WithTimeout(ctx, r.CallTimeout)
	defer cancel()
	sent := time.Now()
	r.pace.sent(sent)
	out, err := r.Client.GetRecords(ctx, &kinesis.GetRecordsInput{
		StreamARN:     optional(r.StreamARN),
		ShardIterator: r.iterator,
		Limit:         aws.Int32(int32(r.MaxRecords)), // Validate bounds it
	}, noRetries)
	if err != nil {
		return kcl.Batch{}, err
	}
	records, payload, total, err := fromsdk.Records(out.Records)
	if err != nil {
		return kcl.Batch{}, err
	}
	now := time.Now()
	r.Observer.Received()
	b := kcl.Batch{Records: records, Next: r.position, BehindLatest: fromsdk.Behind(out.MillisBehindLatest), ReceivedAt: now}
	if len(records) > 0 {
		b.Next = kcl.After(records[len(records)-1].SequenceNumber())
	}
	r.iterator = out.NextShardIterator
	idle := r.IdleInterval
	if b.BehindLatest > 0 || len(records) >= r.MaxRecords {
		idle = 0 // an empty answer is no sign of the tip: the shard may be sparse here
	}
	r.pace.answered(sent, now, total, idle)
	if aws.ToString(r.iterator) == "" {
		r.iterator = nil
		if children := fromsdk.Children(out.ChildShards); len(children) > 0 {
			b.Next, b.End = kcl.Position{}, &kcl.ShardEnd{Children: children}
		} else {
			r.atEnd = true // this answer's records are delivered first
		}
	}
	r.Metrics.Batch(len(records), payload, b.BehindLatest)
	return b, nil
}

// end asks Lineage for the children that the last answer did not name. Until
// it knows them the shard is read on: a nil iterator alone is no end.
func (r *reader) end(ctx context.Context) (b kcl.Batch, op string, err error) {
	const opList = "ListShards"
	r.atEnd = false
	if r.Lineage == nil {
		return b, opList, errNoLineage
	}
	ctx, cancel := context.WithTimeout(ctx, r.CallTimeout)
	defer cancel()
	_, children, _, err := r.Lineage.Shard(ctx, r.shardID)
	if err != nil {
		return b, opList, err
	}
	if len(children) == 0 {
		return b, opList, errNoChildren
	}
	return kcl.Batch{End: &kcl.ShardEnd{Children: children}, ReceivedAt: time.Now()}, opList, nil
}

// failed decides what follows from an error: how long to wait before the next
// attempt, or an error that is final.
func (r *reader) failed(ctx context.Context, op string, err error) (time.Duration, error) {
	r.failures++
	wait := time.Duration(0)
	act := classify(err)
	switch act {
	case actRetry:
		wait = r.backoff.Next()
	case actThrottle:
		wait = r.throttle.Next()
	case actSlow:
		wait = slowBackoff/2 + rand.N(slowBackoff)
	case actRenew:
		if op == opIterator && r.position.Kind == kcl.AtTimestamp {
			wait = r.backoff.Next() // a time in the future becomes valid by waiting
			break
		}
		if op == opIterator {
			return 0, fmt.Errorf("%w: %s on shard %s of %s: %w", ErrInvalidPosition, r.position, r.shardID, r.resource(), err)
		}
		r.iterator = nil
		r.refusals++
		if r.refusals > maxRefusals {
			return 0, fmt.Errorf("get records of shard %s of %s: %d iterators in a row were refused: %w", r.shardID, r.resource(), r.refusals, err)
		}
		if r.refusals > 1 {
			wait = r.backoff.Next()
		}
	case actLookup:
		if err := r.lookup(ctx, err); err != nil {
			return 0, err
		}
		r.iterator = nil
		wait = r.backoff.Next()
	case actDenied:
		return 0, awserr.Explain(err, "kinesis:"+op, r.resource())
	case actStop:
		return 0, fmt.Errorf("%s on shard %s of %s: %w", op, r.shardID, r.resource(), err)
	}
	r.retrying(ctx, act, op, wait, err)
	return wait, nil
}

// lookup finds out what is gone: the stream, the shard, or nothing at all.
// It returns nil when reading may succeed later.
func (r *reader) lookup(ctx context.Context, notFound error) error {
	ctx, cancel := context.WithTimeout(ctx, r.CallTimeout)
	defer cancel()
	out, err := r.Client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{
		StreamARN: optional(r.StreamARN), StreamName: optional(r.StreamName),
	}, noRetries)
	switch {
	case awserr.Is(err, "ResourceNotFoundException"):
		return fmt.Errorf("%w: %s: %w", kcl.ErrStreamNotFound, r.resource(), err)
	case awserr.Denied(err):
		return fmt.Errorf("shard %s of %s is not there any more, or the stream is not: %w", r.shardID, r.resource(),
			awserr.Explain(err, "kinesis:DescribeStreamSummary", r.resource()))
	case err != nil:
		return nil // it could not be found out: try to read again
	case out.StreamDescriptionSummary != nil && out.StreamDescriptionSummary.StreamStatus == types.StreamStatusDeleting:
		return fmt.Errorf("%w: %s is being deleted", kcl.ErrStreamNotFound, r.resource())
	}
	if r.Lineage != nil {
		if _, _, listed, err := r.Lineage.Shard(ctx, r.shardID); err != nil || listed {
			return nil // as above
		}
	}
	return fmt.Errorf("%w: %s of %s: %w", ErrShardNotFound, r.shardID, r.resource(), notFound)
}

// retrying tells the operator, the observer and the metrics. What is ordinary,
// an iterator that expired and a little throttling, is no warning; a failure
// that lasts is one each time that it has doubled.
func (r *reader) retrying(ctx context.Context, act action, op string, wait time.Duration, err error) {
	r.Metrics.Retried(op, awserr.Code(err))
	r.Observer.Retrying(err, wait)
	level := slog.LevelWarn
	switch doubled := r.failures&(r.failures-1) == 0; {
	case act == actRenew && r.refusals == 1, act == actThrottle && r.failures < 8, !doubled:
		level = slog.LevelDebug
	}
	r.log.LogAttrs(ctx, level, "reading failed, trying again", slog.String("operation", op), slog.String("code", awserr.Code(err)),
		slog.Int("failures", r.failures), slog.Duration("wait", wait), slog.String("position", r.position.String()), slog.Any("err", err))
}

// noRetries: the retries are ours.
func noRetries(o *kinesis.Options) { o.Retryer = aws.NopRetryer{} }

func optional(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
