package leasefault

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// Injector stands in front of a [leases.Store] and lets its calls fail. Make one with [New]. It is
// safe for concurrent use.
type Injector struct {
	fault  atomic.Pointer[Fault]
	lagged *laggedStore
	rows   *brokenRows
	store  leases.Store // what Store returns
}

// New returns an Injector in front of store, without any fault. It makes no call.
func New(store leases.Store) *Injector {
	i := &Injector{lagged: newLaggedStore(store)}
	i.rows = &brokenRows{Store: i.lagged, errs: map[string]error{}}
	i.store = i.withOptional(store)
	return i
}

// Store returns the store with its faults, to be given to a worker. It is a [leases.SharedStore] if
// the store given to [New] is one, and has the method Validate if that store has. Faults apply to
// the calls of its fleet too, and not to Validate.
func (i *Injector) Store() leases.Store { return i.store }

// SetFault replaces the fault. It applies to calls that begin later. nil, the default, is no fault.
func (i *Injector) SetFault(fault Fault) {
	if fault == nil {
		i.fault.Store(nil)
		return
	}
	i.fault.Store(&fault)
}

// SetListLag makes List show the table as it was d ago, as an eventually consistent scan does. All
// other calls, ListNow among them, see the latest rows. 0, the default, is no lag.
//
// The lag concerns writes to leases through this Injector, from now on. Writes that do not pass it
// appear at once. Under a lag such writes run one after the other, and each reads its row first.
func (i *Injector) SetListLag(d time.Duration) { i.lagged.setLag(d) }

// SetRowError makes the row of key unreadable, like a row that a faulty program wrote: List and
// ListNow have it in Listing.Bad with err, even if there is no such row, and Get, Create and Update
// return a [*leases.RowError]. Delete deletes it. A nil err repairs the row.
func (i *Injector) SetRowError(key string, err error) { i.rows.set(key, err) }

// do makes one call under the fault.
func (i *Injector) do(ctx context.Context, call Call, apply func(context.Context) error) error {
	fault := i.fault.Load()
	if fault == nil {
		return apply(ctx)
	}
	return (*fault)(ctx, call, func() error { return apply(context.WithoutCancel(ctx)) })
}

// read is do for a call with a result. The result is zero when the caller gets an error, because
// the fault may still be making the call then.
func read[T any](ctx context.Context, i *Injector, call Call, get func(context.Context) (T, error)) (T, error) {
	var result, none T
	err := i.do(ctx, call, func(ctx context.Context) (err error) {
		result, err = get(ctx)
		return err
	})
	if err != nil {
		return none, err
	}
	return result, nil
}
