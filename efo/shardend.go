package efo

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/fromsdk"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardend"
	"github.com/kinesis-go/kcl/internal/shardread"
)

const (
	// hintCheck is how soon the reader asks whether the shard is closed after an event that names
	// children and a continuation.
	hintCheck = 2 * time.Second

	// tipReads is how many answers at the tip must be empty before a closed shard counts as read.
	tipReads = 3
)

// checkShardEnd finds out whether the shard has ended although its stream did not say so
// completely. If it has, checkShardEnd delivers the end. The reader reads on with GetRecords first,
// because a nil continuation can be as wrong as any other answer.
func (r *reader) checkShardEnd(ctx context.Context, e ending) {
	children := e.children
	var l shardread.Listing
	if children == nil {
		if l, _ = r.service.list(ctx); !l.MayHaveEnded(e.endSent) {
			return
		}
		children = l.Children
	}
	ended, err := r.readRest(ctx, &children)
	switch {
	case ctx.Err() != nil || r.finished:
	case ended:
		r.deliverEnd(children)
	case err != nil:
		if l.Shard.ID == "" {
			l, _ = r.service.list(ctx)
		}
		r.endUnconfirmed(ctx, err, l.Shard, children, e)
	}
	if r.judge.Doubts() {
		r.idleWait = shardend.DoubtCheck
	}
}

// endUnconfirmed handles an end of the shard that GetRecords does not confirm. A
// reader without the permission for GetRecords believes one of two facts. The position is at or
// after the last number of the shard; or the stream has said often enough that the shard has ended.
func (r *reader) endUnconfirmed(
	ctx context.Context, err error, shard kcl.Shard, children []kcl.ChildShard, e ending,
) {
	if !awserr.Denied(err) {
		r.log.LogAttrs(ctx, slog.LevelWarn, "shard end not confirmed, reading on",
			slog.String("position", r.position.String()), slog.Any("err", err))
		return
	}
	said := shardend.Answer{Last: true, Tip: e.tip, Children: e.children}
	if r.pastEnd(shard) || e.endSent && r.judge.Ended(time.Now(), shardend.Place{}, said) {
		r.log.LogAttrs(ctx, slog.LevelWarn, "shard end taken from the shard list: "+
			"allow kinesis:GetRecords and kinesis:GetShardIterator to confirm such ends", slog.Any("err", err))
		r.deliverEnd(children)
		return
	}
	r.log.LogAttrs(ctx, slog.LevelWarn, "shard closed, no permission to find out whether it has been read to its end: "+
		"allow kinesis:GetRecords and kinesis:GetShardIterator", slog.Any("err", err))
}

// deliverEnd delivers the end of the shard in a batch without records.
func (r *reader) deliverEnd(children []kcl.ChildShard) {
	r.deliver(kcl.Batch{End: &kcl.ShardEnd{Children: children}, ReceivedAt: time.Now()}, 0)
}

// pastEnd tells whether the position is at or after the shard's last sequence number.
func (r *reader) pastEnd(shard kcl.Shard) bool {
	if r.position.Kind != kcl.AfterSequenceNumber {
		return false
	}
	at := kcl.ExtendedSequenceNumber{SequenceNumber: r.position.SequenceNumber}
	last := kcl.ExtendedSequenceNumber{SequenceNumber: shard.EndingSequenceNumber}
	return at.Validate() == nil && last.Validate() == nil && at.Compare(last) >= 0
}

// readRest delivers what GetRecords returns after the position, and then asks whether the shard has
// ended there, as package shardend does. It replaces children by those that the service names.
func (r *reader) readRest(ctx context.Context, children *[]kcl.ChildShard) (ended bool, err error) {
	if err := r.drain(ctx); err != nil || r.finished {
		return false, err
	}
	at := shardend.Place{Next: r.position, Last: r.lastNumber}
	answer, err := r.service.asker().Ask(ctx, at)
	if err != nil {
		return false, err
	}
	if answer.Children != nil {
		*children = answer.Children
	}
	if err := r.judge.Confirm(time.Now(), at, answer); err != nil {
		return false, err
	}
	return true, nil
}

// drain delivers what GetRecords returns after the position. It stops when there is no next
// iterator, after tipReads empty answers at the tip, and after maxEmptyReads empty answers.
func (r *reader) drain(ctx context.Context) error {
	iterator, err := r.service.iterator(ctx, r.position)
	if err != nil {
		return err
	}
	wait := retry.New(time.Second, 10*time.Second)
	for empty, tip := 0, 0; empty < maxEmptyReads && tip < tipReads; {
		out, err := r.service.getRecords(ctx, iterator, 0)
		switch {
		case err == nil:
		case awserr.Throttled(err):
			if err := wait.Wait(ctx); err != nil {
				return err
			}
			empty++
			continue
		case awserr.Is(err, "ExpiredIteratorException"):
			// The loop body took more than five minutes for the last batch.
			if iterator, err = r.service.iterator(ctx, r.position); err != nil {
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
		empty++
		if shardend.AtTip(out.MillisBehindLatest) {
			tip++
		}
		if len(records) > 0 {
			empty, tip = 0, 0
			if !r.deliver(fromsdk.Batch(records, r.position, out.MillisBehindLatest), size) {
				return nil
			}
		}
		if iterator = out.NextShardIterator; aws.ToString(iterator) == "" {
			return nil
		}
		if err := retry.Sleep(ctx, readPace); err != nil {
			return err
		}
	}
	return nil
}
