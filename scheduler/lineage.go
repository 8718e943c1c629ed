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
	"github.com/aws/smithy-go/middleware"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/fromsdk"
	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

const (
	lineageAge   = 3 * time.Second // how old an answer of [lineage.Shard] may be
	listPageSize = 1000            // shards a page; larger pages may be throttled
	listAttempts = 6               // consecutive failures of a page that end a listing
	listTime     = 2 * time.Minute // for a whole listing; a page token lives for five minutes
	barrenPages  = 10              // consecutive pages without a new shard that end a listing
	// clockBackdate is how long before the service's Date LATEST is pinned. Arrival times come from
	// other hosts of the service, with other clocks.
	clockBackdate = 5 * time.Second
)

// shardList is one complete answer of ListShards.
type shardList struct {
	shards   []kcl.Shard // in the service's order
	byID     map[string]kcl.Shard
	children map[string][]kcl.ChildShard
	asked    time.Time // when the first page was requested, local clock
	pin      time.Time // the service's time at the first page, minus clockBackdate; zero if unknown
}

// lineage lists the shards of a stream for its readers and for the shard sync. At most one listing
// runs at a time. lineage tells efo whether a shard has ended. It is safe for concurrent use.
type lineage struct {
	client *kinesis.Client
	name   string
	arn    string
	opened time.Time // the service's time when the stream was opened, minus clockBackdate; zero if unknown

	mu     sync.Mutex // guards the fields below; never held during a call
	last   *shardList
	call   *listing
	failed time.Time // when the last listing failed; zero if it succeeded
	err    error     // of the last listing
}

// listing is a running listing of the shards. Other callers may wait for it.
type listing struct {
	done chan struct{} // closed when list and err are set
	list *shardList
	err  error
}

// Shard returns a shard of a list that is at most lineageAge old, and its children.
func (l *lineage) Shard(ctx context.Context, shardID string) (kcl.Shard, []kcl.ChildShard, bool, error) {
	list, err := l.get(ctx, lineageAge)
	if err != nil {
		return kcl.Shard{}, nil, false, err
	}
	shard, ok := list.byID[shardID]
	return shard, list.children[shardID], ok, nil
}

// pin returns the service's time of the last listing, or else of the opening of the stream, minus
// clockBackdate. It returns zero if the service sent no Date.
func (l *lineage) pin() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil || l.last.pin.IsZero() {
		return l.opened
	}
	return l.last.pin
}

// latestAt returns the time to pin LATEST at: the Date of the service's answer, minus
// clockBackdate. It returns zero for an answer without a Date.
func latestAt(answer middleware.Metadata) time.Time {
	at, ok := awsmiddleware.GetServerTime(answer)
	if !ok || at.IsZero() {
		return time.Time{}
	}
	return at.Add(-clockBackdate)
}

// known returns the shard of a row from the last list, or else from the row. It makes no call.
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

// parents returns the parents of a shard in the last list. It makes no call.
func (l *lineage) parents(shardID string) []string {
	return l.known(leases.Lease{ShardID: shardID}).Parents()
}

// get returns a list that is at most maxAge old. With a maxAge of 0 the listing begins after the
// call of get. With a longer maxAge, get returns the error of a listing that failed within
// lineageAge. Many callers ask often, and a failing listing can take long.
func (l *lineage) get(ctx context.Context, maxAge time.Duration) (*shardList, error) {
	asked := time.Now()
	for {
		l.mu.Lock()
		if l.last != nil && !l.last.asked.Before(asked.Add(-maxAge)) {
			list := l.last
			l.mu.Unlock()
			return list, nil
		}
		if maxAge > 0 && !l.failed.IsZero() && asked.Sub(l.failed) < lineageAge {
			err := l.err
			l.mu.Unlock()
			return nil, err
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
			switch {
			case call.err == nil:
				l.last, l.failed, l.err = call.list, time.Time{}, nil
			case !errors.Is(call.err, errCallerGone):
				l.failed, l.err = time.Now(), call.err
			}
			l.call = nil
			l.mu.Unlock()
			close(call.done)
			return call.list, call.err
		}
		select {
		case <-call.done:
			// The context of the listing's caller may have ended the listing. That is no error for this
			// caller. The list may be too old for this caller, so check it again.
			if call.err != nil && !errors.Is(call.err, context.Canceled) && !errors.Is(call.err, errCallerGone) {
				return nil, call.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// errCallerGone says that a listing ended because the context of its caller ended.
var errCallerGone = errors.New("listing was abandoned")

// errEndless says that the pages of a listing do not come to an end.
var errEndless = errors.New("the pages of ListShards do not come to an end")

// list reads all pages. A nil filter lists every shard that still has records. A page token lives
// for 300 seconds. After a token has expired, the listing begins again. Pages without an end are an
// error, and the incomplete list is dropped.
func (l *lineage) list(ctx context.Context, filter *types.ShardFilter) (*shardList, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, listTime, errEndless)
	defer cancel()
	backoff := retry.New(firstBackoff, maxBackoff/3)
	list := newShardList()
	var token *string
	barren, tokens := 0, map[string]bool{}
	for failures := 0; ; {
		in := &kinesis.ListShardsInput{NextToken: token, MaxResults: aws.Int32(listPageSize)}
		if token == nil { // a request has a token, or a stream and a filter
			in.StreamName, in.StreamARN, in.ShardFilter = &l.name, &l.arn, filter
			list, barren = newShardList(), 0
			clear(tokens)
		}
		out, err := l.page(ctx, in)
		switch {
		case err == nil:
			if barren++; list.add(out) > 0 {
				barren = 0
			}
			if token = out.NextToken; token == nil {
				return list, nil
			}
			if tokens[*token] || barren >= barrenPages {
				return nil, fmt.Errorf("list the shards of %s: %w: page %d has nothing new; tell the operator of the service",
					l.arn, errEndless, len(tokens)+1)
			}
			tokens[*token] = true
			failures = 0
			continue
		case errors.Is(context.Cause(ctx), errEndless):
			return nil, fmt.Errorf("list the shards of %s: %w: %d shards after %s: %w", l.arn, errEndless,
				len(list.shards), listTime, err)
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
		if backoff.Wait(ctx) != nil && !errors.Is(context.Cause(ctx), errEndless) {
			return nil, fmt.Errorf("%w: %w", errCallerGone, context.Cause(ctx))
		}
	}
}

func (l *lineage) page(ctx context.Context, in *kinesis.ListShardsInput) (*kinesis.ListShardsOutput, error) {
	return line.Call(ctx, callTimeout, func(ctx context.Context) (*kinesis.ListShardsOutput, error) {
		return l.client.ListShards(ctx, in)
	})
}

func newShardList() *shardList {
	return &shardList{byID: map[string]kcl.Shard{}, children: map[string][]kcl.ChildShard{}, asked: time.Now()}
}

// add appends a page, and returns the number of new shards. It ignores shards that it has already.
func (s *shardList) add(out *kinesis.ListShardsOutput) int {
	before := len(s.shards)
	if s.pin.IsZero() {
		s.pin = latestAt(out.ResultMetadata)
	}
	for _, in := range out.Shards {
		shard := fromsdk.Shard(in)
		if _, dup := s.byID[shard.ID]; dup || shard.ID == "" {
			continue
		}
		s.byID[shard.ID] = shard
		s.shards = append(s.shards, shard)
		for _, parent := range shard.Parents() {
			s.children[parent] = append(s.children[parent], childShard(shard))
		}
	}
	return len(s.shards) - before
}

// contradicts tells whether an earlier list has another starting sequence number for a shard. If
// so, one of the lists belongs to another stream of the same name.
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

// childShard returns a shard in the form in which the end of its parents lists it.
func childShard(s kcl.Shard) kcl.ChildShard {
	return kcl.ChildShard{ID: s.ID, Parents: slices.Clone(s.Parents()), HashKeyRange: s.HashKeyRange}
}
