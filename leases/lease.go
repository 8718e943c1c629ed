// Package leases is the seam between those who decide over leases and the tables that keep
// them. A [Lease] is one row of a lease table: which worker reads a shard, and how far the
// shard has been read. A [Store] keeps the rows: leases/dynamodb, leases/redis and
// leases/memory are stores, and leases/leasetest checks any other. A [SharedStore] also keeps
// what workers of the Java KCL 3.x share. [Assignment], [Balance] and [AssignmentStrategy]
// are the policies that a user of the scheduler can choose.
//
// The package decides nothing. The scheduler decides with internal/coordinator, which gets a
// worker its leases, and with internal/shardsync, which says which rows there must be.
//
// # Authority
//
// A write that renews, takes or gives away a lease expects the counter that its writer has
// read, and adds one to it. So one of two such writers is refused, whatever either of them
// believes the time to be. A write that asks for a lease expects the owners only, and leaves
// the counter alone. The actual owner is CheckpointOwner while a lease is handed over, and
// Owner otherwise.
package leases

import (
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
)

// Lease is one row of the lease table: who reads a shard and how far it has
// been read. It is a plain value; the slices belong to whoever holds the value
// and are not changed in place. The attributes are those of the Java KCL, so
// that both can work on one table, and some of our own, which it leaves alone.
type Lease struct {
	// Key is the shard id, or account:stream:epoch:shardId in an application
	// with several streams (leaseKey).
	Key string
	// Stream is account:stream:epoch in an application with several streams,
	// and empty otherwise (streamName).
	Stream string
	// ShardID is the shard. In an application with one stream it equals Key.
	ShardID string
	// Owner is the worker that holds the lease, or will hold it once
	// CheckpointOwner is gone; empty when nobody does (leaseOwner).
	Owner string
	// CheckpointOwner is set while the lease is handed over: it is the worker
	// that still reads the shard, and Owner the next one (checkpointOwner).
	CheckpointOwner string
	// Counter grows by one with every write of the owner (leaseCounter). A
	// lease whose counter stands still for longer than FailoverTime is expired.
	Counter int64
	// OwnerSwitchesSinceCheckpoint counts changes of owner without a checkpoint
	// in between.
	OwnerSwitchesSinceCheckpoint int64
	// Checkpoint is the last position that was processed (checkpoint and
	// checkpointSubSequenceNumber).
	Checkpoint kcl.ExtendedSequenceNumber
	// Pending is a prepared checkpoint, or zero (pendingCheckpoint and
	// pendingCheckpointSubSequenceNumber), and PendingState what the
	// application prepared with it (pendingCheckpointState).
	Pending      kcl.ExtendedSequenceNumber
	PendingState []byte
	// Parents and Children are shard ids (parentShardId, childShardIds).
	Parents  []string
	Children []string
	// HashKeyRange is zero when it is not known.
	HashKeyRange kcl.HashKeyRange
	// ThroughputKBps is what the owner measured; negative when not known.
	ThroughputKBps float64

	// NativeOwner is the worker of this library that took the lease last. When
	// it differs from the actual owner, that one is of another library, and
	// cannot be asked for a graceful hand-over.
	NativeOwner string
	// PinnedAt is the time that belongs to a Checkpoint of LATEST (the service's
	// time) or AT_TIMESTAMP (the time configured by whoever made the row): while
	// the Checkpoint stands there, readers start at this time. Zero otherwise
	// (goPinnedAt).
	PinnedAt time.Time
	// HandoverTo is the next owner for whom a worker of this library began the
	// hand-over that CheckpointOwner tells of; empty otherwise (goHandoverTo). It
	// tells a hand-over from one that is over: KCL 1.x and 2.x take a lease without
	// removing CheckpointOwner, which they do not know.
	HandoverTo string
	// StreamCreated is when the stream was created; zero on rows that another
	// library wrote (goStreamCreated).
	StreamCreated time.Time
	// Application is the application whose row this is, empty when the row does
	// not say so (goApp).
	Application string
	// StreamARN is the ARN of the stream whose shard this is, empty when the row
	// does not say so. In an application with several streams, where Stream has
	// the rest, it ends with the region (goStream).
	StreamARN string
	// Origin is where the application began to read the stream; zero on rows of
	// another library (goOrigin). No checkpoint changes it.
	Origin Origin
	// Paused says that the shard shall not be read, and why: scope, token, time,
	// who and reason; empty otherwise (goPaused).
	Paused string
	// Reset is the token of the reset that wrote the row last; empty when none
	// did (goReset).
	Reset string
	// Reached is the time up to which the shard has been read by a worker that
	// was told to stop there; zero otherwise (goReached).
	Reached time.Time
	// Abilities says what the worker that took the lease last understands, as a
	// set of bits; 0 on rows of another library or an older release (goCan).
	Abilities int64
}

// ActualOwner is the worker that reads the shard and may write the row now:
// CheckpointOwner while the lease is handed over, else Owner.
func (l Lease) ActualOwner() string {
	if l.HandingOver() {
		return l.CheckpointOwner
	}
	return l.Owner
}

// HandingOver tells whether CheckpointOwner still reads the shard, and hands it over to Owner.
//
// It is false when a worker of KCL 1.x or 2.x has taken the lease from both. Such a worker leaves
// CheckpointOwner and HandoverTo as they are. A worker of this library removes both when it takes
// a lease. So while NativeOwner is CheckpointOwner, HandoverTo belongs to the present hand-over,
// and a HandoverTo other than Owner shows that the lease was taken.
func (l Lease) HandingOver() bool {
	taken := l.NativeOwner == l.CheckpointOwner && l.HandoverTo != "" && l.HandoverTo != l.Owner
	return l.CheckpointOwner != "" && !taken
}

// Finished tells whether the shard has been processed to its end.
func (l Lease) Finished() bool { return l.Checkpoint.IsShardEnd() }

// Started tells whether the shard has been read from: the checkpoint is a
// sequence number, or SHARD_END.
func (l Lease) Started() bool {
	return l.Finished() || (!l.Checkpoint.IsZero() && !l.Checkpoint.IsSentinel())
}

// Start returns where the shard is read from: at its checkpoint, or at the time
// that belongs to LATEST or AT_TIMESTAMP. ok is false while that time is not in
// the row: nobody may read the shard before it is.
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

// Timed tells whether the checkpoint is LATEST or AT_TIMESTAMP, to which a time
// belongs: PinnedAt.
func (l Lease) Timed() bool {
	s := l.Checkpoint.SequenceNumber
	return s == kcl.SentinelLatest || s == kcl.SentinelAtTimestamp
}

// Unpinned returns l without its PinnedAt, for a caller that does not know the configured
// initial position. The Origin keeps what PinnedAt tells of the application's beginning.
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

// Moved returns l with its checkpoint set by hand, and which attributes that
// changes. at is the time that belongs to LATEST (the service's now) or
// AT_TIMESTAMP; it is ignored for other positions, which have none. Where the
// application began stays as it is.
func (l Lease) Moved(checkpoint kcl.ExtendedSequenceNumber, at time.Time) (to Lease, changed Attr) {
	to = l.Unpinned()
	to.Checkpoint = checkpoint
	if to.Timed() {
		to.PinnedAt = wholeMillis(at)
	}
	return to, AttrCheckpoint | AttrPinnedAt | AttrOrigin
}

// WaitsFor tells whether a parent is among unread, the shards that are still to be read.
// Each of them is named STREAM:SHARD, as in Stream and ShardID.
func (l Lease) WaitsFor(unread map[string]bool) bool {
	return slices.ContainsFunc(l.Parents, func(p string) bool { return p != l.ShardID && unread[l.Stream+":"+p] })
}
