package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

const (
	tendInterval = time.Minute // give or take a fifth (leaseCleanupIntervalMillis in the KCL)
	maxRemovals  = 500         // what is left waits for the next round
)

// untouched is what every write of a worker that reads a shard changes one of, and
// whose the row is.
const untouched = leases.AttrOwner | leases.AttrCheckpointOwner | leases.AttrCounter | leases.AttrCheckpoint | leases.AttrChildren | leases.AttrApplication | leases.AttrStreamARN

// tendLoop looks after the rows of the streams: it deletes those that nobody
// needs any more, and looks for hash keys that nobody reads. Every worker does
// it; that several do the same at once does no harm. It ends with ctx.
func (s *Scheduler) tendLoop(ctx context.Context) {
	tenders := map[*stream]*tender{}
	for {
		timer := time.NewTimer(tendInterval - tendInterval/5 + rand.N(2*tendInterval/5+1))
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		}
		streams := s.streams.all()
		reading := make(map[*stream]bool, len(streams))
		for _, st := range streams {
			reading[st] = true
		}
		maps.DeleteFunc(tenders, func(st *stream, _ *tender) bool { return !reading[st] })
		rows := &rowsByStream{s: s}
		for _, st := range streams {
			if st.err() != nil {
				continue
			}
			t := tenders[st]
			if t == nil {
				t = &tender{s: s, st: st}
				tenders[st] = t
			}
			if err := t.tend(ctx, rows); err != nil && ctx.Err() == nil {
				s.log.WarnContext(ctx, "leases cannot be looked after, trying again", "stream", st.label, "err", err)
			}
		}
	}
}

// rowsAge is how old the sorted rows may be that several streams are looked after by.
const rowsAge = 2 * time.Second

// rowsByStream are the rows of the last scan, sorted by stream. With many streams,
// to go through the rows of all of them for each would take too long.
type rowsByStream struct {
	s    *Scheduler
	at   time.Time
	rows map[string][]leases.Lease
}

// of returns the rows of a stream, sorted by key. Nobody may change them.
func (r *rowsByStream) of(st *stream) []leases.Lease {
	if r.rows == nil || time.Since(r.at) > rowsAge {
		r.sort(r.s.coord.Leases())
	}
	return r.rows[st.inRows()]
}

// sort takes in rows as they are now.
func (r *rowsByStream) sort(rows []leases.Lease) {
	r.at, r.rows = time.Now(), map[string][]leases.Lease{}
	for _, row := range rows {
		r.rows[row.Stream] = append(r.rows[row.Stream], row)
	}
}

// tender looks after the rows of one stream. It belongs to the goroutine of
// tendLoop.
type tender struct {
	s       *Scheduler
	st      *stream
	history shardsync.CleanupHistory
	holes   shardsync.HoleWatch
}

// tend looks at the rows of the last scan, which is at most seconds old, or as
// old as an outage of the table: every deletion is conditional.
func (t *tender) tend(ctx context.Context, all *rowsByStream) error {
	list, err := t.st.lineage.get(ctx, tendInterval)
	if err != nil || t.st.err() != nil {
		return err
	}
	rows := all.of(t.st)
	foreign := func(row leases.Lease) bool {
		return !t.st.sameCreation(row.StreamCreated) || t.st.marks.Check(row) != nil
	}
	if slices.ContainsFunc(rows, foreign) { // which the shard sync reports
		return nil
	}
	opt := t.st.syncOptions(list)
	if err := t.audit(ctx, rows, list, opt); err != nil {
		return err
	}
	var removals []shardsync.Removal
	removals, t.history = shardsync.PlanCleanup(shardsync.Survey{
		At: time.Now(), ListedAt: list.asked, Shards: list.shards, Rows: rows,
		Initial: t.st.cfg.InitialPosition, Options: opt,
	}, t.history)
	return t.remove(ctx, removals[:min(len(removals), maxRemovals)])
}

// audit looks for hash keys that nobody reads. The shard sync makes rows for
// them, but for those that it takes for finished.
func (t *tender) audit(ctx context.Context, rows []leases.Lease, list *shardList, opt shardsync.Options) error {
	coverage := shardsync.Audit(rows, list.shards)
	if len(coverage.Unknown) > 0 {
		return nil
	}
	holes, repair := t.holes.Note(time.Now(), coverage)
	t.st.metrics.SetHashRangeHoles(len(holes))
	if len(rows) == 0 {
		t.s.syncSoon(t.st)
	}
	if !repair {
		return nil
	}
	for _, h := range holes {
		t.s.log.ErrorContext(ctx, "no lease covers a range of hash keys, synchronising the shards", "stream", t.st.label,
			"range_start", h.Start, "range_end", h.End, "after", h.After, "before", h.Before)
	}
	repairs, later := t.s.seenRows.holdBack(shardsync.PlanRepair(holes, rows, list.shards, opt))
	for _, row := range repairs {
		if _, err := t.s.table.create(ctx, row); err != nil {
			return err
		}
	}
	t.s.syncSoon(t.st)
	return later
}

// remove deletes rows, until something goes wrong.
func (t *tender) remove(ctx context.Context, removals []shardsync.Removal) error {
	same := false // the stream is the one that the rows were made for, as far as this round knows
	for _, r := range removals {
		if r.Gone && !same {
			if err := t.s.control.checkSameStream(ctx, t.st); err != nil {
				return err
			}
			same = true
		}
		needed, err := t.needed(ctx, r)
		if err != nil {
			return err
		}
		if needed {
			continue
		}
		err = t.s.cfg.Leases.Delete(ctx, r.Lease, untouched)
		if _, ok := errors.AsType[*leases.ConflictError](err); ok {
			continue // somebody has just written to it
		}
		if err != nil {
			t.s.cfg.Metrics.LeaseStoreError("delete")
			return fmt.Errorf("delete lease %s: %w", r.Lease.Key, err)
		}
		log := t.s.log.With("stream", t.st.label, "shard", r.Lease.ShardID)
		if r.Lease.Finished() {
			log.InfoContext(ctx, "lease of a finished shard deleted", "expired", r.Gone)
		} else {
			log.WarnContext(ctx, "shard has left the retention period, what was unread in it is lost; its lease, which nobody held, was deleted",
				"checkpoint", r.Lease.Checkpoint, "range_start", r.Lease.HashKeyRange.Start, "range_end", r.Lease.HashKeyRange.End)
		}
	}
	return nil
}

// needed looks once more, at the table and the service themselves, whether a
// row must stay.
func (t *tender) needed(ctx context.Context, r shardsync.Removal) (bool, error) {
	if r.Gone {
		gone, err := t.s.control.shardGone(ctx, t.st, r.Lease.ShardID)
		return !gone, err
	}
	for _, key := range r.Children {
		child, err := t.s.cfg.Leases.Get(ctx, key)
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
