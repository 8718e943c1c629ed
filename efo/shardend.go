package efo

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/fromsdk"
	"github.com/kinesis-go/kcl/internal/retry"
)

const (
	// idleCheck is how long a shard is without records before it is asked
	// whether it was closed; it doubles up to idleCheckMax while the answer is no.
	idleCheck    = 30 * time.Second
	idleCheckMax = 10 * time.Minute

	// askTimeout bounds every single question of this file and of lookup.go.
	askTimeout = 10 * time.Second
	// lineageTimeout is shorter: nothing is read meanwhile, and most answers come from memory.
	lineageTimeout = 3 * time.Second
	// readPace keeps to five GetRecords per second and shard, with room for others.
	readPace = 250 * time.Millisecond
	// maxEmptyReads is how many empty answers in a row the end may hide behind.
	maxEmptyReads = 40
)

// shardNow asks Lineage, with a deadline. Without a Lineage, or without an answer, listed is unknown.
func (r *reader) shardNow(ctx context.Context) (shard kcl.Shard, children []kcl.ChildShard, listed, known bool) {
	if r.Lineage == nil {
		return kcl.Shard{}, nil, false, false
	}
	ctx, cancel := context.WithTimeout(ctx, lineageTimeout)
	defer cancel()
	shard, children, listed, err := r.Lineage.Shard(ctx, r.shardID)
	if err != nil {
		r.log.LogAttrs(ctx, slog.LevelWarn, "shard list not available", slog.Any("err", err))
		return kcl.Shard{}, nil, false, false
	}
	return shard, children, listed, true
}

// closedByLineage tells whether a shard that idles at its tip is closed and
// has children, so that it is worth asking whether it has ended.
func (r *reader) closedByLineage(ctx context.Context) bool {
	r.idleFor = min(2*r.idleFor, idleCheckMax)
	if r.behind > 0 {
		return false
	}
	shard, children, _, known := r.shardNow(ctx)
	return known && shard.Closed() && len(children) > 0
}

// checkShardEnd finds out whether the shard has ended although its stream did
// not say so completely, and finishes the reader if it has. said is true when
// the stream did send a nil continuation, and only the children are missing.
func (r *reader) checkShardEnd(ctx context.Context, said bool) {
	shard, children, _, known := r.shardNow(ctx)
	switch {
	case !known || len(children) == 0:
	case said:
		r.finish(children)
	case shard.Closed():
		if err := r.readRest(ctx, children); err != nil && ctx.Err() == nil {
			r.unconfirmed(ctx, err, shard, children)
		}
	}
}

// unconfirmed is for a shard that is closed, has children and cannot be read
// with GetRecords. Without the permission for that, a position past the last
// number of the shard is enough.
func (r *reader) unconfirmed(ctx context.Context, err error, shard kcl.Shard, children []kcl.ChildShard) {
	switch {
	case !awserr.Denied(err):
		r.log.LogAttrs(ctx, slog.LevelWarn, "shard end not confirmed, reading on", slog.Any("err", err))
	case r.pastEnd(shard):
		r.log.LogAttrs(ctx, slog.LevelWarn, "shard end taken from the shard list: allow kinesis:GetRecords and kinesis:GetShardIterator to have it confirmed", slog.Any("err", err))
		r.finish(children)
	default:
		r.log.LogAttrs(ctx, slog.LevelWarn, "the shard is closed, and whether it has been read to its end cannot be asked: allow kinesis:GetRecords and kinesis:GetShardIterator", slog.Any("err", err))
	}
}

// finish delivers the end of the shard by itself.
func (r *reader) finish(children []kcl.ChildShard) {
	r.deliver(kcl.Batch{End: &kcl.ShardEnd{Children: children}, ReceivedAt: time.Now()}, 0)
}

// pastEnd tells whether the position is at or past the shard's last sequence number.
func (r *reader) pastEnd(shard kcl.Shard) bool {
	if r.next.Kind != kcl.AfterSequenceNumber {
		return false
	}
	at := kcl.ExtendedSequenceNumber{SequenceNumber: r.next.SequenceNumber}
	last := kcl.ExtendedSequenceNumber{SequenceNumber: shard.EndingSequenceNumber}
	return at.Validate() == nil && last.Validate() == nil && at.Compare(last) >= 0
}

// readRest reads on with GetRecords after the last position. It finishes the
// reader when the service answers without a next iterator, having delivered
// what came before, and returns nil when the loop goes on without an end.
func (r *reader) readRest(ctx context.Context, children []kcl.ChildShard) error {
	iterator, err := r.iterator(ctx, r.next)
	if err != nil {
		return err
	}
	wait := retry.New(time.Second, 10*time.Second)
	for empty := 0; empty < maxEmptyReads; {
		out, err := r.getRecords(ctx, iterator)
		switch {
		case err == nil:
		case awserr.Throttled(err):
			if err := wait.Wait(ctx); err != nil {
				return err
			}
			empty++
			continue
		case awserr.Is(err, "ExpiredIteratorException"):
			// The loop body took more than five minutes for what it was given.
			if iterator, err = r.iterator(ctx, r.next); err != nil {
				return err
			}
			empty++
			continue
		default:
			return err
		}
		records, size, _, err := fromsdk.Records(out.Records)
		if err != nil {
			return err
		}
		b := kcl.Batch{Records: records, Next: r.next, BehindLatest: fromsdk.Behind(out.MillisBehindLatest), ReceivedAt: time.Now()}
		if len(records) > 0 {
			b.Next = kcl.After(records[len(records)-1].SequenceNumber())
		}
		if aws.ToString(out.NextShardIterator) == "" {
			if named := fromsdk.Children(out.ChildShards); len(named) > 0 {
				children = named
			}
			b.Next, b.End = kcl.Position{}, &kcl.ShardEnd{Children: children}
			r.deliver(b, size)
			return nil
		}
		if empty++; len(records) > 0 {
			empty = 0
			if !r.deliver(b, size) {
				return nil
			}
		}
		iterator = out.NextShardIterator
		if err := retry.Sleep(ctx, readPace); err != nil {
			return err
		}
	}
	return errors.New("GetRecords did not come to the end of the shard")
}

func (r *reader) iterator(ctx context.Context, at kcl.Position) (*string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	in := &kinesis.GetShardIteratorInput{StreamARN: &r.StreamARN, ShardId: &r.shardID, ShardIteratorType: types.ShardIteratorType(at.Kind.String())}
	switch at.Kind {
	case kcl.AtSequenceNumber, kcl.AfterSequenceNumber:
		in.StartingSequenceNumber = &at.SequenceNumber
	case kcl.AtTimestamp:
		in.Timestamp = &at.Timestamp
	case kcl.TrimHorizon, kcl.Latest:
	}
	out, err := r.Client.GetShardIterator(ctx, in)
	if err != nil {
		return nil, err
	}
	return out.ShardIterator, nil
}

func (r *reader) getRecords(ctx context.Context, iterator *string) (*kinesis.GetRecordsOutput, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	return r.Client.GetRecords(ctx, &kinesis.GetRecordsInput{StreamARN: &r.StreamARN, ShardIterator: iterator})
}
