package scheduler

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/chance"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/parallel"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// syncers is how many streams are listed at the same time.
const syncers = 8

// syncer makes the missing rows of streams, and decides where reading starts.
type syncer struct {
	streams  *streamSet
	control  *controlPlane
	table    *rowTable
	seen     *rowMemory
	claims   *claimer
	coord    *coordinator.Coordinator
	interval time.Duration
	log      *slog.Logger

	requests chan struct{} // wakes the loop; holds one request
	running  bool          // loop and the coordinator run
}

func newSyncer(cfg Config, streams *streamSet, control *controlPlane, seen *rowMemory, log *slog.Logger) *syncer {
	return &syncer{
		streams: streams, control: control, table: seen.table, seen: seen, coord: seen.coord, interval: cfg.ShardSyncInterval,
		claims: &claimer{worker: cfg.WorkerID, table: seen.table, seen: seen}, requests: make(chan struct{}, 1), log: log,
	}
}

// loop compares the lease table with the streams' shards. It compares all streams periodically, and
// one stream after its opening, after the end of a shard, or after a failure. It ends with ctx.
func (s *syncer) loop(ctx context.Context) {
	s.running = true
	next := time.Now().Add(s.wait())
	again := map[*stream]*syncRetry{}
	for {
		due := next
		for _, r := range again {
			if r.at.Before(due) {
				due = r.at
			}
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(time.Until(due)):
		case <-s.requests:
		}
		now := time.Now()
		all := !now.Before(next)
		if all {
			next = now.Add(s.wait())
		}
		streams := s.streams.all()
		var batch []*stream
		for _, st := range streams {
			r := again[st]
			if st.err() == nil && (st.sync.takeRequest() || all || (r != nil && !now.Before(r.at))) {
				batch = append(batch, st)
			}
		}
		maps.DeleteFunc(again, func(s *stream, _ *syncRetry) bool { return !slices.Contains(streams, s) || s.err() != nil })
		for st, err := range s.syncAll(ctx, batch) {
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				delete(again, st)
				continue
			}
			if st.err() != nil {
				continue
			}
			st.metrics.ShardSyncError()
			s.log.WarnContext(ctx, "synchronise shards failed, trying again", "stream", st.label, "err", err)
			if _, ok := errors.AsType[foreign](err); ok && (again[st] != nil || !st.sync.isClaimed()) {
				// This is the second time. The first time, the row may belong to a worker that is being
				// refused.
				s.streams.stop(ctx, st, err)
				continue
			}
			if errors.Is(err, kcl.ErrStreamNotFound) || errors.Is(err, kcl.ErrStreamRecreated) ||
				errors.Is(err, errContradiction) {
				if gone := s.control.streamGone(ctx, st, err); gone != nil {
					s.streams.stop(ctx, st, gone)
				}
			}
			if again[st] == nil {
				again[st] = &syncRetry{backoff: retry.New(firstBackoff, maxBackoff)}
			}
			again[st].at = time.Now().Add(again[st].backoff.Next())
		}
	}
}

// syncRetry is when a failed synchronisation is tried again.
type syncRetry struct {
	at      time.Time
	backoff *retry.Backoff
}

func (s *syncer) wait() time.Duration {
	d := s.interval
	return d - d/5 + chance.N(2*d/5+1, "sync")
}

// request asks for a synchronisation of a stream. Several requests lead to one synchronisation.
func (s *syncer) request(st *stream) {
	st.sync.request()
	select {
	case s.requests <- struct{}{}:
	default:
	}
}

// syncAll creates the missing rows of streams, and returns an error or nil for each stream. It
// lists streams with an incomplete list again, all together, up to completeTries times.
func (s *syncer) syncAll(ctx context.Context, streams []*stream) map[*stream]error {
	results := make(map[*stream]error, len(streams))
	for try := 1; ; try++ {
		var again []*stream
		for st, r := range s.syncOnce(ctx, streams) {
			results[st] = r.err
			if errors.Is(r.err, errIncomplete) && try < completeTries {
				again = append(again, st)
			} else if ctx.Err() == nil {
				st.sync.finished(r.err, r.bad)
			}
		}
		if len(again) == 0 || retry.Sleep(ctx, completeWait/2+chance.N(completeWait, "complete")) != nil {
			return results
		}
		streams = again
	}
}

// syncResult is the error of one stream, and the rows that cannot be read.
type syncResult struct {
	err error
	bad []*leases.RowError
}

// syncOnce makes one attempt of syncAll. It lists shards before rows. In the other order, another
// worker could make a shard's row after the listing of rows. Then this worker would plan the row
// again with another start. One scan of the table serves all streams.
func (s *syncer) syncOnce(ctx context.Context, streams []*stream) map[*stream]syncResult {
	lists := make([]*shardList, len(streams))
	errs := make([]error, len(streams))
	parallel.Do(len(streams), syncers, func(i int) { lists[i], errs[i] = streams[i].listShards(ctx) })
	var listing leases.Listing
	var listErr error
	switch {
	case slices.ContainsFunc(streams, func(st *stream) bool { return !st.sync.isClaimed() }):
		listing, listErr = s.claims.claim(ctx, streams, lists, errs)
	case len(streams) > 0:
		listing, listErr = s.seen.list(ctx, streams...)
	}
	results := make(map[*stream]syncResult, len(streams))
	for i, st := range streams {
		r := syncResult{err: errs[i], bad: listing.Bad}
		if r.err == nil {
			r.err = listErr
		}
		if r.err == nil {
			r.bad, r.err = s.syncRows(ctx, st, lists[i], listing)
		}
		results[st] = r
	}
	return results
}

// listShards lists a stream's shards for a synchronisation. A stream has at most one at a time.
func (st *stream) listShards(ctx context.Context) (*shardList, error) {
	list, err := st.lineage.get(ctx, 0)
	if err != nil {
		return nil, err
	}
	if list.contradicts(st.sync.first) {
		return nil, errContradiction
	}
	if st.sync.first == nil {
		st.sync.first = list
	}
	return list, nil
}

// syncRows creates the rows of a stream that listing lacks. It returns the unreadable rows.
func (s *syncer) syncRows(
	ctx context.Context, st *stream, list *shardList, listing leases.Listing,
) ([]*leases.RowError, error) {
	created := 0
	for round := 1; ; round++ {
		n, complete, err := s.createMissing(ctx, st, list, listing, round < yieldRounds)
		created += n
		if err != nil {
			return listing.Bad, err
		}
		if complete {
			break
		}
		// Another worker makes the same rows. Without a wait a starting fleet writes each many times.
		if err := retry.Sleep(ctx, 100*time.Millisecond+chance.N(400*time.Millisecond, "rows", st.label)); err != nil {
			return listing.Bad, err
		}
		if listing, err = s.seen.list(ctx, st); err != nil {
			return nil, err
		}
	}
	if err := s.claims.markRows(ctx, st, listing.Leases); err != nil {
		return listing.Bad, err
	}
	if err := s.settleStarts(ctx, st, list, listing.Leases); err != nil {
		return listing.Bad, err
	}
	if created > 0 {
		s.log.InfoContext(ctx, "leases created", "stream", st.label, "count", created, "listed", len(list.shards))
		if s.running {
			s.coord.Nudge()
		}
	}
	return listing.Bad, nil
}

// yieldRounds is how often a synchronisation waits for another worker that makes the same rows.
const yieldRounds = 20

// createMissing plans and creates rows. With yield it stops after the first chunk with an existing
// row. complete says that all planned rows exist.
func (s *syncer) createMissing(
	ctx context.Context, st *stream, list *shardList, listing leases.Listing, yield bool,
) (created int, complete bool, err error) {
	rows, opt := listing.Leases, st.syncOptions(list, listing.Bad...)
	if err := st.checkRows(rows); err != nil {
		return 0, false, err
	}
	plan, shards, lacks, err := s.seen.planMissing(ctx, st, list, rows, opt)
	if err != nil {
		return 0, false, err
	}
	plan, later := s.seen.holdBack(plan)
	if lacks != "" && later == nil {
		later = fmt.Errorf("%w: stream %s: shard %s is closed and lacks its children", errIncomplete, st.label, lacks)
	}
	for _, generation := range shardsync.Generations(plan, shards) {
		for rows := range slices.Chunk(generation, creators) {
			made, err := s.table.createAll(ctx, rows)
			created += made
			if err != nil || (made < len(rows) && yield) {
				return created, false, err
			}
		}
	}
	return created, true, later
}

// errContradiction makes the loop check the stream's creation time.
var errContradiction = errors.New("the sequence numbers of known shards have changed")
