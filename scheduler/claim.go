package scheduler

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"

	"github.com/kinesis-go/kcl/internal/parallel"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

const (
	claimRounds      = 5  // listings in which a claim must come to an end
	withdrawAttempts = 10 // to delete the row that a refused worker has made
)

// errUnsettled says that the table changes too fast to be claimed. It is transient.
var errUnsettled = errors.New("the lease table changes while it is claimed")

// foreign is the error of a row with the marks of another application or stream.
type foreign struct{ error }

func (f foreign) Unwrap() error { return f.error }

// claimer makes sure that the lease table is the application's before anything else is
// written to it, and marks rows.
type claimer struct {
	worker string
	table  *rowTable
	seen   *rowMemory
}

// claim makes sure that the table is the application's, and that its rows are those of
// these streams. Two workers of different applications can claim at the same time:
//
//	table             A                   B
//	empty             lists: nobody
//	                                      lists: nobody
//	a of A            makes its anchor
//	a of A, b of B                        makes its anchor
//	a of A                                lists: a is foreign, deletes b, refused
//	                  lists: nobody else
//
// The worker that writes last lists after both writes, and a listing shows every accepted
// write. So at least one worker is refused, and both may be. If the anchors have the same
// key, the second write is a conflict.
//
// claim returns the last listing, and puts the error of each stream into errs. lists are
// the shards of the streams, errs the errors of listing them.
func (c *claimer) claim(
	ctx context.Context, streams []*stream, lists []*shardList, errs []error,
) (leases.Listing, error) {
	listErrs, todo := slices.Clone(errs), make(map[int]*stream, len(streams))
	for i, st := range streams {
		if !st.sync.isClaimed() {
			todo[i] = st
		}
	}
	for round := 1; ; round++ {
		listing, err := c.table.listNow(ctx)
		if err != nil {
			return listing, err
		}
		more := make([]bool, len(streams))
		places := slices.Collect(maps.Keys(todo))
		parallel.Do(len(places), creators, func(n int) {
			i := places[n]
			more[i], errs[i] = c.claimOne(ctx, todo[i], lists[i], listErrs[i], listing)
		})
		for i := range streams {
			if !more[i] {
				delete(todo, i)
			}
		}
		if len(todo) == 0 {
			return listing, nil
		}
		if round == claimRounds {
			for i := range todo {
				errs[i] = errUnsettled
			}
			return listing, nil
		}
	}
}

// claimOne makes the missing writes for the claim of one stream. more says that the table
// has to be listed again.
func (c *claimer) claimOne(
	ctx context.Context, st *stream, list *shardList, listErr error, listing leases.Listing,
) (more bool, err error) {
	rows := listing.Leases
	if err := st.checkRows(rows); err != nil {
		return false, c.withdraw(ctx, st, err)
	}
	plan := shardsync.PlanClaim(rows, st.marks)
	if plan.Unproven {
		if listErr != nil && !st.keyed() {
			return false, listErr
		}
		if listErr == nil && !shardsync.ClaimFits(st.rowsOf(rows), list.shards) {
			return false, fmt.Errorf("%w: it looks like the table of another stream than %s: its leases name no stream, and "+
				"none matches a shard of the stream: use another table (Config.Table); if the leases are the stream's, "+
				"stop all workers and run `kclctl leases adopt -application %s -stream %s -table TABLE`",
				leases.ErrForeignTable, st.id.ARN, st.marks.Application, st.id.ARN)
		}
	}
	if plan.Anchor != nil && plan.Anchor.NativeOwner == c.worker {
		plan.Anchor = nil // no other worker withdraws it
	}
	if plan.Done() {
		st.sync.setClaimed()
		return false, listErr
	}
	updates := plan.Adopt
	if plan.Anchor != nil {
		updates = append(updates, shardsync.ConfirmAnchor(*plan.Anchor))
	}
	for _, u := range updates {
		if err := c.table.update(ctx, u); err != nil {
			return false, err
		}
	}
	if !plan.Vacant {
		return true, nil
	}
	if listErr != nil {
		return false, listErr
	}
	missing, _, err := c.seen.planMissing(ctx, st, list, rows)
	if err != nil || len(missing) == 0 {
		return false, err
	}
	missing = slices.DeleteFunc(missing, func(row leases.Lease) bool {
		return slices.ContainsFunc(listing.Bad, func(bad *leases.RowError) bool { return bad.Key == row.Key })
	})
	if len(missing) == 0 { // rows exist and cannot be read: Healthy reports them
		st.sync.setClaimed()
		return false, nil
	}
	anchor := missing[0]
	anchor.NativeOwner = c.worker // by which this worker recognises it
	_, err = c.table.create(ctx, anchor)
	st.sync.anchor = anchor.Key // also when the answer got lost
	return err == nil, err
}

// withdraw deletes the anchor of this worker, which is refused, unless another worker of the
// application relies on it. It returns cause, why the worker is refused.
func (c *claimer) withdraw(ctx context.Context, st *stream, cause error) error {
	if st.sync.anchor == "" {
		return cause
	}
	backoff := retry.New(firstBackoff, maxBackoff)
	for attempt := 1; ; attempt++ {
		err := c.deleteAnchor(ctx, st.sync.anchor)
		if err == nil {
			st.sync.anchor = ""
			return cause
		}
		if attempt == withdrawAttempts || backoff.Wait(ctx) != nil {
			return fmt.Errorf("%w; lease %q, made by this worker a moment ago, is not deleted: %w", cause, st.sync.anchor, err)
		}
	}
}

func (c *claimer) deleteAnchor(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	row, err := c.table.Get(ctx, key)
	if errors.Is(err, leases.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if row.NativeOwner != c.worker || row.Counter != 0 || row.ActualOwner() != "" {
		return nil // not ours, or confirmed by another worker of this application
	}
	err = c.table.Delete(ctx, row, leases.AttrAll)
	if _, ok := errors.AsType[*leases.ConflictError](err); ok {
		return nil
	}
	return err
}

// markRows marks rows of the stream that nobody owns. Rows with an owner get
// their marks when they are taken.
func (c *claimer) markRows(ctx context.Context, st *stream, rows []leases.Lease) error {
	var updates []leases.Update
	for _, row := range st.rowsOf(rows) {
		to, set := st.marks.Complete(row)
		if set == 0 || row.ActualOwner() != "" {
			continue
		}
		if to.StreamCreated.IsZero() && !st.created.IsZero() {
			to.StreamCreated, set = st.created, set|leases.AttrStreamCreated
		}
		updates = append(updates, leases.Update{Read: row, Expect: set, To: to, Set: set})
	}
	for chunk := range slices.Chunk(updates[:min(len(updates), maxMarks)], creators) {
		errs := make([]error, len(chunk))
		parallel.Do(len(chunk), creators, func(i int) { errs[i] = c.table.update(ctx, chunk[i]) })
		for _, err := range errs {
			if err != nil { // one is enough: it is the table that fails
				return err
			}
		}
	}
	return nil
}

// maxMarks is how many rows a synchronisation marks; what is left waits for the next one.
const maxMarks = 500
