// Package shardread has the common parts of both readers of a shard, efo and polling. It classifies
// errors, asks ListShards for a shard, and writes positions into requests. Package shardend finds
// the end of a shard.
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

// Unobserved is the [kcl.ReadObserver] of a reader without a configured observer. It does nothing.
type Unobserved struct{}

// Opened implements [kcl.ReadObserver].
func (Unobserved) Opened() {}

// Received implements [kcl.ReadObserver].
func (Unobserved) Received() {}

// Retrying implements [kcl.ReadObserver].
func (Unobserved) Retrying(error, time.Duration) {}

// Listing is the answer of ListShards about one shard.
type Listing struct {
	Shard    kcl.Shard
	Children []kcl.ChildShard
	Listed   bool // ListShards names the shard
}

// List asks lineage for a shard. It returns an error if no byte arrives from the service for limit.
func List(ctx context.Context, lineage kcl.Lineage, shardID string, limit time.Duration) (Listing, error) {
	return line.Call(ctx, limit, func(ctx context.Context) (l Listing, err error) {
		l.Shard, l.Children, l.Listed, err = lineage.Shard(ctx, shardID)
		return l, err
	})
}

// MayHaveEnded tells whether the reader can have reached the end of the shard: the shard is closed
// and has children. endSent says that the service has sent the end of the shard. Then ListShards
// may omit the shard.
func (l Listing) MayHaveEnded(endSent bool) bool {
	if len(l.Children) == 0 {
		return false
	}
	if l.Listed {
		return l.Shard.Closed()
	}
	return endSent
}

// StartingPosition returns a position in the form of SubscribeToShard.
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

// IteratorInput returns the request for a shard iterator at a position. The caller adds the stream
// and the shard.
func IteratorInput(at kcl.Position) *kinesis.GetShardIteratorInput {
	sp := StartingPosition(at)
	return &kinesis.GetShardIteratorInput{
		ShardIteratorType: sp.Type, StartingSequenceNumber: sp.SequenceNumber, Timestamp: sp.Timestamp,
	}
}

// Anchor replaces LATEST by a time, after the service has accepted LATEST. In a second request,
// LATEST would be a later position. The time is one second before the answer's time, which is in
// whole seconds. Anchor returns other positions unchanged, and also LATEST if the answer has no
// time.
func Anchor(p kcl.Position, answer middleware.Metadata) kcl.Position {
	if p.Kind != kcl.Latest {
		return p
	}
	if t, ok := awsmiddleware.GetServerTime(answer); ok && !t.IsZero() {
		return kcl.Position{Kind: kcl.AtTimestamp, Timestamp: t.Add(-time.Second)}
	}
	return p
}
