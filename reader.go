package kcl

import (
	"context"
	"time"
)

// Lineage knows the shards of one stream, as ListShards names them. All readers of the stream
// share one Lineage, which keeps the list for a few seconds.
type Lineage interface {
	// Shard returns the shard and the children that name the shard as a parent. The answer is at
	// most a few seconds old. ok is false when ListShards does not name the shard.
	Shard(ctx context.Context, shardID string) (shard Shard, children []ChildShard, ok bool, err error)
}

// ReadObserver hears how the reading of one shard goes, for status and health. Its methods are
// called on the goroutine that runs the loop over Batches, and must return at once.
type ReadObserver interface {
	// Opened is called when a subscription was accepted or a shard iterator was obtained.
	Opened()
	// Received is called when an event or an answer of GetRecords has arrived, also one without
	// records. Package efo calls it also while a large event is arriving.
	Received()
	// Retrying is called when reading failed. The reader tries again after wait.
	Retrying(err error, wait time.Duration)
}
