package leases

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
)

// Store keeps lease rows. leases/dynamodb, leases/redis and leases/memory implement it, and
// leases/leasetest tests any other implementation. A store has no policy. All methods are safe for
// concurrent use and return when ctx ends. A store writes single attributes, never whole items, so
// attributes that it does not know survive. It logs to [Logger] unless it has a logger of its own.
type Store interface {
	// Init makes the table if it does not exist, and waits until the table can be used. Several
	// workers may call Init at the same time. A table of a foreign layout is an error that wraps
	// [ErrForeignTable].
	Init(ctx context.Context) error

	// List returns all rows, in no order. The answer may lack the latest writes. A row that cannot be
	// read is in Listing.Bad and is no error.
	List(ctx context.Context) (Listing, error)

	// ListNow is List, but shows every write that was accepted before the call. It may cost more than
	// List. It serves decisions that are safe only if no row is missing from the answer.
	ListNow(ctx context.Context) (Listing, error)

	// Get returns one row as it is now, after all accepted writes. The error wraps [ErrNotFound] when
	// there is no such row, and is a [*RowError] when the row cannot be read.
	Get(ctx context.Context, key string) (Lease, error)

	// Create makes a row. If a row with the key exists, that row stays as it is, and the error is a
	// [*ConflictError].
	Create(ctx context.Context, l Lease) error

	// Update changes attributes of a row in one conditional write. When the row does not exist or is
	// not as expected, nothing changes and the error is a [*ConflictError]. After any other error the
	// write may or may not have happened.
	Update(ctx context.Context, u Update) error

	// Delete removes a row if the attributes expect are as in read. A row that does not exist is no
	// error. A row that differs is a [*ConflictError].
	Delete(ctx context.Context, read Lease, expect Attr) error
}

// loggerKey is the key of the logger in a context.
type loggerKey struct{}

// WithLogger returns a context in which [Logger] returns log. The scheduler calls its store with
// such contexts, so that the log of the store goes where its own log goes.
func WithLogger(ctx context.Context, log *slog.Logger) context.Context {
	return context.WithValue(ctx, loggerKey{}, log)
}

// Logger returns the logger of the caller of a [Store], or else slog.Default(). A store that has no
// logger of its own logs to it.
func Logger(ctx context.Context) *slog.Logger {
	if log, ok := ctx.Value(loggerKey{}).(*slog.Logger); ok {
		return log
	}
	return slog.Default()
}

// Listing is the result of [Store.List].
type Listing struct {
	// Leases are the readable rows, in no order.
	Leases []Lease
	// Bad are the rows that cannot be read, each with the reason. They are left alone.
	Bad []*RowError
	// Workers are the readable metrics of workers in the same table; see [FleetStore].
	Workers []WorkerMetrics
}

// Update is a conditional write: it sets the attributes Set to their values in To if the row exists
// and its attributes Expect are as in Read. Where a table leaves out values that are zero, such a
// value in To removes the attribute.
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
	// Key is the key of the row.
	Key string
	// Current is the row as the store found it; nil when there is no row, or the row is no lease.
	Current *Lease
}

// Error implements error.
func (e *ConflictError) Error() string {
	if e.Current == nil {
		return fmt.Sprintf("leases: row %q does not exist any more, or is not as expected", e.Key)
	}
	return fmt.Sprintf("leases: lease %q was changed meanwhile (owner %q, counter %d)",
		e.Key, e.Current.ActualOwner(), e.Current.Counter)
}

// RowError says that a row cannot be read as a lease. Such a row is left alone. Other rows are not
// affected.
type RowError struct {
	// Key is the key of the row, as far as it could be read.
	Key string
	// Err names the attribute, its value and what was expected.
	Err error
}

// Error implements error.
func (e *RowError) Error() string { return fmt.Sprintf("leases: row %q: %v", e.Key, e.Err) }

// Unwrap returns Err.
func (e *RowError) Unwrap() error { return e.Err }
