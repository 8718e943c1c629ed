package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/kinesis-go/kcl/internal/chance"
	"github.com/kinesis-go/kcl/internal/parallel"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// settleStarts writes the missing starts into the rows of a stream. A later process could decide
// differently, see [shardsync.PlanStarts]. It logs once if the application began elsewhere.
func (s *syncer) settleStarts(ctx context.Context, st *stream, list *shardList, rows []leases.Lease) error {
	opt, initial := st.syncOptions(list), st.cfg.InitialPosition
	began := shardsync.StreamOrigin(rows, initial, opt)
	if st.sync.setOrigin(began, shardsync.OriginOf(initial, began.At)) {
		s.log.InfoContext(ctx, "configured initial position is not used: the application began to read the stream "+
			"at another position, and goes on from its checkpoints",
			"stream", st.label, "began", began.String(), "configured", initial.Kind.String(), "remedy",
			"to move a shard that is read already: kclctl leases set-checkpoint")
	}
	plan := shardsync.PlanStarts(rows, initial, opt)
	// On an older table all workers would write each row. So each worker begins with another row.
	// After a conflict it leaves the rest to others or its next sync. Rows without a time cannot wait.
	chance.Rand("starts", s.claims.worker).Shuffle(len(plan), func(i, j int) { plan[i], plan[j] = plan[j], plan[i] })
	slices.SortStableFunc(plan, func(a, b leases.Update) int { return urgent(b) - urgent(a) })
	for some := range slices.Chunk(plan, creators) {
		conflicts, err := s.writeStarts(ctx, some)
		if err != nil {
			return err
		}
		if conflicts > 0 && urgent(some[len(some)-1]) == 0 {
			break
		}
	}
	for _, row := range rows {
		if _, ok := row.Start(); !ok && st.hasRow(row) && list.pin.IsZero() {
			return st.errNoPin()
		}
	}
	return nil
}

// urgent returns 1 for a write without which reading would start at the wrong position, and else 0.
func urgent(u leases.Update) int {
	if u.Set.Has(leases.AttrPinnedAt) && !u.To.PinnedAt.IsZero() {
		return 1
	}
	return 0
}

// writeStarts makes writes at the same time, and counts the conflicts.
func (s *syncer) writeStarts(ctx context.Context, some []leases.Update) (conflicts int, err error) {
	errs := make([]error, len(some))
	parallel.Do(len(some), creators, func(i int) { errs[i] = s.table.Update(ctx, some[i]) })
	for i, e := range errs {
		if _, ok := errors.AsType[*leases.ConflictError](e); ok {
			conflicts++ // another worker was faster, or reading has begun: the next synchronisation checks
			continue
		}
		if _, ok := errors.AsType[*leases.RowError](e); ok {
			continue // the row cannot be read: Healthy reports it
		}
		if e != nil {
			err = fmt.Errorf("write the start of lease %s: %w", some[i].Read.Key, e)
		}
	}
	return conflicts, err
}
