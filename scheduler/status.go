package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// Status is a snapshot of a [Scheduler] for an operator.
type Status struct {
	// Worker is the worker's id in the lease table, with its random suffix.
	Worker string
	// Phase is the phase of Run: created, starting, running, stopping or stopped.
	Phase string
	// Detail says what the start waits for, or why Run ended.
	Detail string
	// Assignment is how this worker gets its leases, and who leads the fleet.
	Assignment leases.AssignmentState
	// Streams are the streams that are read, ordered by name. After them come the known streams that
	// the application should read and cannot read yet.
	Streams []StreamStatus
}

// StreamStatus is one stream of a [Status].
type StreamStatus struct {
	// Stream names the stream as the service does, with its ARN.
	Stream kcl.StreamIdentifier
	// Mode is the configured way to read records.
	Mode RetrievalMode
	// ConsumerARN is the stream consumer of enhanced fan-out.
	ConsumerARN string
	// LastSync is when the lease table was last compared with the stream's shards without an error;
	// zero before.
	LastSync time.Time `json:",omitzero"`
	// Err says why the stream is no longer read, why it cannot be read yet, or why its last
	// synchronisation failed. It is nil otherwise.
	Err error
	// Shards are the rows of the lease table, in the order of their ids.
	Shards []ShardStatus
}

// ShardStatus is one shard of a [StreamStatus]. For a shard of another worker it has only values
// from the lease table.
type ShardStatus struct {
	// ShardID such as shardId-000000000000.
	ShardID string
	// LeaseKey is the key of the shard's row in the lease table: the shard id, or
	// account:stream:epoch:shardId when the application reads several streams.
	LeaseKey string
	// Parents are the ids of the shard's parents: none, one or two.
	Parents []string
	// Owner is the worker that owns the lease; empty without an owner.
	Owner string
	// State is the state of this worker's consumer; StateNone for shards of other workers.
	State State
	// Mode is how this worker reads the shard now. After a fallback it is Polling (POLLING) instead of
	// the configured EFO (FANOUT). For shards of other workers it is the configured mode.
	Mode RetrievalMode
	// ModeErr is the error of fan-out that caused a fallback to polling; nil without a fallback.
	ModeErr error
	// Checkpoint is the last checkpoint in the lease table.
	Checkpoint kcl.ExtendedSequenceNumber
	// Position is the position of the last record that this worker has processed.
	Position kcl.ExtendedSequenceNumber
	// CaughtUp is when the shard was last caught up, see [Scheduler.CaughtUp]. It is zero before, and
	// for shards of other workers.
	CaughtUp time.Time `json:",omitzero"`
	// LastProgress is when a batch was last processed, or when the service last said that the shard
	// has no more data. It is zero before, and for shards of other workers.
	LastProgress time.Time `json:",omitzero"`
	// Records counts the records that were processed under this lease. Each user record of an
	// aggregate counts, as in kcl_user_records_total.
	Records uint64
	// Err is the error of the operation that is being retried now; nil otherwise.
	Err error
	// Stalled names the layer that stops the progress of the shard; empty if the shard makes progress.
	Stalled Layer

	behind time.Duration
	known  bool
}

// Behind returns how far this worker is behind the tip of the shard: the MillisBehindLatest of the
// last processed batch. The value grows if no batch is processed for ten seconds. The second result
// is false if the lag is not known. It is not known before the first processed batch, after a batch
// without MillisBehindLatest, and for shards of other workers.
func (s ShardStatus) Behind() (time.Duration, bool) { return s.behind, s.known }

// Status returns a snapshot. It is cheap and makes no remote call. Any goroutine may call it.
func (s *Scheduler) Status() Status {
	out := Status{Worker: s.cfg.WorkerID}
	out.Phase, out.Detail = s.status.phase()
	streams := s.streams.all()
	if len(streams) == 0 {
		out.Streams = s.tracker.tracked.status(s.cfg.RetrievalMode)
		return out
	}
	var rows rowsByStream
	rows.group(s.coord.Leases())
	out.Assignment = s.coord.Assignment()
	consumers := s.consumers.all()
	taken := map[*stream][]*consumer{}
	for _, c := range consumers {
		taken[c.stream] = append(taken[c.stream], c)
	}
	stalled := map[string]Layer{}
	for _, st := range s.watchdog.stalls(time.Now()) {
		stalled[st.LeaseKey] = st.Layer
	}
	for _, st := range streams {
		ss := StreamStatus{Stream: st.id, Mode: s.cfg.RetrievalMode, ConsumerARN: st.consumer.arn()}
		ss.LastSync, ss.Err = st.status()
		seen := map[string]bool{}
		for _, row := range rows.rows[st.rowStream()] {
			seen[row.Key] = true
			ss.Shards = append(ss.Shards, shardStatus(row, consumers[row.Key], ss.Mode))
		}
		for _, c := range taken[st] { // leases that were taken after the last scan
			if !seen[c.key] {
				ss.Shards = append(ss.Shards, shardStatus(c.holder.Lease(), c, ss.Mode))
			}
		}
		for i := range ss.Shards {
			ss.Shards[i].Stalled = stalled[ss.Shards[i].LeaseKey]
		}
		slices.SortFunc(ss.Shards, func(a, b ShardStatus) int { return cmp.Compare(a.ShardID, b.ShardID) })
		out.Streams = append(out.Streams, ss)
	}
	slices.SortFunc(out.Streams, func(a, b StreamStatus) int {
		return cmp.Or(cmp.Compare(a.Stream.Name, b.Stream.Name), cmp.Compare(a.Stream.String(), b.Stream.String()))
	})
	out.Streams = append(out.Streams, s.tracker.tracked.status(s.cfg.RetrievalMode)...)
	return out
}

func shardStatus(row leases.Lease, c *consumer, mode RetrievalMode) ShardStatus {
	if c != nil {
		row = c.holder.Lease() // at least as new as the scan
	}
	out := ShardStatus{
		ShardID: row.ShardID, LeaseKey: row.Key, Parents: row.Parents,
		Owner: row.ActualOwner(), Mode: mode, Checkpoint: row.Checkpoint,
	}
	if c != nil {
		c.progress.fill(&out)
	}
	return out
}
