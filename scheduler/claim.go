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
	claimRounds      = 5  // the limit of listings of one claim
	withdrawAttempts = 10 // attempts of a refused worker to delete its anchor
)

// errClaimUnfinished says that other workers change the table during a claim. It is transient.
var errClaimUnfinished = errors.New("the lease table keeps changing while it is claimed")

// foreign is the error of a row with the marks of another application or stream.
type foreign struct{ error }

func (f foreign) Unwrap() error { return f.error }

// claimer claims the lease table for the application before anything else is written to it. It also
// marks rows.
type claimer struct {
	worker string
	table  *rowTable
	seen   *rowMemory
}

// claim claims the table for the application, and the rows for these streams. Two workers of
// different applications can claim an empty table at the same time:
//
//	table             A                   B
//	empty             lists: no row
//	                                      lists: no row
//	a of A            makes its anchor
//	a of A, b of B                        makes its anchor
//	a of A                                lists: a is foreign, deletes b, refused
//	                  lists: no other row
//
// The later of both writers lists after both writes, and a listing shows every accepted write. So
// at least one worker is refused, and both may be. If the anchors have the same key, the second
// write is a conflict.
//
// lists has the shards of the streams, and errs the errors of listing them. claim returns the last
// listing of the table, and puts the error of each stream into errs.
func (c *claimer) claim(
	ctx context.Context, streams []*stream, lists []*shardList, errs []error,
) (leases.Listing, error) {
	listErrs, unclaimed := slices.Clone(errs), make(map[int]*stream, len(streams))
	for i, st := range streams {
		if !st.sync.isClaimed() {
			unclaimed[i] = st
		}
	}
	for round := 1; ; round++ {
		listing, err := c.table.listNow(ctx)
		if err != nil {
			return listing, err
		}
		again := make([]bool, len(streams))
		indexes := slices.Collect(maps.Keys(unclaimed))
		parallel.Do(len(indexes), creators, func(n int) {
			i := indexes[n]
			again[i], errs[i] = c.claimOne(ctx, unclaimed[i], lists[i], listErrs[i], listing)
		})
		for i := range streams {
			if !again[i] {
				delete(unclaimed, i)
			}
		}
		if len(unclaimed) == 0 {
			return listing, nil
		}
		if round == claimRounds {
			for i := range unclaimed {
				errs[i] = errClaimUnfinished
			}
			return listing, nil
		}
	}
}

// claimOne makes the missing writes for the claim of one stream. If again is true, the caller must
// list the table and call claimOne again.
func (c *claimer) claimOne(
	ctx context.Context, st *stream, list *shardList, listErr error, listing leases.Listing,
) (again bool, err error) {
	rows := listing.Leases
	if err := st.checkRows(rows); err != nil {
		return false, c.withdraw(ctx, st, err)
	}
	plan := shardsync.PlanClaim(rows, st.marks)
	if plan.Unproven {
		if listErr != nil && !st.keysProveStream() {
			return false, listErr
		}
		if listErr == nil && !shardsync.ClaimFits(st.rowsOf(rows), list.shards) {
			return false, fmt.Errorf("%w: the table seems to belong to another stream than %s: its leases name no stream, and "+
				"none matches a shard of the stream: use another table (Config.Table); if the leases are the stream's, "+
				"stop all workers and run `kclctl leases adopt -application %s -stream %s -table TABLE`",
				leases.ErrForeignTable, st.id.ARN, st.marks.Application, st.id.ARN)
		}
	}
	if plan.Anchor != nil && plan.Anchor.NativeOwner == c.worker {
		plan.Anchor = nil // no other worker withdraws this anchor
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
	missing, _, _, err := c.seen.planMissing(ctx, st, list, rows, st.syncOptions(list))
	if err != nil || len(missing) == 0 {
		return false, err
	}
	missing = slices.DeleteFunc(missing, func(row leases.Lease) bool {
		return slices.ContainsFunc(listing.Bad, func(bad *leases.RowError) bool { return bad.Key == row.Key })
	})
	if len(missing) == 0 { // the rows exist and cannot be read: Healthy reports them
		st.sync.setClaimed()
		return false, nil
	}
	anchor := missing[0]
	anchor.NativeOwner = c.worker // so that deleteAnchor recognises it
	_, err = c.table.create(ctx, anchor)
	st.sync.anchor = anchor.Key // even after an error: the answer may be lost
	return err == nil, err
}

// withdraw deletes the anchor of this worker, because the claim is refused. It keeps an anchor that
// another worker has confirmed. It returns cause, the reason for the refusal.
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
			return fmt.Errorf("%w; delete lease %q, which this worker has just made: %w", cause, st.sync.anchor, err)
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
		return nil // the anchor of another worker, or a confirmed anchor
	}
	err = c.table.Delete(ctx, row, leases.AttrAll)
	if _, ok := errors.AsType[*leases.ConflictError](err); ok {
		return nil
	}
	return err
}

// markRows marks rows of the stream that have no owner. Rows with an owner get their marks from its
// consumer.
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
			if err != nil { // other errors mostly have the same cause
				return err
			}
		}
	}
	return nil
}

// maxMarks is how many rows one synchronisation marks.
const maxMarks = 500
