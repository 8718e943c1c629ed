package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// errRowsVanished says that all rows of a stream were deleted while the application runs. The
// stream is then not read again from the initial position.
var errRowsVanished = errors.New("the rows of the stream have vanished from the lease table")

// errRowsMissing says that a row has just vanished, and that the shard sync waits before it makes
// the row again.
var errRowsMissing = errors.New("a row has just vanished from the lease table, its former owner may make it again")

// rowMemory remembers the rows of the streams that this process has seen. An absent row was deleted
// if the memory has it. Otherwise the row was never made. It is safe for concurrent use.
type rowMemory struct {
	table      *rowTable
	streams    *streamSet
	coord      *coordinator.Coordinator
	holderTime time.Duration // how long a worker may hold the lease of a row that vanished
	// byStream says that a stream that comes back counts as a new one. It is set if FormerStreams may
	// have deleted the stream's rows.
	byStream bool

	mu    sync.Mutex           // guards the fields below
	known map[any]bool         // streams whose rows were seen, see key
	rows  map[string]time.Time // when a row was last seen in the table, by lease key
}

func newRowMemory(cfg Config, table *rowTable, streams *streamSet, coord *coordinator.Coordinator) *rowMemory {
	return &rowMemory{
		table: table, streams: streams, coord: coord, byStream: cfg.FormerStreams.Deletion != NoDeletion,
		holderTime: 2 * cfg.FailoverTime, // also longer than the lag of a listing
		known:      map[any]bool{}, rows: map[string]time.Time{},
	}
}

// key returns the key of a stream in known.
func (m *rowMemory) key(st *stream) any {
	if m.byStream {
		return st
	}
	return st.label
}

// observe remembers rows that are in the table now.
func (m *rowMemory) observe(now time.Time, rows []leases.Lease) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, row := range rows {
		if st := m.streams.ofRow(row); st != nil {
			m.known[m.key(st)] = true
			m.rows[row.Key] = now
		}
	}
	for key, at := range m.rows {
		if now.Sub(at) > time.Hour {
			delete(m.rows, key)
		}
	}
}

// add remembers that a stream has rows.
func (m *rowMemory) add(st *stream) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.known[m.key(st)] = true
}

// has tells whether this process has seen rows of a stream.
func (m *rowMemory) has(st *stream) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.known[m.key(st)]
}

// list lists the rows for a synchronisation of streams. A listing may lag, so list makes a
// consistent one before it reports a stream without rows.
func (m *rowMemory) list(ctx context.Context, streams ...*stream) (leases.Listing, error) {
	if slices.ContainsFunc(streams, func(st *stream) bool { return !m.has(st) }) {
		return m.table.listNow(ctx)
	}
	listing, err := m.table.list(ctx)
	if err == nil && slices.ContainsFunc(streams, func(st *stream) bool { return !st.hasRows(listing.Leases) }) {
		return m.table.listNow(ctx)
	}
	return listing, err
}

// checkVanished returns an error if rows has no row of a stream and this process has seen one. rows
// must come from list. A stream without a seen row is new to the application.
func (m *rowMemory) checkVanished(st *stream, rows []leases.Lease) error {
	switch {
	case st.hasRows(rows):
		m.add(st)
	case m.has(st):
		return fmt.Errorf("%w: stream %s: workers make the rows of leases that they hold; restore the other rows (`kclctl "+
			"leases restore`), or restart all workers to begin at the initial position", errRowsVanished, st.label)
	}
	return nil
}

// planMissing plans the rows that a stream lacks, from shards. For lacks see PlanComplete.
func (m *rowMemory) planMissing(
	ctx context.Context, st *stream, list *shardList, rows []leases.Lease, opt shardsync.Options,
) (plan []leases.Lease, shards []kcl.Shard, lacks string, err error) {
	if err := m.checkVanished(st, rows); err != nil {
		return nil, nil, "", err
	}
	if plan, shards, err = st.planFirst(ctx, list, rows); plan == nil && err == nil {
		shards = list.shards
		plan, lacks = shardsync.PlanComplete(shards, rows, st.cfg.InitialPosition, opt)
	}
	if err != nil {
		return nil, nil, "", err
	}
	for _, row := range plan {
		if row.Checkpoint.SequenceNumber == kcl.SentinelLatest && row.PinnedAt.IsZero() {
			return nil, nil, "", st.errNoPin()
		}
	}
	return plan, shards, lacks, nil
}

// holdBack removes rows from a plan that must not be made now. If a row has just vanished, the
// holder of its lease knows the checkpoint and makes the row. If a row is deleted again and again,
// a person must decide. The error says that a later synchronisation must make some rows.
func (m *rowMemory) holdBack(plan []leases.Lease) ([]leases.Lease, error) {
	abandoned := map[string]bool{}
	for _, e := range m.coord.Vanished() {
		abandoned[e.Held.Key] = true
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	var err error
	plan = slices.DeleteFunc(slices.Clone(plan), func(l leases.Lease) bool {
		if at, ok := m.rows[l.Key]; ok && time.Since(at) < m.holderTime {
			err = fmt.Errorf("%w: %s", errRowsMissing, l.Key)
			return true
		}
		return abandoned[l.Key]
	})
	return plan, err
}

// stalls lists the shards whose rows vanished while this worker held them.
func (m *rowMemory) stalls() []*StallError {
	var out []*StallError
	for _, e := range m.coord.Vanished() {
		if st := m.streams.ofRow(e.Held); st != nil && st.err() == nil {
			out = append(out, &StallError{
				Stream: st.id, ShardID: e.Held.ShardID, LeaseKey: e.Held.Key, Layer: LayerLease, Since: e.Since, Err: e,
			})
		}
	}
	return out
}
