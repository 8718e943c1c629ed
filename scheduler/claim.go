package scheduler

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"

	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

const (
	claimRounds      = 5  // listings in which a claim must come to an end
	withdrawAttempts = 10 // to delete the row that a refused worker has made
)

// errUnsettled says that the table changes too fast to be claimed. It is
// transient.
var errUnsettled = errors.New("the lease table changes while it is claimed")

// foreign is the error of a row that is marked as somebody else's.
type foreign struct{ error }

func (f foreign) Unwrap() error { return f.error }

// claim makes sure, before anything else is written, that the table is that of
// this application, and the rows of the streams those of these streams. Two
// workers that do not belong together can do so at the same time:
//
//	table             A                   B
//	empty             lists: nobody
//	                                      lists: nobody
//	a of A            makes its anchor
//	a of A, b of B                        makes its anchor
//	a of A            		      lists: a is foreign, deletes b, refused
//	                  lists: nobody else
//
// The later one of the two writes comes before the listing of its worker, which
// shows every accepted write. So one is refused at least, and both may be. When
// the anchors have the same key, the second one is refused by its conflict.
//
// It returns the last listing, and puts what is wrong with each stream into
// errs. lists are the shards of the streams; errs says which of those failed.
func (s *Scheduler) claim(ctx context.Context, streams []*stream, lists []*shardList, errs []error) (leases.Listing, error) {
	listErrs, todo := slices.Clone(errs), make(map[int]*stream, len(streams))
	for i, st := range streams {
		if !st.isClaimed() {
			todo[i] = st
		}
	}
	for round := 1; ; round++ {
		listing, err := s.table.listNow(ctx)
		if err != nil {
			return listing, err
		}
		more := make([]bool, len(streams))
		var wg sync.WaitGroup
		slots := make(chan struct{}, creators)
		for i, st := range todo {
			slots <- struct{}{}
			wg.Go(func() { // ends with its writes
				defer func() { <-slots }()
				more[i], errs[i] = s.claimOne(ctx, st, lists[i], listErrs[i], listing)
			})
		}
		wg.Wait()
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

// claimOne does what is missing for the claim of one stream. more says that the
// table has to be listed again.
func (s *Scheduler) claimOne(ctx context.Context, st *stream, list *shardList, listErr error, listing leases.Listing) (more bool, err error) {
	rows := listing.Leases
	if err := st.checkRows(rows); err != nil {
		return false, s.withdraw(ctx, st, err)
	}
	c := shardsync.PlanClaim(rows, st.marks)
	if c.Unproven {
		if listErr != nil && !st.keyed() {
			return false, listErr
		}
		if listErr == nil && !shardsync.Fits(st.rowsOf(rows), list.shards) {
			return false, fmt.Errorf("%w: it looks like the table of another stream than %s: of its leases, which do not say whose they are, none has the hash keys, parents and numbers of a shard of that stream: "+
				"use another table (Config.Table); when the leases are those of the stream, stop all workers and run `kclctl leases adopt -application %s -stream %s -table TABLE`",
				leases.ErrForeignTable, st.id.ARN, st.marks.Application, st.id.ARN)
		}
	}
	if c.Anchor != nil && c.Anchor.NativeOwner == s.cfg.WorkerID {
		c.Anchor = nil // nobody else takes it back
	}
	if c.Done() {
		st.setClaimed()
		return false, listErr
	}
	updates := c.Adopt
	if c.Anchor != nil {
		updates = append(updates, shardsync.Confirm(*c.Anchor))
	}
	for _, u := range updates {
		if err := s.table.update(ctx, u); err != nil {
			return false, err
		}
	}
	if !c.Vacant {
		return true, nil
	}
	if listErr != nil {
		return false, listErr
	}
	plan, _, err := s.seenRows.planMissing(ctx, st, list, rows)
	if err != nil || len(plan) == 0 {
		return false, err
	}
	plan = slices.DeleteFunc(plan, func(row leases.Lease) bool {
		return slices.ContainsFunc(listing.Bad, func(bad *leases.RowError) bool { return bad.Key == row.Key })
	})
	if len(plan) == 0 { // rows are there, and cannot be read: Healthy tells
		st.setClaimed()
		return false, nil
	}
	anchor := plan[0]
	anchor.NativeOwner = s.cfg.WorkerID // by which the maker knows it again
	_, err = s.table.create(ctx, anchor)
	st.anchor = anchor.Key // also when the answer got lost
	return err == nil, err
}

// keyed tells whether the keys of the rows prove whose they are, but for the
// region: they have account and name of the stream, and when it was created.
func (st *stream) keyed() bool { return st.multi && st.id.CreationEpoch == st.created.Unix() }

// withdraw deletes the anchor of a worker that is refused, if nobody else of the
// application relies on it yet. It returns why the worker is refused.
func (s *Scheduler) withdraw(ctx context.Context, st *stream, cause error) error {
	if st.anchor == "" {
		return cause
	}
	backoff := retry.New(firstBackoff, maxBackoff)
	for attempt := 1; ; attempt++ {
		err := s.deleteAnchor(ctx, st.anchor)
		if err == nil {
			st.anchor = ""
			return cause
		}
		if attempt == withdrawAttempts || backoff.Wait(ctx) != nil {
			return fmt.Errorf("%w; lease %q, which this worker has just made, could not be deleted: %w", cause, st.anchor, err)
		}
	}
}

func (s *Scheduler) deleteAnchor(ctx context.Context, key string) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	row, err := s.cfg.Leases.Get(ctx, key)
	if errors.Is(err, leases.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	if row.NativeOwner != s.cfg.WorkerID || row.Counter != 0 || row.ActualOwner() != "" {
		return nil // not ours, or confirmed by another worker of this application
	}
	err = s.cfg.Leases.Delete(ctx, row, leases.AttrAll)
	if _, ok := errors.AsType[*leases.ConflictError](err); ok {
		return nil
	}
	return err
}

// markRows marks rows of the stream that nobody owns. Rows with an owner get
// their marks when they are taken.
func (s *Scheduler) markRows(ctx context.Context, st *stream, rows []leases.Lease) error {
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
		var wg sync.WaitGroup
		for i, u := range chunk {
			wg.Go(func() { errs[i] = s.table.update(ctx, u) }) // ends with the call
		}
		wg.Wait()
		for _, err := range errs {
			if err != nil { // one is enough: it is the table that fails
				return err
			}
		}
	}
	return nil
}

// maxMarks is how many rows a synchronisation marks; what is left waits for the
// next one.
const maxMarks = 500
