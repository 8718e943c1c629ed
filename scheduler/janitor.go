package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

const (
	cleanupInterval = time.Minute // give or take a fifth (leaseCleanupIntervalMillis in the KCL)
	maxRemovals     = 500         // of one round; the rest waits for the next one
)

// untouched is the attributes that say whose a row is, and those of which every write
// of a worker that reads the shard changes one.
const untouched = leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrCounter |
	leases.AttrCheckpoint | leases.AttrChildren | leases.AttrApplication | leases.AttrStreamARN

// janitor deletes rows that nobody needs any more, and finds hash keys that nobody
// reads. Every worker has one; several that act at the same time do no harm. It belongs
// to the goroutine of loop.
type janitor struct {
	streams *streamSet
	control *controlPlane
	table   *rowTable
	seen    *rowMemory
	syncer  *syncer
	coord   *coordinator.Coordinator
	metrics *metrics.Metrics
	log     *slog.Logger
	memory  map[*stream]*cleanupMemory // of the streams that are read
}

// cleanupMemory is what the janitor knows of a stream from earlier rounds.
type cleanupMemory struct {
	history shardsync.CleanupHistory
	holes   shardsync.HoleWatch
}

// loop cleans up all streams, each cleanupInterval. It ends with ctx.
func (j *janitor) loop(ctx context.Context) {
	for retry.Sleep(ctx, cleanupInterval-cleanupInterval/5+rand.N(2*cleanupInterval/5+1)) == nil {
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
				j.log.WarnContext(ctx, "leases cannot be looked after, trying again", "stream", st.label, "err", err)
			}
		}
	}
}

// rowsAge is how old sorted rows may be.
const rowsAge = 2 * time.Second

// rowsByStream is the rows of the last scan, sorted by stream. With many streams, one
// pass over all rows for each stream would take too long.
type rowsByStream struct {
	coord *coordinator.Coordinator
	at    time.Time
	rows  map[string][]leases.Lease
}

// of returns the rows of a stream, sorted by key. Nobody may change them.
func (r *rowsByStream) of(st *stream) []leases.Lease {
	if r.rows == nil || time.Since(r.at) > rowsAge {
		r.sort(r.coord.Leases())
	}
	return r.rows[st.inRows()]
}

// sort replaces the rows.
func (r *rowsByStream) sort(rows []leases.Lease) {
	r.at, r.rows = time.Now(), map[string][]leases.Lease{}
	for _, row := range rows {
		r.rows[row.Stream] = append(r.rows[row.Stream], row)
	}
}

// cleanUp works with the rows of the last scan. They are seconds old, or as old as an
// outage of the table: every deletion is conditional.
func (j *janitor) cleanUp(ctx context.Context, st *stream, all *rowsByStream) error {
	list, err := st.lineage.get(ctx, cleanupInterval)
	if err != nil || st.err() != nil {
		return err
	}
	rows := all.of(st)
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

// audit finds hash keys that nobody reads. The shard sync makes rows for them, except
// for shards that it takes for finished.
func (j *janitor) audit(
	ctx context.Context, st *stream, rows []leases.Lease, list *shardList, opt shardsync.Options,
) error {
	coverage := shardsync.Audit(rows, list.shards)
	if len(coverage.Unknown) > 0 {
		return nil
	}
	holes, repair := j.memory[st].holes.Note(time.Now(), coverage)
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

// remove deletes rows, until something goes wrong.
func (j *janitor) remove(ctx context.Context, st *stream, removals []shardsync.Removal) error {
	same := false // this round has found the stream to be the one that the rows were made for
	for _, r := range removals {
		if r.Gone && !same {
			if err := j.control.checkSameStream(ctx, st); err != nil {
				return err
			}
			same = true
		}
		needed, err := j.needed(ctx, st, r)
		if err != nil {
			return err
		}
		if needed {
			continue
		}
		err = j.table.Delete(ctx, r.Lease, untouched)
		if _, ok := errors.AsType[*leases.ConflictError](err); ok {
			continue // somebody has just written to it
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
				"shard has left the retention period, what was unread in it is lost; its lease, which nobody held, was deleted",
				"checkpoint", r.Lease.Checkpoint, "range_start", r.Lease.HashKeyRange.Start, "range_end", r.Lease.HashKeyRange.End)
		}
	}
	return nil
}

// needed asks the table and the service once more whether a row must stay.
func (j *janitor) needed(ctx context.Context, st *stream, r shardsync.Removal) (bool, error) {
	if r.Gone {
		gone, err := j.control.shardGone(ctx, st, r.Lease.ShardID)
		return !gone, err
	}
	for _, key := range r.Children {
		child, err := j.table.Get(ctx, key)
		if errors.Is(err, leases.ErrNotFound) {
			return true, nil
		}
		if err != nil {
			return true, fmt.Errorf("read lease %s: %w", key, err)
		}
		if !child.Started() {
			return true, nil
		}
	}
	return false, nil
}
