package leases

import (
	"context"
	"errors"
	"fmt"
)

// Store keeps lease rows: leases/dynamodb, leases/redis, leases/memory, or another
// that passes leases/leasetest. It holds no policy; the scheduler decides over
// [Lease] values. All methods are safe for concurrent use and
// return when ctx ends. A Store writes attributes, never whole items, so
// attributes that it does not know survive.
type Store interface {
	// Init makes the table if it does not exist and waits until it can be
	// used. Several workers may call it at the same time. A table of a foreign
	// layout is an error that wraps [ErrForeignTable].
	Init(ctx context.Context) error

	// List returns all rows, in no order. It may be behind the latest writes.
	// A row that cannot be read is in Listing.Bad and is no error.
	List(ctx context.Context) (Listing, error)

	// ListNow is List, but shows every write that was accepted before the call.
	// It may cost more than List, and is called at decisions for which a row
	// that is not shown must not be there.
	ListNow(ctx context.Context) (Listing, error)

	// Get returns one row as it is now, after all accepted writes. The error
	// wraps [ErrNotFound] when there is none, and is a [*RowError] when the
	// row cannot be read.
	Get(ctx context.Context, key string) (Lease, error)

	// Create makes a row. If one with its key exists it is left as it is, and
	// the error is a [*ConflictError].
	Create(ctx context.Context, l Lease) error

	// Update changes attributes of a row in one conditional write. When the
	// row is not as expected, or not there, nothing changes and the error is a
	// [*ConflictError]. Any other error leaves open whether the write happened.
	Update(ctx context.Context, u Update) error

	// Delete removes a row if the attributes expect are as in read. A row that
	// is not there is no error; one that differs is a [*ConflictError].
	Delete(ctx context.Context, read Lease, expect Attr) error
}

// Listing is what [Store.List] found.
type Listing struct {
	// Leases are the rows that could be read, in no order.
	Leases []Lease
	// Bad are the others, with what is wrong with each. They are left alone.
	Bad []*RowError
	// Workers are the metrics of workers that were in the same table, as far as
	// they can be read; see [FleetStore].
	Workers []WorkerMetrics
}

// Update is a conditional write: set the attributes Set to their values in To,
// if the row exists and its attributes Expect are as in Read. A value that is
// zero in To is removed from the row where the table's format leaves absent
// values out.
type Update struct {
	Read   Lease
	Expect Attr
	To     Lease
	Set    Attr
}

// ErrNotFound says that the table has no row with the key.
var ErrNotFound = errors.New("leases: no such lease")

// ErrTableNotFound says that the table was deleted, or was never made.
var ErrTableNotFound = errors.New("leases: table not found")

// ErrForeignTable says that the table is no lease table, or is the lease table of another
// application or stream. Use another table.
var ErrForeignTable = errors.New("leases: not the lease table of this application")

// ConflictError says that a row was not as a conditional write expected it.
type ConflictError struct {
	// Key of the row.
	Key string
	// Current is the row as the store found it; nil when there is none, or it is
	// no lease.
	Current *Lease
}

// Error implements error.
func (e *ConflictError) Error() string {
	if e.Current == nil {
		return fmt.Sprintf("leases: row %q does not exist any more, or is not as expected", e.Key)
	}
	return fmt.Sprintf("leases: lease %q was changed meanwhile (owner %q, counter %d)", e.Key, e.Current.ActualOwner(), e.Current.Counter)
}

// RowError says that a row cannot be read as a lease. Such a row is left
// alone; the others are not affected.
type RowError struct {
	// Key of the row, as far as it could be read.
	Key string
	// Err names the attribute, its value and what was expected.
	Err error
}

// Error implements error.
func (e *RowError) Error() string { return fmt.Sprintf("leases: row %q: %v", e.Key, e.Err) }

// Unwrap returns what is wrong with the row.
func (e *RowError) Unwrap() error { return e.Err }
