package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/kinesis-go/kcl/internal/chance"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

const (
	cleanupInterval = time.Minute // plus or minus a fifth (leaseCleanupIntervalMillis in the KCL)
	maxRemovals     = 500         // deletions of one stream in one round
)

// janitor deletes the rows of finished and expired shards, and finds hash keys without a row. Every
// worker has a janitor, and several may act at the same time. It belongs to the goroutine of loop.
type janitor struct {
	streams *streamSet
	control *controlPlane
	table   *rowTable
	seen    *rowMemory
	syncer  *syncer
	coord   *coordinator.Coordinator
	metrics *metrics.Metrics
	log     *slog.Logger
	memory  map[*stream]*cleanupMemory // has the streams that are read
}

// cleanupMemory has the janitor's findings about a stream from earlier rounds.
type cleanupMemory struct {
	history shardsync.CleanupHistory
	holes   shardsync.HoleWatch
}

// loop cleans up all streams each cleanupInterval. It ends with ctx.
func (j *janitor) loop(ctx context.Context) {
	for retry.Sleep(ctx, cleanupInterval-cleanupInterval/5+chance.N(2*cleanupInterval/5+1, "clean up")) == nil {
		streams := j.streams.all()
		maps.DeleteFunc(j.memory, func(st *stream, _ *cleanupMemory) bool { return !slices.Contains(streams, st) })
		rows := &rowsByStream{coord: j.coord}
		for _, st := range streams {
			if st.err() != nil {
				continue
			}
			if j.memory[st] == nil {
				j.memory[st] = &cleanupMemory{}
			}
			if err := j.cleanUp(ctx, st, rows); err != nil && ctx.Err() == nil {
				j.log.WarnContext(ctx, "clean up leases failed, trying again", "stream", st.label, "err", err)
			}
		}
	}
}

// rowsAge is the maximal age of sorted rows.
const rowsAge = 2 * time.Second

// rowsByStream has the rows of the last scan, grouped by stream. With many streams, one pass over
// all rows for each stream would take too long.
type rowsByStream struct {
	coord *coordinator.Coordinator
	at    time.Time // when the rows were grouped
	rows  map[string][]leases.Lease
}

// rowsOf returns the rows of a stream, sorted by key. The caller must not change them.
func (r *rowsByStream) rowsOf(st *stream) []leases.Lease {
	if r.rows == nil || time.Since(r.at) > rowsAge {
		r.group(r.coord.Leases())
	}
	return r.rows[st.rowStream()]
}

// group replaces the rows.
func (r *rowsByStream) group(rows []leases.Lease) {
	r.at, r.rows = time.Now(), map[string][]leases.Lease{}
	for _, row := range rows {
		r.rows[row.Stream] = append(r.rows[row.Stream], row)
	}
}

// cleanUp audits and cleans up one stream. It uses the rows of the last scan. After an outage of
// the table they may be old, so every deletion is conditional.
func (j *janitor) cleanUp(ctx context.Context, st *stream, all *rowsByStream) error {
	list, err := st.lineage.get(ctx, cleanupInterval)
	if err != nil || st.err() != nil {
		return err
	}
	rows := all.rowsOf(st)
	foreign := func(row leases.Lease) bool {
		return !st.sameCreation(row.StreamCreated) || st.marks.Check(row) != nil
	}
	if slices.ContainsFunc(rows, foreign) { // the shard sync reports it
		return nil
	}
	opt, memory := st.syncOptions(list), j.memory[st]
	if err := j.audit(ctx, st, rows, list, opt); err != nil {
		return err
	}
	var removals []shardsync.Removal
	removals, memory.history = shardsync.PlanCleanup(shardsync.Survey{
		At: time.Now(), ListedAt: list.asked, Shards: list.shards, Rows: rows,
		Initial: st.cfg.InitialPosition, Options: opt,
	}, memory.history)
	return j.remove(ctx, st, removals[:min(len(removals), maxRemovals)])
}

// audit finds hash keys without a row, and makes rows for them. It also requests a synchronisation.
// The shard sync alone does not suffice: it takes some missing rows for those of finished shards.
func (j *janitor) audit(
	ctx context.Context, st *stream, rows []leases.Lease, list *shardList, opt shardsync.Options,
) error {
	coverage := shardsync.Audit(rows, list.shards)
	if len(coverage.Unknown) > 0 {
		return nil
	}
	holes, repair := j.memory[st].holes.Observe(time.Now(), coverage)
	st.metrics.SetHashRangeHoles(len(holes))
	if len(rows) == 0 {
		j.syncer.request(st)
	}
	if !repair {
		return nil
	}
	for _, h := range holes {
		j.log.ErrorContext(ctx, "no lease covers a range of hash keys, synchronising the shards", "stream", st.label,
			"range_start", h.Start, "range_end", h.End, "after", h.After, "before", h.Before)
	}
	repairs, later := j.seen.holdBack(shardsync.PlanRepair(holes, rows, list.shards, opt))
	for _, row := range repairs {
		if _, err := j.table.create(ctx, row); err != nil {
			return err
		}
	}
	j.syncer.request(st)
	return later
}

// remove deletes rows until an error.
func (j *janitor) remove(ctx context.Context, st *stream, removals []shardsync.Removal) error {
	sameStream := false // the service has confirmed that the rows were made for this stream
	for _, r := range removals {
		if r.Gone && !sameStream {
			if err := j.control.checkSameStream(ctx, st); err != nil {
				return err
			}
			sameStream = true
		}
		needed, err := j.needed(ctx, st, r)
		if err != nil {
			return err
		}
		if needed {
			continue
		}
		err = j.table.Delete(ctx, r.Lease, shardsync.RemovalExpects)
		if _, ok := errors.AsType[*leases.ConflictError](err); ok {
			continue // another worker has just changed the row
		}
		if err != nil {
			j.metrics.LeaseStoreError("delete")
			return fmt.Errorf("delete lease %s: %w", r.Lease.Key, err)
		}
		log := j.log.With("stream", st.label, "shard", r.Lease.ShardID)
		if r.Lease.Finished() {
			log.InfoContext(ctx, "lease of a finished shard deleted", "expired", r.Gone)
		} else {
			log.WarnContext(ctx,
				"shard has left the retention period, its unread records are lost; lease without an owner deleted",
				"checkpoint", r.Lease.Checkpoint, "range_start", r.Lease.HashKeyRange.Start, "range_end", r.Lease.HashKeyRange.End)
		}
	}
	return nil
}

// needed tells whether a row must stay. It asks the service about an expired shard, and the table
// about the children of a finished shard.
func (j *janitor) needed(ctx context.Context, st *stream, r shardsync.Removal) (bool, error) {
	if r.Gone {
		gone, err := j.control.shardGone(ctx, st, r.Lease.ShardID)
		return !gone, err
	}
	for _, key := range r.Children {
		child, err := j.table.Get(ctx, key)
		missing := errors.Is(err, leases.ErrNotFound)
		if err != nil && !missing {
			return true, fmt.Errorf("read lease %s: %w", key, err)
		}
		if shardsync.HoldsParent(!missing, child) {
			return true, nil
		}
	}
	return false, nil
}
