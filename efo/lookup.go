package efo

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
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardend"
)

// lookup finds out what is gone when a subscribe keeps failing: the stream,
// the consumer or the shard. notFound says that the service said that
// something is; otherwise it is only suspected. It returns an error that is
// final, finishes the reader at an end of the shard, or returns nil when
// everything is there or cannot be asked: then the subscribe is tried again.
// A shard is gone when ListShards does not show it and a read by GetShardIterator
// does not find it either (where that is not permitted, the subscribe counts).
// How often that must be so before the shard counts as expired, the caller
// decides: a shard that is new may not be visible yet.
func (r *reader) lookup(ctx context.Context, notFound bool) error {
	if gone, err := r.consumerGone(ctx); err != nil || gone {
		return err
	}
	if r.checkShardEnd(ctx, end{}); r.finished {
		return nil
	}
	l, known := r.list(ctx)
	if l.Listed || !known && r.Lineage != nil {
		return nil
	}
	// Not listed, or nobody to ask: read directly.
	if _, err := r.iterator(ctx, r.next); !awserr.Is(err, "ResourceNotFoundException") && (!notFound || !awserr.Denied(err)) {
		return nil
	}
	return fmt.Errorf("%w: shard %s of %s is neither listed nor readable", kcl.ErrShardNotFound, r.shardID, r.StreamARN)
}

// Lookups lets all subscribers of a stream find out together what became of its
// consumer: when it is deleted under a thousand shards, or none of them can
// subscribe, one asks for all, once in five seconds. The service answers 20 such
// questions a second for a whole account. It is safe for concurrent use.
type Lookups struct{ shared *retry.Shared }

// NewLookups returns a Lookups, for [Config.Lookups].
func NewLookups() *Lookups { return &Lookups{retry.NewShared()} }

// lookupAge is how old the answer to another shard's question may be.
const lookupAge = 5 * time.Second

// errWait is the answer that the consumer is being registered or deleted.
var errWait = errors.New("the stream consumer is not active")

// consumerGone asks for the consumer, and for the stream when the consumer is
// not there. gone without an error means: being registered or deleted, wait.
func (r *reader) consumerGone(ctx context.Context) (gone bool, err error) {
	err = r.Lookups.shared.Do(ctx, r.ConsumerARN, lookupAge, func() error {
		gone, err := r.askConsumer(ctx)
		if gone && err == nil {
			err = errWait
		}
		return err
	})
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case errors.Is(err, errWait):
		return true, nil
	}
	return err != nil, err
}

func (r *reader) askConsumer(ctx context.Context) (gone bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	out, err := r.Client.DescribeStreamConsumer(ctx, &kinesis.DescribeStreamConsumerInput{ConsumerARN: &r.ConsumerARN}, r.asking)
	switch {
	case err == nil && out.ConsumerDescription == nil:
		r.log.LogAttrs(ctx, slog.LevelWarn, "cannot ask for the stream consumer", slog.Any("err", errNoDescription))
		return false, nil
	case err == nil:
		return out.ConsumerDescription.ConsumerStatus != types.ConsumerStatusActive, nil
	case !awserr.Is(err, "ResourceNotFoundException"):
		r.log.LogAttrs(ctx, slog.LevelWarn, "cannot ask for the stream consumer", slog.Any("err", err))
		return false, nil
	}
	_, err = r.Client.DescribeStreamSummary(ctx, &kinesis.DescribeStreamSummaryInput{StreamName: aws.String(streamName(r.StreamARN)), StreamARN: &r.StreamARN}, r.asking)
	if awserr.Is(err, "ResourceNotFoundException") {
		return true, fmt.Errorf("%w: %s", kcl.ErrStreamNotFound, r.StreamARN)
	}
	if err != nil && !awserr.Denied(err) {
		r.log.LogAttrs(ctx, slog.LevelWarn, "cannot ask for the stream", slog.Any("err", err))
		return true, nil
	}
	return true, fmt.Errorf("%w: %s; register it again", ErrConsumerNotFound, r.ConsumerARN)
}

// refusedPosition handles an InvalidArgument. A sequence number that the shard
// can have had and that is older than all it still holds was trimmed: reading
// starts at the oldest record, and the log says that data expired. Any other is
// foreign, and an error that is final, because a jump would lose or repeat
// records silently.
func (r *reader) refusedPosition(ctx context.Context, cause error) error {
	switch r.next.Kind {
	case kcl.AtTimestamp, kcl.Latest, kcl.TrimHorizon:
		// No sequence number to blame; a time in the future becomes valid by waiting.
		return nil
	case kcl.AtSequenceNumber, kcl.AfterSequenceNumber:
	}
	l, known := r.list(ctx)
	if r.Lineage != nil && (!known || !l.Listed) {
		return nil
	}
	at := kcl.ExtendedSequenceNumber{SequenceNumber: r.next.SequenceNumber}
	if !between(at, l.Shard) {
		return r.foreign(cause)
	}
	oldest, err := r.oldest(ctx)
	if err != nil {
		if awserr.Denied(err) {
			return r.foreign(cause)
		}
		r.log.LogAttrs(ctx, slog.LevelWarn, "cannot ask for the oldest record", slog.Any("err", err))
		return nil
	}
	if oldest.Validate() == nil && at.Compare(oldest) >= 0 {
		return r.foreign(cause)
	}
	r.Metrics.RetentionGap()
	r.log.LogAttrs(ctx, slog.LevelError, "the position has left the retention period; reading on at the oldest record, records in between are lost",
		slog.String("position", r.next.String()), slog.Any("err", cause))
	r.next = kcl.Position{Kind: kcl.TrimHorizon}
	return nil
}

func (r *reader) foreign(cause error) error {
	return fmt.Errorf("%w: %s does not belong to shard %s of %s: %w", kcl.ErrInvalidPosition, r.next, r.shardID, r.StreamARN, cause)
}

// between tells whether the shard can have had a record with the number.
func between(at kcl.ExtendedSequenceNumber, shard kcl.Shard) bool {
	first := kcl.ExtendedSequenceNumber{SequenceNumber: shard.StartingSequenceNumber}
	last := kcl.ExtendedSequenceNumber{SequenceNumber: shard.EndingSequenceNumber}
	return at.Validate() == nil && first.Validate() == nil && at.Compare(first) >= 0 &&
		(!shard.Closed() || last.Validate() == nil && at.Compare(last) <= 0)
}

// oldest returns the number of the oldest record of the shard, zero when it holds none.
func (r *reader) oldest(ctx context.Context) (kcl.ExtendedSequenceNumber, error) {
	iterator, err := r.iterator(ctx, kcl.Position{Kind: kcl.TrimHorizon})
	if err != nil {
		return kcl.ExtendedSequenceNumber{}, err
	}
	for empty := 0; empty < maxEmptyReads && aws.ToString(iterator) != ""; empty++ {
		out, err := r.getRecords(ctx, iterator, 1)
		if err != nil {
			return kcl.ExtendedSequenceNumber{}, err
		}
		if len(out.Records) > 0 {
			return kcl.ExtendedSequenceNumber{SequenceNumber: aws.ToString(out.Records[0].SequenceNumber)}, nil
		}
		if shardend.AtTip(out.MillisBehindLatest) {
			break
		}
		iterator = out.NextShardIterator
		if err := retry.Sleep(ctx, readPace); err != nil {
			return kcl.ExtendedSequenceNumber{}, err
		}
	}
	return kcl.ExtendedSequenceNumber{}, nil
}
