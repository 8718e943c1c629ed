package scheduler

import (
	"context"
	"errors"
	"fmt"

	"github.com/kinesis-go/kcl/internal/line"
	"github.com/kinesis-go/kcl/internal/parallel"
	"github.com/kinesis-go/kcl/internal/shardsync"
	"github.com/kinesis-go/kcl/leases"
)

// creators is how many rows are written at the same time.
const creators = 10

// rowTable is the lease table with a time limit for listings. Its create and update return no error
// for a conflict, because another worker may have made the same write.
type rowTable struct{ leases.Store }

// list reads the whole table. The listing may lag.
func (t *rowTable) list(ctx context.Context) (leases.Listing, error) { return list(ctx, t.List) }

// listNow reads the whole table consistently.
func (t *rowTable) listNow(ctx context.Context) (leases.Listing, error) { return list(ctx, t.ListNow) }

func list(ctx context.Context, read func(context.Context) (leases.Listing, error)) (leases.Listing, error) {
	listing, err := line.Call(ctx, scanTimeout, read)
	if err != nil {
		return leases.Listing{}, fmt.Errorf("list the lease table: %w", err)
	}
	return listing, nil
}

// create makes a row. made is false if the row exists. A conflict that shows no row is an error.
func (t *rowTable) create(ctx context.Context, row leases.Lease) (made bool, err error) {
	err = t.Create(ctx, row)
	if conflict, ok := errors.AsType[*leases.ConflictError](err); ok && conflict.Current != nil {
		return false, nil
	}
	if _, ok := errors.AsType[*leases.RowError](err); ok {
		return false, nil // the row exists and cannot be read: Healthy reports it
	}
	if err != nil {
		return false, fmt.Errorf("create lease %s: %w", row.Key, err)
	}
	return true, nil
}

// createAll makes rows at the same time. made counts those that did not exist.
func (t *rowTable) createAll(ctx context.Context, rows []leases.Lease) (made int, err error) {
	results, errs := make([]bool, len(rows)), make([]error, len(rows))
	parallel.Do(len(rows), creators, func(i int) { results[i], errs[i] = t.create(ctx, rows[i]) })
	for i, ok := range results {
		if ok {
			made++
		}
		err = firstError(err, errs[i]) // the others mostly have the same cause
	}
	return made, err
}

// update makes a write. A conflict is no error: another worker made the write, or a later
// synchronisation plans it again.
func (t *rowTable) update(ctx context.Context, u leases.Update) error {
	err := t.Update(ctx, u)
	if _, ok := errors.AsType[*leases.ConflictError](err); ok {
		return nil
	}
	if err != nil {
		return fmt.Errorf("mark lease %s: %w", u.Read.Key, err)
	}
	return nil
}

// check returns an error if the table belongs to another application. It needs no stream.
func (t *rowTable) check(ctx context.Context, application string, multi bool) error {
	listing, err := t.listNow(ctx)
	if err != nil {
		return err
	}
	for _, row := range listing.Leases {
		if err := (shardsync.Marks{Application: application, Stream: row.Stream}).Check(row); err != nil {
			return err
		}
	}
	return checkKeyForm(multi, listing.Leases)
}

// firstError returns a unless it is nil, else b.
func firstError(a, b error) error {
	if a != nil {
		return a
	}
	return b
}
