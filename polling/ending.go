package polling

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardend"
	"github.com/kinesis-go/kcl/internal/shardread"
)

// ending is what a reader knows about the end of the shard.
type ending struct {
	endSent  bool             // the last answer had no iterator
	children []kcl.ChildShard // as that answer named them
	last     string           // number of the last record read
	judge    shardend.Judge
	tipSince time.Time // since when nothing has come at the tip, or when Lineage was asked; zero elsewhere
	idleWait time.Duration
}

// observe takes in an answer. It returns the end of the shard if the answer names the children and
// nothing is unread. The answer before must have been at the tip too, or this one has records.
func (e *ending) observe(
	answer *kinesis.GetRecordsOutput, records []kcl.Record, wasBehind bool, children []kcl.ChildShard, now time.Time,
) *kcl.ShardEnd {
	tip := shardend.AtTip(answer.MillisBehindLatest)
	switch {
	case len(records) > 0:
		e.last = records[len(records)-1].SequenceNumber()
		e.judge.Forget()
		e.tipSince, e.idleWait = time.Time{}, shardend.IdleCheck
	case !tip && answer.MillisBehindLatest != nil:
		e.tipSince = time.Time{}
	}
	if e.tipSince.IsZero() && (tip || answer.MillisBehindLatest == nil) {
		e.tipSince = now
	}
	if aws.ToString(answer.NextShardIterator) != "" {
		return nil
	}
	if tip && children != nil && (len(records) > 0 || !wasBehind) {
		return &kcl.ShardEnd{Children: children}
	}
	e.endSent, e.children = true, children
	return nil
}

// idles tells whether it is time to ask whether the shard is closed. Some servers give iterators
// for ever, also for a shard that has ended.
func (e *ending) idles(now time.Time) bool {
	return !e.tipSince.IsZero() && now.Sub(e.tipSince) >= e.idleWait
}

// checkEnd finds out whether the shard has ended. It sets an error if an answer had no iterator and
// the shard has not ended: then the reader waits and reads on.
func (r *reader) checkEnd(ctx context.Context, out *outcome) (over bool) {
	endSent, children := r.ending.endSent, r.ending.children
	r.ending.endSent = false // the shard is read on until it has ended
	out.op = "ListShards"
	if children == nil {
		var err error
		if children, err = r.listChildren(ctx, endSent); err != nil {
			r.ending.tipSince, r.ending.idleWait = time.Now(), shardend.Rarer(r.ending.idleWait)
			if endSent {
				out.received, out.err = false, err
			}
			return endSent
		}
	}
	at := shardend.Place{Next: r.position, Last: r.ending.last}
	answer, err := r.asker(out).Ask(ctx, at)
	if err != nil && classify(err) == shardread.Renew {
		// The position that the reader goes on from is not the one that was refused.
		err = fmt.Errorf("%w: %s refused: %s", shardend.ErrUnconfirmed, out.op, awserr.Code(err))
	}
	if err != nil {
		out.received, out.err = false, err
		return true
	}
	if answer.Children != nil {
		children = answer.Children
	}
	err = r.ending.judge.Confirm(time.Now(), at, answer)
	if err == nil {
		out.batch = kcl.Batch{End: &kcl.ShardEnd{Children: children}, ReceivedAt: time.Now()}
		return true
	}
	r.ending.tipSince, r.ending.idleWait = time.Now(), shardend.DoubtCheck
	if !endSent {
		return false
	}
	out.received, out.err = false, err
	return true
}

// listChildren returns the children of a shard that can have ended. ListShards need not name the
// shard if the service has sent the end.
func (r *reader) listChildren(ctx context.Context, endSent bool) ([]kcl.ChildShard, error) {
	if r.Lineage == nil {
		return nil, errNoLineage
	}
	l, err := shardread.List(ctx, r.Lineage, r.shardID, r.CallTimeout)
	if err != nil {
		return nil, err
	}
	if !l.MayHaveEnded(endSent) {
		return nil, errNoChildren
	}
	return l.Children, nil
}

// asker calls GetRecords for package shardend, at the reader's pace and within its memory. The
// reader keeps its own iterator.
func (r *reader) asker(out *outcome) shardend.Asker {
	return shardend.Asker{
		ShardID: r.shardID,
		Iterator: func(ctx context.Context, at kcl.Position) (*string, error) {
			out.op = opIterator
			answer, err := r.iteratorAt(ctx, at)
			if err != nil {
				return nil, err
			}
			return answer.ShardIterator, nil
		},
		Records: func(ctx context.Context, iterator *string, limit int) (*kinesis.GetRecordsOutput, error) {
			out.op = opRecords
			if err := retry.Sleep(ctx, r.pace.delay(time.Now())); err != nil {
				return nil, err
			}
			ask := outcome{grant: grant{m: r.Memory, ahead: out.grant.ahead}}
			defer ask.grant.free()
			if err := ask.grant.waitTurn(ctx); err != nil {
				return nil, err
			}
			r.pace.sent(time.Now())
			return line.Call(ctx, r.CallTimeout, func(ctx context.Context) (*kinesis.GetRecordsOutput, error) {
				return r.Client.GetRecords(ctx, &kinesis.GetRecordsInput{
					StreamARN: optional(r.StreamARN), ShardIterator: iterator, Limit: aws.Int32(int32(limit)),
				}, r.options, ask.onHeader)
			})
		},
	}
}

// Reasons why the reader does not believe an end of the shard. The observer and the log get them.
var (
	errNoChildren = errors.New("the end of the shard names no children, " +
		"and ListShards does not show that the shard is closed and has children")
	errNoLineage = errors.New("the end of the shard names no children, and Config.Lineage is not set to ask for them")
)
