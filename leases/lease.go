// Package leases defines the leases of an application and the tables that keep them. A [Lease] is
// one row of a lease table: which worker reads a shard, and how far the shard has been read. A
// [Store] keeps the rows. leases/dynamodb, leases/redis and leases/memory are stores, and
// leases/leasetest checks any other. leases/leasefault lets a store fail in tests. A [SharedStore]
// also keeps the data that workers of the Java KCL 3.x share. [Assignment], [Balance] and
// [AssignmentStrategy] are the policies that a user of the scheduler can choose.
//
// The package makes no decisions. internal/coordinator decides which worker gets which lease.
// internal/shardsync decides which rows a table must have. The scheduler uses both.
//
// # Authority
//
// A write that renews, takes or gives away a lease expects the counter that its writer has read,
// and adds one to it. The store refuses one of two such writes, whatever time the writers believe
// it to be. A write that asks for a lease expects the owners only, and leaves the counter alone.
// The actual owner is CheckpointOwner while a lease is handed over, and Owner otherwise.
package leases

import (
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
)

// Lease is one row of the lease table: which worker reads a shard, and how far the shard has been
// read. It is a plain value. Its slices are never changed in place. The attributes are those of the
// Java KCL, so that both libraries can work on one table. The Java KCL leaves those of the
// [Extension] alone.
type Lease struct {
	// Key is the shard id. In an application with several streams it is account:stream:epoch:shardId
	// (leaseKey).
	Key string
	// Stream is account:stream:epoch in an application with several streams, and empty otherwise
	// (streamName).
	Stream string
	// ShardID is the shard. In an application with one stream it equals Key.
	ShardID string
	// Owner is the worker that holds the lease. While the lease is handed over it is the next owner.
	// It is empty when no worker holds the lease (leaseOwner).
	Owner string
	// CheckpointOwner is set while the lease is handed over: the worker that still reads the shard.
	// Owner is the next owner then (checkpointOwner).
	CheckpointOwner string
	// Counter grows by one with every write of the owner (leaseCounter). A lease is expired when its
	// counter stands still for longer than FailoverTime.
	Counter int64
	// OwnerSwitchesSinceCheckpoint counts changes of owner without a checkpoint in between.
	OwnerSwitchesSinceCheckpoint int64
	// Checkpoint is the last processed position (checkpoint and checkpointSubSequenceNumber).
	Checkpoint kcl.ExtendedSequenceNumber
	// Pending is a prepared checkpoint, or zero (pendingCheckpoint and
	// pendingCheckpointSubSequenceNumber). PendingState is the state that the application prepared
	// with it (pendingCheckpointState).
	Pending      kcl.ExtendedSequenceNumber
	PendingState []byte
	// Parents and Children are shard ids (parentShardId, childShardIds).
	Parents  []string
	Children []string
	// HashKeyRange is the range of hash keys of the shard; zero when it is not known.
	HashKeyRange kcl.HashKeyRange
	// ThroughputKBps is the throughput that the owner measured; negative when it is not known.
	ThroughputKBps float64

	// Extension is the attributes that only this library writes.
	Extension
}

// Extension is the attributes that this library adds to a lease of the Java KCL. In a table their
// names begin with go. A row that another library made lacks them. The fields are read and set as
// those of a [Lease]: l.Application. A literal of a lease names the Extension.
type Extension struct {
	// NativeOwner is the worker of this library that took the lease last. An actual owner other than
	// NativeOwner is a worker of another library, and cannot be asked for a graceful hand-over
	// (goOwner).
	NativeOwner string
	// PinnedAt is the time that belongs to a Checkpoint of LATEST or AT_TIMESTAMP, zero otherwise
	// (goPinnedAt). Readers start at this time. For LATEST it is the service's time when the row was
	// made, for AT_TIMESTAMP the time configured by the worker that made the row.
	PinnedAt time.Time
	// HandoverTo is the next owner for whom a worker of this library began the present hand-over;
	// empty otherwise (goHandoverTo). It shows that a hand-over is over: KCL 1.x and 2.x do not know
	// CheckpointOwner, and leave it set when they take a lease. See [Lease.HandingOver].
	HandoverTo string
	// StreamCreated is when the stream was created; zero on rows that another library wrote
	// (goStreamCreated).
	StreamCreated time.Time
	// Application is the name of the application that the row belongs to; empty when it is not known
	// (goApp).
	Application string
	// StreamARN is the ARN of the stream that the shard belongs to; empty when it is not known. In an
	// application with several streams it ends with the region, because Stream has the rest
	// (goStream).
	StreamARN string
	// Origin is the position where the application began to read the stream; zero on rows of another
	// library (goOrigin). No checkpoint changes it.
	Origin Origin
	// Paused says that the shard shall not be read. Its words are the scope, a token, the time, a name
	// and a reason. It is empty for a shard that shall be read (goPaused).
	Paused string
	// Reset is the token of the reset that wrote the row last; empty without one (goReset).
	Reset string
	// Reached is the time up to which a worker has read the shard that was told to stop there; zero
	// otherwise (goReached).
	Reached time.Time
	// Abilities is a set of bits: the features that the worker knows that took the lease last. It is 0
	// on rows of another library or an older release (goCan).
	Abilities int64
}

// ActualOwner is the worker that reads the shard now and may write the row: CheckpointOwner while
// the lease is handed over, else Owner.
func (l Lease) ActualOwner() string {
	if l.HandingOver() {
		return l.CheckpointOwner
	}
	return l.Owner
}

// HandingOver tells whether CheckpointOwner still reads the shard, and hands it over to Owner.
//
// It is false when a worker of KCL 1.x or 2.x has taken the lease from both. Such a worker leaves
// CheckpointOwner and HandoverTo as they are. A worker of this library removes both when it takes a
// lease. So while NativeOwner is CheckpointOwner, HandoverTo belongs to the present hand-over, and
// a HandoverTo other than Owner shows that the lease was taken.
func (l Lease) HandingOver() bool {
	taken := l.NativeOwner == l.CheckpointOwner && l.HandoverTo != "" && l.HandoverTo != l.Owner
	return l.CheckpointOwner != "" && !taken
}

// Finished tells whether the shard has been processed to its end.
func (l Lease) Finished() bool { return l.Checkpoint.IsShardEnd() }

// Started tells whether records of the shard have been processed: the checkpoint is a sequence
// number or SHARD_END.
func (l Lease) Started() bool {
	return l.Finished() || (!l.Checkpoint.IsZero() && !l.Checkpoint.IsSentinel())
}

// Start returns the position from which the shard is read: its checkpoint, or the time that belongs
// to LATEST or AT_TIMESTAMP. ok is false while the row lacks that time. Nobody may read the shard
// then.
func (l Lease) Start() (start kcl.Position, ok bool) {
	switch {
	case l.Timed() && l.PinnedAt.IsZero():
		return kcl.Position{}, false
	case l.Timed() && !l.PinnedAt.Equal(epoch):
		return kcl.Position{Kind: kcl.AtTimestamp, Timestamp: l.PinnedAt}, true
	case l.Started():
		return kcl.At(l.Checkpoint.SequenceNumber), true
	}
	return kcl.Position{Kind: kcl.TrimHorizon}, true
}

// Timed tells whether the checkpoint is LATEST or AT_TIMESTAMP, which need the time PinnedAt.
func (l Lease) Timed() bool {
	s := l.Checkpoint.SequenceNumber
	return s == kcl.SentinelLatest || s == kcl.SentinelAtTimestamp
}

// Unpinned returns l without its PinnedAt. It is for a caller that does not know the configured
// initial position. Where l has no Origin, PinnedAt becomes the Origin.
func (l Lease) Unpinned() Lease {
	if l.Origin.IsZero() && !l.PinnedAt.IsZero() {
		l.Origin = Origin{Kind: kcl.SentinelLatest, At: l.PinnedAt} // releases without origins pinned LATEST only
		if l.Timed() {
			l.Origin.Kind = l.Checkpoint.SequenceNumber
		}
	}
	l.PinnedAt = time.Time{}
	return l
}

// Moved returns l with a checkpoint that was set by hand, and the attributes that this changes. at
// is the time that belongs to LATEST (the service's present time) or AT_TIMESTAMP. It is ignored
// for other positions. The Origin stays as it is.
func (l Lease) Moved(checkpoint kcl.ExtendedSequenceNumber, at time.Time) (to Lease, changed Attr) {
	to = l.Unpinned()
	to.Checkpoint = checkpoint
	if to.Timed() {
		to.PinnedAt = at.Truncate(time.Millisecond) // as lease tables keep it
	}
	return to, AttrCheckpoint | AttrPinnedAt | AttrOrigin
}

// WaitsFor tells whether unread contains a parent of the shard. unread are the shards that are
// still to be read, each named STREAM:SHARD, as in Stream and ShardID.
func (l Lease) WaitsFor(unread map[string]bool) bool {
	return slices.ContainsFunc(l.Parents, func(p string) bool { return p != l.ShardID && unread[l.Stream+":"+p] })
}
