// Package guardedstore protects the library from a lease store, which can be user code. Init and
// each call for one row get a deadline, and a panic becomes an error.
package guardedstore

import (
	"context"
	"time"

	"github.com/kinesis-go/kcl/internal/usercode"
	"github.com/kinesis-go/kcl/leases"
)

// New returns a guarded store, or nil for nil. timeout is the limit of a call for one row. The
// guarded store has a fleet if store has one.
func New(store leases.Store, timeout time.Duration) leases.Store {
	if store == nil {
		return nil
	}
	g := guardedStore{store, timeout}
	if shared, ok := store.(leases.SharedStore); ok {
		return guardedSharedStore{guardedStore: g, shared: shared}
	}
	return g
}

type guardedStore struct {
	store   leases.Store
	timeout time.Duration
}

// initTimeout is the limit of Init, which may wait for a new table. DynamoDB makes a table within
// seconds, and sometimes a minute.
const initTimeout = 90 * time.Second

func (g guardedStore) Init(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, initTimeout)
	defer cancel()
	return usercode.Call(func() error { return g.store.Init(ctx) })
}

func (g guardedStore) List(ctx context.Context) (leases.Listing, error) {
	return call(func() (leases.Listing, error) { return g.store.List(ctx) })
}

func (g guardedStore) ListNow(ctx context.Context) (leases.Listing, error) {
	return call(func() (leases.Listing, error) { return g.store.ListNow(ctx) })
}

func (g guardedStore) Get(ctx context.Context, key string) (out leases.Lease, err error) {
	err = g.callRow(ctx, func(ctx context.Context) (err error) { out, err = g.store.Get(ctx, key); return err })
	return out, err
}

func (g guardedStore) Create(ctx context.Context, l leases.Lease) error {
	return g.callRow(ctx, func(ctx context.Context) error { return g.store.Create(ctx, l) })
}

func (g guardedStore) Update(ctx context.Context, u leases.Update) error {
	return g.callRow(ctx, func(ctx context.Context) error { return g.store.Update(ctx, u) })
}

func (g guardedStore) Delete(ctx context.Context, read leases.Lease, expect leases.Attr) error {
	return g.callRow(ctx, func(ctx context.Context) error { return g.store.Delete(ctx, read, expect) })
}

// callRow makes a call for one row.
func (g guardedStore) callRow(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, g.timeout)
	defer cancel()
	return usercode.Call(func() error { return f(ctx) })
}
