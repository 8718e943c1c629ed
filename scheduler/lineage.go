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
	listPageSize = 1000            // what one call of ListShards may return without throttling anyone
	listAttempts = 6               // before a listing that is throttled or broken is given up, to be asked for again
	listTime     = 2 * time.Minute // for a whole listing: a page token lives for five
	barrenPages  = 10              // pages in a row without a new shard
	// LATEST is pinned this much before the service's Date: other hosts, with other clocks, say when
	// records arrive
	clockBackdate = 5 * time.Second
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
	name   string
	arn    string
	opened time.Time // the service's time when the stream was opened, less clockBackdate; zero when it did not say

	mu     sync.Mutex // guards the fields below; never held during a call
	last   *shardList
	call   *listing
	failed time.Time // when the last listing failed; zero when it did not
	why    error
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

// pin returns the service's time of the last listing, or of the opening of the
// stream, less clockBackdate; zero when the service said none.
func (l *lineage) pin() time.Time {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.last == nil || l.last.pin.IsZero() {
		return l.opened
	}
	return l.last.pin
}

// latestAt is the time that LATEST stands for, when the service has just sent an
// answer: its Date, less clockBackdate; zero when it has none.
func latestAt(answer middleware.Metadata) time.Time {
	at, ok := awsmiddleware.GetServerTime(answer)
	if !ok || at.IsZero() {
		return time.Time{}
	}
	return at.Add(-clockBackdate)
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

// parents returns the parents of a shard, as far as that is known without asking anybody.
func (l *lineage) parents(shardID string) []string {
	return l.known(leases.Lease{ShardID: shardID}).Parents()
}

// get returns a list that is at most maxAge old. A maxAge of 0 asks for one
// that was begun after the call. Anybody else gets the error of a listing that has
// just failed: many ask, again and again, and a failed listing can be a long one.
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
			err := l.why
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
				l.last, l.failed, l.why = call.list, time.Time{}, nil
			case !errors.Is(call.err, errCallerGone):
				l.failed, l.why = time.Now(), call.err
			}
			l.call = nil
			l.mu.Unlock()
			close(call.done)
			return call.list, call.err
		}
		select {
		case <-call.done:
			// Its caller's context may be what ended it: the error is not ours.
			// Its list may be older than this question: check again.
			if call.err != nil && !errors.Is(call.err, context.Canceled) && !errors.Is(call.err, errCallerGone) {
				return nil, call.err
			}
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// errCallerGone says that a listing ended because the context of the one who had asked for it did.
var errCallerGone = errors.New("listing was abandoned")

// errEndless says that the pages of a listing do not come to an end.
var errEndless = errors.New("the pages of ListShards do not come to an end")

// list reads all pages; a nil filter asks for every shard that has records left. A page token lives
// for 300 seconds; when it has expired the listing begins again. Pages that do not come to an end
// are an error, and what was listed until then is thrown away: it is not the whole list.
func (l *lineage) list(ctx context.Context, filter *types.ShardFilter) (*shardList, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, listTime, errEndless)
	defer cancel()
	backoff := retry.New(firstBackoff, maxBackoff/3)
	list := newShardList()
	var token *string
	barren, tokens := 0, map[string]bool{}
	for failures := 0; ; {
		in := &kinesis.ListShardsInput{NextToken: token, MaxResults: aws.Int32(listPageSize)}
		if token == nil { // a token stands for stream and filter, and excludes them
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
				return nil, fmt.Errorf("list the shards of %s: %w: page %d brings nothing new; tell those who run the service",
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
	return &shardList{
		byID:     map[string]kcl.Shard{},
		children: map[string][]kcl.ChildShard{},
		asked:    time.Now(),
	}
}

// add appends a page, and returns how many shards are new. A shard that is listed twice
// counts once.
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
