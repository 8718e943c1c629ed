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

// ending is what a reader knows of an end that may have come.
type ending struct {
	said     bool             // the service gave no further iterator
	children []kcl.ChildShard // as that answer named them
	last     string           // number of the last record read
	judge    shardend.Judge
	tipSince time.Time // nothing has come since, at the tip, or Lineage has been asked; zero elsewhere
	idleFor  time.Duration
}

// note takes in an answer. It returns the end of the shard when the answer says
// so and nothing contradicts it: all is named, nothing is unread, and that was
// so before or has become so by the records in it.
func (e *ending) note(answer *kinesis.GetRecordsOutput, records []kcl.Record, wasBehind bool, children []kcl.ChildShard, now time.Time) *kcl.ShardEnd {
	tip := shardend.AtTip(answer.MillisBehindLatest)
	switch {
	case len(records) > 0:
		e.last = records[len(records)-1].SequenceNumber()
		e.judge.Forget()
		e.tipSince, e.idleFor = time.Time{}, shardend.IdleCheck
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
	e.said, e.children = true, children
	return nil
}

// idles tells whether it is time to ask whether the shard is closed. A server
// that keeps giving iterators says of no shard that it has ended.
func (e *ending) idles(now time.Time) bool {
	return !e.tipSince.IsZero() && now.Sub(e.tipSince) >= e.idleFor
}

// end finds out whether the shard has ended. After an answer without an iterator
// it sets an error when the shard has not, so that it is read on after a wait.
func (r *reader) end(ctx context.Context, out *outcome) (over bool) {
	said, children := r.ending.said, r.ending.children
	r.ending.said = false // whatever comes of it, the shard is read on until it has ended
	out.op = "ListShards"
	if children == nil {
		var err error
		if children, err = r.listed(ctx, said); err != nil {
			r.ending.tipSince, r.ending.idleFor = time.Now(), shardend.Rarer(r.ending.idleFor)
			if said {
				out.received, out.err = false, err
			}
			return said
		}
	}
	at := shardend.Place{Next: r.position, Last: r.ending.last}
	answer, err := r.asker(out).Ask(ctx, at)
	if err != nil && classify(err) == shardread.Renew {
		err = fmt.Errorf("%w: %s refused: %s", shardend.ErrUnconfirmed, out.op, awserr.Code(err)) // no fault of the position that is read on from
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
	r.ending.tipSince, r.ending.idleFor = time.Now(), shardend.DoubtCheck
	if !said {
		return false
	}
	out.received, out.err = false, err
	return true
}

// listed returns the children of a shard that ListShards calls closed. When the
// service itself has said so, it may be that the shard is not listed any more.
func (r *reader) listed(ctx context.Context, said bool) ([]kcl.ChildShard, error) {
	if r.Lineage == nil {
		return nil, errNoLineage
	}
	l, err := shardread.List(ctx, r.Lineage, r.shardID, r.CallTimeout)
	if err != nil {
		return nil, err
	}
	if !l.MayHaveEnded(said) {
		return nil, errNoChildren
	}
	return l.Children, nil
}

// asker asks besides the reader's own iterator, at the reader's pace and within
// its memory.
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
			if err := retry.Sleep(ctx, r.pace.turn(time.Now())); err != nil {
				return nil, err
			}
			ask := outcome{grant: grant{m: r.Memory, ahead: out.grant.ahead}}
			defer ask.grant.free()
			if err := ask.grant.call(ctx); err != nil {
				return nil, err
			}
			r.pace.sent(time.Now())
			return line.Call(ctx, r.CallTimeout, func(ctx context.Context) (*kinesis.GetRecordsOutput, error) {
				return r.Client.GetRecords(ctx, &kinesis.GetRecordsInput{
					StreamARN: optional(r.StreamARN), ShardIterator: iterator, Limit: aws.Int32(int32(limit)),
				}, r.options, ask.headed)
			})
		},
	}
}

// What the observer and the log are told of an end that does not count.
var (
	errNoChildren = errors.New("the end of the shard names no children, and ListShards does not call the shard closed with children")
	errNoLineage  = errors.New("the end of the shard names no children, and Config.Lineage is not set to ask for them")
)
