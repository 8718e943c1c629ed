package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

const (
	lineageAge    = 3 * time.Second // how old an answer of [lineage.Shard] may be
	listPageSize  = 1000            // what one call of ListShards may return without throttling anyone
	listAttempts  = 6               // before a listing that is throttled or broken is given up, to be asked for again
	clockBackdate = time.Second     // the service's Date has whole seconds: LATEST is pinned this much before it
)

// shardList is one complete answer of ListShards.
type shardList struct {
	shards   []kcl.Shard // in the service's order
	byID     map[string]kcl.Shard
	children map[string][]kcl.ChildShard
	asked    time.Time // when the first page was asked for, local clock
	pin      time.Time // the service's time at the first page, less clockBackdate; zero when it did not say
}

// lineage is the one view of a stream's shards that its readers and the shard
// sync share: at most one listing is under way at a time. It answers efo's
// question about the end of a shard. It is safe for concurrent use.
type lineage struct {
	client *kinesis.Client
	arn    string

	mu   sync.Mutex // guards the fields below; never held during a call
	last *shardList
	call *listing
}

// listing is a call of ListShards under way, which others may wait for.
type listing struct {
	done chan struct{} // closed when list and err are set
	list *shardList
	err  error
}

// Shard returns what ListShards says about a shard, at most a few seconds old,
// and the children that name it as a parent.
func (l *lineage) Shard(ctx context.Context, shardID string) (kcl.Shard, []kcl.ChildShard, bool, error) {
	list, err := l.get(ctx, lineageAge)
	if err != nil {
		return kcl.Shard{}, nil, false, err
	}
	shard, ok := list.byID[shardID]
	return shard, list.children[shardID], ok, nil
}

// pin returns the service's time of the last listing, less clockBackdate; zero
// when there is none, or it did not say.
func (l *lineage) pin() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil {
		return time.Time{}
	}
	return l.last.pin
}

// known returns what is known of a row's shard without asking anybody.
func (l *lineage) known(row leases.Lease) kcl.Shard {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last != nil {
		if shard, ok := l.last.byID[row.ShardID]; ok {
			return shard
		}
	}
	shard := kcl.Shard{ID: row.ShardID, HashKeyRange: row.HashKeyRange}
	if len(row.Parents) > 0 {
		shard.ParentID = row.Parents[0]
	}
	if len(row.Parents) > 1 {
		shard.AdjacentParentID = row.Parents[1]
	}
	return shard
}

// get returns a list that is at most maxAge old. A maxAge of 0 asks for one
// that was begun after the call.
func (l *lineage) get(ctx context.Context, maxAge time.Duration) (*shardList, error) {
	asked := time.Now()
	for {
		l.mu.Lock()
		if l.last != nil && !l.last.asked.Before(asked.Add(-maxAge)) {
			list := l.last
			l.mu.Unlock()
			return list, nil
		}
		call, mine := l.call, false
		if call == nil {
			call, mine = &listing{done: make(chan struct{})}, true
			l.call = call
		}
		l.mu.Unlock()

		if mine {
			call.list, call.err = l.list(ctx, nil)
			l.mu.Lock()
			if call.err == nil {
				l.last = call.list
			}
			l.call = nil
			l.mu.Unlock()
			close(call.done)
			return call.list, call.err
		}
		select {
		case <-call.done:
			// Its caller's context may be what ended it: the error is not ours.
			// Its list may have been begun before we asked: look again.
			if call.err != nil && !errors.Is(call.err, context.Canceled) && !errors.Is(call.err, errCallerGone) {
				return nil, call.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// errCallerGone says that a listing ended because the context of the one who
// had asked for it did.
var errCallerGone = errors.New("listing was abandoned")

// list reads all pages; a nil filter asks for every shard that has records
// left. A page token lives for 300 seconds; when it has expired the listing
// begins again.
func (l *lineage) list(ctx context.Context, filter *types.ShardFilter) (*shardList, error) {
	backoff := retry.New(firstBackoff, maxBackoff/3)
	list := newShardList()
	var token *string
	for failures := 0; ; {
		in := &kinesis.ListShardsInput{NextToken: token, MaxResults: aws.Int32(listPageSize)}
		if token == nil { // a token stands for stream and filter, and excludes them
			in.StreamARN, in.ShardFilter = &l.arn, filter
			list = newShardList()
		}
		out, err := l.page(ctx, in)
		switch {
		case err == nil:
			list.add(out)
			if token = out.NextToken; token == nil {
				return list, nil
			}
			failures = 0
			continue
		case ctx.Err() != nil:
			return nil, fmt.Errorf("%w: %w", errCallerGone, context.Cause(ctx))
		case awserr.Is(err, "ResourceNotFoundException"):
			return nil, fmt.Errorf("%w: list the shards of %s: %w", kcl.ErrStreamNotFound, l.arn, err)
		case awserr.Is(err, "ExpiredNextTokenException"), token != nil && awserr.Is(err, "InvalidArgumentException"):
			token = nil
		case retryable(err) == giveUp:
			return nil, awserr.Explain(err, "kinesis:ListShards", l.arn)
		}
		if failures++; failures >= listAttempts {
			return nil, awserr.Explain(err, "kinesis:ListShards", l.arn)
		}
		if err := backoff.Wait(ctx); err != nil {
			return nil, fmt.Errorf("%w: %w", errCallerGone, err)
		}
	}
}

func (l *lineage) page(ctx context.Context, in *kinesis.ListShardsInput) (*kinesis.ListShardsOutput, error) {
	return line.Call(ctx, callTimeout, func(ctx context.Context) (*kinesis.ListShardsOutput, error) {
		return l.client.ListShards(ctx, in)
	})
}

func newShardList() *shardList {
	return &shardList{
		byID:     map[string]kcl.Shard{},
		children: map[string][]kcl.ChildShard{},
		asked:    time.Now(),
	}
}

// add takes in one page. A shard that is listed twice counts once.
func (s *shardList) add(out *kinesis.ListShardsOutput) {
	if s.pin.IsZero() {
		if at, ok := awsmiddleware.GetServerTime(out.ResultMetadata); ok && !at.IsZero() {
			s.pin = at.Add(-clockBackdate)
		}
	}
	for _, in := range out.Shards {
		shard := convertShard(in)
		if _, dup := s.byID[shard.ID]; dup || shard.ID == "" {
			continue
		}
		s.byID[shard.ID] = shard
		s.shards = append(s.shards, shard)
		for _, parent := range shard.Parents() {
			s.children[parent] = append(s.children[parent], childShard(shard))
		}
	}
}

// contradicts tells whether a shard began elsewhere according to an earlier
// list: then one of the lists is of another stream of the same name.
func (s *shardList) contradicts(earlier *shardList) bool {
	if earlier == nil {
		return false
	}
	for id, shard := range s.byID {
		if old, ok := earlier.byID[id]; ok && old.StartingSequenceNumber != shard.StartingSequenceNumber {
			return true
		}
	}
	return false
}

// childShard says of a shard what its parents' end would say.
func childShard(s kcl.Shard) kcl.ChildShard {
	return kcl.ChildShard{ID: s.ID, Parents: slices.Clone(s.Parents()), HashKeyRange: s.HashKeyRange}
}

func convertShard(in types.Shard) kcl.Shard {
	out := kcl.Shard{
		ID:               aws.ToString(in.ShardId),
		ParentID:         aws.ToString(in.ParentShardId),
		AdjacentParentID: aws.ToString(in.AdjacentParentShardId),
	}
	if r := in.HashKeyRange; r != nil {
		out.HashKeyRange = kcl.HashKeyRange{Start: aws.ToString(r.StartingHashKey), End: aws.ToString(r.EndingHashKey)}
	}
	if r := in.SequenceNumberRange; r != nil {
		out.StartingSequenceNumber = aws.ToString(r.StartingSequenceNumber)
		out.EndingSequenceNumber = aws.ToString(r.EndingSequenceNumber)
	}
	return out
}
