package efo

import (
	"context"
	"log/slog"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/fromsdk"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardend"
	"github.com/kinesis-go/kcl/internal/shardread"
)

const (
	// hintCheck is how soon the reader asks whether the shard is closed after an event that names
	// children and a continuation.
	hintCheck = 2 * time.Second

	// askTimeout bounds every single question of this file and of lookup.go.
	askTimeout = 10 * time.Second
	// lineageTimeout is shorter: nothing is read meanwhile, and most answers come from memory. While a list
	// is arriving it does not pass.
	lineageTimeout = 3 * time.Second
	// readPace keeps to five GetRecords per second and shard, with room for others.
	readPace = 250 * time.Millisecond
	// maxEmptyReads is how many empty answers in a row the end may hide behind,
	// and tipReads how many at the tip, behind which a closed shard has nothing.
	maxEmptyReads = 40
	tipReads      = 3
)

// list asks Lineage for the shard. known is false without a Lineage and without an answer.
func (r *reader) list(ctx context.Context) (l shardread.Listing, known bool) {
	if r.Lineage == nil {
		return shardread.Listing{}, false
	}
	l, err := shardread.List(ctx, r.Lineage, r.shardID, lineageTimeout)
	if err != nil {
		r.log.LogAttrs(ctx, slog.LevelWarn, "shard list not available", slog.Any("err", err))
		return shardread.Listing{}, false
	}
	return l, true
}

// checkShardEnd finds out whether the shard has ended although its stream did
// not say so completely, and finishes the reader if it has. It reads on with
// GetRecords first: a nil continuation can be as wrong as any other answer.
func (r *reader) checkShardEnd(ctx context.Context, e end) {
	children := e.children
	var l shardread.Listing
	if children == nil {
		if l, _ = r.list(ctx); !l.MayHaveEnded(e.closed) {
			return
		}
		children = l.Children
	}
	ended, err := r.readRest(ctx, &children)
	switch {
	case ctx.Err() != nil || r.finished:
	case ended:
		r.finish(children)
	case err != nil:
		if l.Shard.ID == "" {
			l, _ = r.list(ctx)
		}
		r.unconfirmed(ctx, err, l.Shard, children, e)
	}
	if r.judge.Doubts() {
		r.idleFor = shardend.DoubtCheck
	}
}

// unconfirmed is for a shard of which GetRecords does not say that it has ended.
// Without the permission to ask, a position past the last number of the shard is
// enough, or a stream that says so again and again.
func (r *reader) unconfirmed(ctx context.Context, err error, shard kcl.Shard, children []kcl.ChildShard, e end) {
	if !awserr.Denied(err) {
		r.log.LogAttrs(ctx, slog.LevelWarn, "shard end not confirmed, reading on", slog.String("position", r.next.String()), slog.Any("err", err))
		return
	}
	said := shardend.Answer{Last: true, Tip: e.tip, Children: e.children}
	if r.pastEnd(shard) || e.closed && r.judge.Ended(time.Now(), shardend.Place{}, said) {
		r.log.LogAttrs(ctx, slog.LevelWarn, "shard end taken from the shard list: allow kinesis:GetRecords and kinesis:GetShardIterator to have it confirmed", slog.Any("err", err))
		r.finish(children)
		return
	}
	r.log.LogAttrs(ctx, slog.LevelWarn, "the shard is closed, and whether it has been read to its end cannot be asked: allow kinesis:GetRecords and kinesis:GetShardIterator", slog.Any("err", err))
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

// readRest reads on with GetRecords after the last position, and delivers what
// comes. It tells whether the shard has ended there: the service says so once
// more, in the way that package shardend asks for, or it says why not.
func (r *reader) readRest(ctx context.Context, children *[]kcl.ChildShard) (ended bool, err error) {
	if err := r.drain(ctx); err != nil || r.finished {
		return false, err
	}
	at := shardend.Place{Next: r.next, Last: r.last}
	answer, err := r.asker().Ask(ctx, at)
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

// drain delivers what GetRecords brings after the last position, until there is
// no next iterator, or nothing comes at the tip, or not for long.
func (r *reader) drain(ctx context.Context) error {
	iterator, err := r.iterator(ctx, r.next)
	if err != nil {
		return err
	}
	wait := retry.New(time.Second, 10*time.Second)
	for empty, tip := 0, 0; empty < maxEmptyReads && tip < tipReads; {
		out, err := r.getRecords(ctx, iterator, 0)
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
		empty++
		if shardend.AtTip(out.MillisBehindLatest) {
			tip++
		}
		if len(records) > 0 {
			empty, tip = 0, 0
			if !r.deliver(fromsdk.Batch(records, r.next, out.MillisBehindLatest), size) {
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

// asker asks GetRecords in a way that leaves the reader where it is.
func (r *reader) asker() shardend.Asker {
	return shardend.Asker{
		ShardID:  r.shardID,
		Iterator: r.iterator,
		Records: func(ctx context.Context, iterator *string, limit int) (*kinesis.GetRecordsOutput, error) {
			wait := retry.New(time.Second, 10*time.Second)
			for tries := 1; ; tries++ {
				if err := retry.Sleep(ctx, readPace); err != nil {
					return nil, err
				}
				out, err := r.getRecords(ctx, iterator, limit)
				if !awserr.Throttled(err) || tries == maxEmptyReads { // what was drained was large
					return out, err
				}
				if err := wait.Wait(ctx); err != nil {
					return nil, err
				}
			}
		},
	}
}

func (r *reader) iterator(ctx context.Context, at kcl.Position) (*string, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	in := shardread.IteratorInput(at)
	in.StreamName, in.StreamARN, in.ShardId = aws.String(streamName(r.StreamARN)), &r.StreamARN, &r.shardID
	out, err := r.Client.GetShardIterator(ctx, in, r.asking)
	if err != nil {
		return nil, err
	}
	return out.ShardIterator, nil
}

// getRecords asks for limit records at most; 0 is as many as there are. Its
// answer may be large: askTimeout counts silence.
func (r *reader) getRecords(ctx context.Context, iterator *string, limit int) (*kinesis.GetRecordsOutput, error) {
	in := &kinesis.GetRecordsInput{StreamARN: &r.StreamARN, ShardIterator: iterator}
	if limit > 0 {
		in.Limit = aws.Int32(int32(limit))
	}
	return line.Call(ctx, askTimeout, func(ctx context.Context) (*kinesis.GetRecordsOutput, error) {
		return r.Client.GetRecords(ctx, in, r.asking)
	})
}
