package efo

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/retry"
)

// Lookups lets all subscribers of a stream find out together whether its consumer still exists. One
// subscriber asks for all, once in five seconds: a thousand shards may have one consumer. The
// service answers 20 such calls a second for a whole account. It is safe for concurrent use.
type Lookups struct{ shared *retry.Shared }

// NewLookups returns a Lookups, for [Config.Lookups].
func NewLookups() *Lookups { return &Lookups{retry.NewShared()} }

// lookupAge is how old the answer to another subscriber may be.
const lookupAge = 5 * time.Second

// errNotActive says that the consumer is being registered or deleted.
var errNotActive = errors.New("the stream consumer is not active")

func missingStream(arn string) error { return fmt.Errorf("%w: %s", kcl.ErrStreamNotFound, arn) }

func missingConsumer(arn string) error {
	return fmt.Errorf("%w: %s; register it again", ErrConsumerNotFound, arn)
}

// lookup finds out which of stream, consumer and shard is missing when the reader cannot
// subscribe. notFound says that the service answered "not found". lookup returns a final error, or
// delivers the end of the shard. It returns nil when nothing is missing or the service does not
// answer: then the reader subscribes again.
//
// A shard is missing when ListShards does not name it and GetShardIterator does not find it.
// Without the permission for GetShardIterator, the "not found" of the subscribe is enough. A new
// shard may not be visible yet. So the caller decides how often a shard must be missing before it
// counts as expired.
func (r *reader) lookup(ctx context.Context, notFound bool) error {
	if missing, err := r.consumerMissing(ctx); err != nil || missing {
		return err
	}
	if r.checkShardEnd(ctx, ending{}); r.finished {
		return nil
	}
	l, known := r.service.list(ctx)
	if l.Listed || !known && r.Lineage != nil {
		return nil
	}
	_, err := r.service.iterator(ctx, r.position)
	if !awserr.Is(err, "ResourceNotFoundException") && (!notFound || !awserr.Denied(err)) {
		return nil
	}
	return fmt.Errorf("%w: shard %s of %s is neither listed nor readable", kcl.ErrShardNotFound, r.shardID, r.StreamARN)
}

// consumerMissing is [service.consumer], shared with all subscribers of the stream.
func (r *reader) consumerMissing(ctx context.Context) (missing bool, err error) {
	err = r.Lookups.shared.Do(ctx, r.ConsumerARN, lookupAge, func() error {
		missing, err := r.service.consumer(ctx)
		if missing && err == nil {
			err = errNotActive
		}
		return err
	})
	switch {
	case ctx.Err() != nil:
		return false, context.Cause(ctx)
	case errors.Is(err, errNotActive):
		return true, nil
	}
	return err != nil, err
}

// refusedPosition handles an InvalidArgument. A sequence number was trimmed if the shard can have
// had it and the shard's oldest record is newer: then reading starts at the oldest record, and the
// log says that data expired. Any other sequence number belongs elsewhere. That is a final error:
// if the reader went on from another position, it could lose or repeat records unnoticed.
func (r *reader) refusedPosition(ctx context.Context, cause error) error {
	switch r.position.Kind {
	case kcl.AtTimestamp, kcl.Latest, kcl.TrimHorizon:
		// There is no sequence number. A time in the future becomes valid later.
		return nil
	case kcl.AtSequenceNumber, kcl.AfterSequenceNumber:
	}
	l, known := r.service.list(ctx)
	if r.Lineage != nil && (!known || !l.Listed) {
		return nil
	}
	at := kcl.ExtendedSequenceNumber{SequenceNumber: r.position.SequenceNumber}
	if !mayContain(l.Shard, at) {
		return r.foreignPosition(cause)
	}
	oldest, err := r.service.oldestRecord(ctx)
	if err != nil {
		if awserr.Denied(err) {
			return r.foreignPosition(cause)
		}
		r.log.LogAttrs(ctx, slog.LevelWarn, "cannot read the oldest record", slog.Any("err", err))
		return nil
	}
	if oldest.Validate() == nil && at.Compare(oldest) >= 0 {
		return r.foreignPosition(cause)
	}
	r.Metrics.RetentionGap()
	r.log.LogAttrs(ctx, slog.LevelError,
		"the position has left the retention period; reading on at the oldest record, records in between are lost",
		slog.String("position", r.position.String()), slog.Any("err", cause))
	r.position = kcl.Position{Kind: kcl.TrimHorizon}
	return nil
}

func (r *reader) foreignPosition(cause error) error {
	return fmt.Errorf("%w: %s does not belong to shard %s of %s: %w",
		kcl.ErrInvalidPosition, r.position, r.shardID, r.StreamARN, cause)
}

// mayContain tells whether the shard can have had a record with the number.
func mayContain(shard kcl.Shard, at kcl.ExtendedSequenceNumber) bool {
	first := kcl.ExtendedSequenceNumber{SequenceNumber: shard.StartingSequenceNumber}
	last := kcl.ExtendedSequenceNumber{SequenceNumber: shard.EndingSequenceNumber}
	return at.Validate() == nil && first.Validate() == nil && at.Compare(first) >= 0 &&
		(!shard.Closed() || last.Validate() == nil && at.Compare(last) <= 0)
}
