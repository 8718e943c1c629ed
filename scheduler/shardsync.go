package scheduler

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"time"

	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/aws/aws-sdk-go-v2/service/kinesis/types"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

// syncLoop compares the lease table with the streams' shards: periodically,
// and when a shard has ended. It ends with ctx.
func (s *Scheduler) syncLoop(ctx context.Context, streams []*stream) {
	backoff := retry.New(firstBackoff, maxBackoff)
	wait := s.syncWait()
	for {
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
			timer.Stop()
			return
		case <-timer.C:
		case <-s.resync:
			timer.Stop()
		}
		wait = s.syncWait()
		for _, st := range streams {
			if st.err() != nil {
				continue
			}
			err := s.sync(ctx, st)
			if ctx.Err() != nil {
				return
			}
			if err != nil {
				s.cfg.Metrics.ShardSyncError(st.id.Name)
				s.log.WarnContext(ctx, "shards cannot be synchronised", "stream", st.id.Name, "err", err)
				if errors.Is(err, kcl.ErrStreamNotFound) || errors.Is(err, kcl.ErrStreamRecreated) || errors.Is(err, errContradiction) {
					s.examine(ctx, st, err)
				}
				wait = min(wait, backoff.Next())
			}
		}
		if wait > maxBackoff {
			backoff.Reset()
		}
	}
}

func (s *Scheduler) syncWait() time.Duration {
	d := s.cfg.ShardSyncInterval
	return d - d/5 + rand.N(2*d/5+1)
}

// syncSoon asks for a synchronisation; one that waits already is enough.
func (s *Scheduler) syncSoon() {
	select {
	case s.resync <- struct{}{}:
	default:
	}
}

// sync creates the rows that are missing for a stream's shards. The shards are
// listed before the rows are, so that a shard whose row another worker makes
// meanwhile is not planned a second time with a different start.
func (s *Scheduler) sync(ctx context.Context, st *stream) (err error) {
	var listing leases.Listing
	defer func() {
		if ctx.Err() == nil {
			st.setSynced(err, listing.Bad)
		}
	}()
	list, err := st.lineage.get(ctx, 0)
	if err != nil {
		return err
	}
	if list.contradicts(st.first) {
		return errContradiction
	}
	if st.first == nil {
		st.first = list
	}
	created := 0
	for round := 1; ; round++ {
		listing, err = s.cfg.Leases.List(ctx)
		if err != nil {
			return fmt.Errorf("list the lease table: %w", err)
		}
		yield := round < yieldRounds && len(listing.Bad) == 0
		n, complete, err := s.createMissing(ctx, st, list, listing.Leases, yield)
		created += n
		if err != nil {
			return err
		}
		if complete {
			break
		}
		// Another worker is making the same rows. Let it go ahead, so that a
		// fleet that starts together does not write every row many times.
		if err := retry.Sleep(ctx, 100*time.Millisecond+rand.N(400*time.Millisecond)); err != nil {
			return err
		}
	}
	if created > 0 {
		s.log.InfoContext(ctx, "leases created", "stream", st.id.Name, "count", created, "listed", len(list.shards))
		if _, coord := s.parts(); coord != nil {
			coord.Nudge()
		}
	}
	return nil
}

// yieldRounds is how often a sync gives way to another worker that makes the
// same rows. It gives way to none while there are rows that cannot be read:
// those are planned anew each time.
const yieldRounds = 20

// createMissing plans and creates rows, when it yields only until one turns out
// to exist already; complete says that it came to the end.
func (s *Scheduler) createMissing(ctx context.Context, st *stream, list *shardList, rows []leases.Lease, yield bool) (created int, complete bool, err error) {
	if err := st.checkRows(rows); err != nil {
		return 0, false, err
	}
	shards := list.shards
	if initial := st.cfg.InitialPosition; initial.Kind == kcl.AtTimestamp && !st.hasRows(rows) {
		// Only the shards that were open at that time or later: reading starts with those.
		from, err := st.lineage.list(ctx, &types.ShardFilter{Type: types.ShardFilterTypeFromTimestamp, Timestamp: &initial.Timestamp})
		if err != nil {
			return 0, false, err
		}
		shards = from.shards
	}
	plan := leases.PlanSync(shards, rows, st.cfg.InitialPosition, leases.SyncOptions{
		Stream: st.id, Multi: st.multi, PinnedAt: list.pin, StreamCreated: st.created,
	})
	for _, row := range plan {
		if row.Checkpoint.SequenceNumber == kcl.SentinelLatest && row.PinnedAt.IsZero() {
			return created, false, fmt.Errorf("the service's answer to ListShards has no Date, which InitialPosition LATEST of stream %s needs: use kcl.AtTimestamp or kcl.TrimHorizon", st.id.Name)
		}
		made, err := s.create(ctx, row)
		if err != nil || (!made && yield) {
			return created, false, err
		}
		if made {
			created++
		}
	}
	return created, true, nil
}

// errContradiction is followed by a look at the stream's creation time.
var errContradiction = errors.New("the shards of the stream have the names, but not the sequence numbers, that they had before")

// create makes a row unless it is there already.
func (s *Scheduler) create(ctx context.Context, row leases.Lease) (made bool, err error) {
	err = s.cfg.Leases.Create(ctx, row)
	if _, ok := errors.AsType[*leases.ConflictError](err); ok {
		return false, nil
	}
	if _, ok := errors.AsType[*leases.RowError](err); ok {
		return false, nil // it is there, and cannot be read: Healthy tells
	}
	if err != nil {
		return false, fmt.Errorf("create lease %s: %w", row.Key, err)
	}
	return true, nil
}

func (st *stream) hasRows(rows []leases.Lease) bool {
	for _, row := range rows {
		if st.owns(row) {
			return true
		}
	}
	return false
}

// examine finds out, after an error that a vanished stream could cause,
// whether the stream is gone or another one now, and stops it then. Its rows
// stay as they are.
func (s *Scheduler) examine(ctx context.Context, st *stream, cause error) {
	switch {
	case errors.Is(cause, kcl.ErrStreamRecreated):
		s.stopStream(ctx, st, cause)
		return
	case errors.Is(cause, kcl.ErrAccessDenied) && !isShardGone(cause): // fan-out can be denied, and polling find no shard
		return
	}
	d, err := s.summary(ctx, &kinesis.DescribeStreamSummaryInput{StreamARN: &st.id.ARN})
	switch {
	case awserr.Is(err, "ResourceNotFoundException"):
		s.stopStream(ctx, st, fmt.Errorf("%w: %s was deleted: %w", kcl.ErrStreamNotFound, st.id.ARN, cause))
	case err != nil:
		// Not known; whoever asked tries again.
	case d.StreamCreationTimestamp != nil && !st.sameCreation(*d.StreamCreationTimestamp):
		was := st.created
		s.stopStream(ctx, st, fmt.Errorf("%w: stream %s was deleted and created again: it was created at %s, and is now one created at %s; "+
			"delete its rows from the lease table (`kclctl leases delete -all -table TABLE`), or use another table, and start again", kcl.ErrStreamRecreated, st.id.Name,
			was.UTC().Format(time.RFC3339), d.StreamCreationTimestamp.UTC().Format(time.RFC3339)))
	}
}

// stopStream ends reading a stream for good; when it was the last, Run ends
// with the error.
func (s *Scheduler) stopStream(ctx context.Context, st *stream, err error) {
	if !st.stop(err) {
		return
	}
	s.log.ErrorContext(ctx, "stream is not read any more", "stream", st.id.Name, "err", err)
	streams, _ := s.parts()
	var errs []error
	for _, other := range streams {
		e := other.err()
		if e == nil {
			return
		}
		errs = append(errs, e)
	}
	s.fail(errors.Join(errs...))
}
