package scheduler

import (
	"cmp"
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// Status is what a [Scheduler] is doing, for an operator.
type Status struct {
	// Worker is the worker's id in the lease table, its random suffix included.
	Worker string
	// Phase is where Run stands: created, starting, running, stopping or stopped.
	Phase string
	// Detail says what a start waits for, or why Run ended.
	Detail string
	// Assignment is how this worker gets its leases, and who leads the fleet.
	Assignment leases.AssignmentState
	// Streams that are read, ordered by name, and after them those that shall be
	// and cannot be yet, as far as they are known.
	Streams []StreamStatus
}

// StreamStatus is one stream of a [Status].
type StreamStatus struct {
	// Stream as the service knows it, with its ARN.
	Stream kcl.StreamIdentifier
	// Mode is the configured way to read records.
	Mode RetrievalMode
	// ConsumerARN is the stream consumer of enhanced fan-out.
	ConsumerARN string
	// LastSync is when the lease table was last compared with the stream's shards without an error.
	LastSync time.Time `json:",omitzero"`
	// Err says why the stream is not read any more or cannot be yet, or why its
	// last synchronisation failed; nil otherwise.
	Err error
	// Shards are the rows of the lease table, in the order of their ids.
	Shards []ShardStatus
}

// ShardStatus is one shard of a [StreamStatus]. Shards of other workers have
// only what the lease table says.
type ShardStatus struct {
	// ShardID such as shardId-000000000000.
	ShardID string
	// LeaseKey is the key of the shard's row in the lease table: the shard id, or
	// account:stream:epoch:shardId when the application reads several streams.
	LeaseKey string
	// Parents are the ids of the shards that this one continues: none, one or two.
	Parents []string
	// Owner is the worker that reads the shard; empty when nobody does.
	Owner string
	// State of this worker's consumer; StateNone for shards of others.
	State State
	// Mode is how this worker reads the shard now: Polling (POLLING) instead of the configured EFO
	// (FANOUT) after a fallback. The configured one for shards of others.
	Mode RetrievalMode
	// ModeErr is what made the shard fall back to polling; nil unless it has.
	ModeErr error
	// Checkpoint is the last one in the lease table.
	Checkpoint kcl.ExtendedSequenceNumber
	// Position is that of the last record that this worker has processed.
	Position kcl.ExtendedSequenceNumber
	// CaughtUp is when the shard was last found to be caught up, see
	// [Scheduler.CaughtUp]; zero before, and for shards of others.
	CaughtUp time.Time `json:",omitzero"`
	// LastProgress is when a batch was last processed, or the shard was last
	// seen to have no more data; zero before, and for shards of others.
	LastProgress time.Time `json:",omitzero"`
	// Records counts those processed under this lease: each user record of an
	// aggregate, as kcl_user_records_total does.
	Records uint64
	// Err is what is being retried now; nil when nothing is.
	Err error
	// Stalled names the layer that is stuck when the shard makes no progress.
	Stalled Layer

	behind time.Duration
	known  bool
}

// Behind is how far this worker is behind the tip of the shard: the
// MillisBehindLatest of the last batch that was processed. It grows when no batch is
// processed for ten seconds. It is not known, and the answer false, before the first
// batch was processed, after one that did not say it, and for shards of other workers.
func (s ShardStatus) Behind() (time.Duration, bool) { return s.behind, s.known }

// Status returns a snapshot. It is cheap, calls nothing remote, and may be
// called at any time, from any goroutine.
func (s *Scheduler) Status() Status {
	out := Status{Worker: s.cfg.WorkerID}
	out.Phase, out.Detail = s.status.phase()
	streams := s.streams.all()
	if len(streams) == 0 {
		out.Streams = s.tracker.tracked.status(s.cfg.RetrievalMode)
		return out
	}
	var rows rowsByStream
	rows.sort(s.coord.Leases())
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
		for _, row := range rows.rows[st.inRows()] {
			seen[row.Key] = true
			ss.Shards = append(ss.Shards, shardStatus(row, consumers[row.Key], ss.Mode))
		}
		for _, c := range taken[st] { // since the last scan
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
		row = c.holder.Lease() // never behind the scan
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
