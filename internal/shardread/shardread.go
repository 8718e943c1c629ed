// Package shardread is what the two readers of a shard, efo and polling, have in common: what they
// do about an error, how they ask ListShards for a shard, and how a position goes into a request.
// How a reader finds the end of a shard is in package shardend.
package shardread

import (
	"context"
	"time"

	awsmiddleware "github.com/aws/aws-sdk-go-v2/aws/middleware"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"
	"github.com/aws/smithy-go/middleware"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/line"
)

// Unobserved is the [kcl.ReadObserver] of a reader whose caller gives none. It does nothing.
type Unobserved struct{}

// Opened implements [kcl.ReadObserver].
func (Unobserved) Opened() {}

// Received implements [kcl.ReadObserver].
func (Unobserved) Received() {}

// Retrying implements [kcl.ReadObserver].
func (Unobserved) Retrying(error, time.Duration) {}

// Listing is what ListShards says about one shard.
type Listing struct {
	Shard    kcl.Shard
	Children []kcl.ChildShard
	Listed   bool // ListShards names the shard
}

// List asks lineage for a shard. It gives up when nothing has arrived from the service for limit.
func List(ctx context.Context, lineage kcl.Lineage, shardID string, limit time.Duration) (Listing, error) {
	return line.Call(ctx, limit, func(ctx context.Context) (l Listing, err error) {
		l.Shard, l.Children, l.Listed, err = lineage.Shard(ctx, shardID)
		return l, err
	})
}

// MayHaveEnded tells whether the shard can have been read to its end: it is closed and has
// children. endSent says that the service has already sent the end of the shard. Then ListShards
// need not name the shard any more.
func (l Listing) MayHaveEnded(endSent bool) bool {
	if len(l.Children) == 0 {
		return false
	}
	if l.Listed {
		return l.Shard.Closed()
	}
	return endSent
}

// StartingPosition is a position as SubscribeToShard takes it.
func StartingPosition(p kcl.Position) *types.StartingPosition {
	sp := &types.StartingPosition{Type: types.ShardIteratorType(p.Kind.String())}
	switch p.Kind {
	case kcl.AtSequenceNumber, kcl.AfterSequenceNumber:
		sp.SequenceNumber = &p.SequenceNumber
	case kcl.AtTimestamp:
		sp.Timestamp = &p.Timestamp
	case kcl.TrimHorizon, kcl.Latest:
	}
	return sp
}

// IteratorInput is the request for a shard iterator at a position. The caller adds the stream and
// the shard.
func IteratorInput(at kcl.Position) *kinesis.GetShardIteratorInput {
	sp := StartingPosition(at)
	return &kinesis.GetShardIteratorInput{
		ShardIteratorType: sp.Type, StartingSequenceNumber: sp.SequenceNumber, Timestamp: sp.Timestamp,
	}
}

// Anchor replaces LATEST by a time once the service has accepted LATEST: for a second request,
// LATEST would be a later place. The time is that of the answer, to the second, less one second.
// Any other position stays, and so does LATEST when the answer has no time.
func Anchor(p kcl.Position, answer middleware.Metadata) kcl.Position {
	if p.Kind != kcl.Latest {
		return p
	}
	if t, ok := awsmiddleware.GetServerTime(answer); ok && !t.IsZero() {
		return kcl.Position{Kind: kcl.AtTimestamp, Timestamp: t.Add(-time.Second)}
	}
	return p
}
