package scheduler

import (
	"context"

	"github.com/kinesis-go/kcl/internal/usercode"
	"github.com/kinesis-go/kcl/leases"
)

// guardStore gives every call for one row a deadline, and contains panics: a store
// can be a user's own. The calls of leases have shorter deadlines of their own.
func guardStore(store leases.Store) leases.Store {
	if store == nil {
		return nil
	}
	g := guardedStore{store}
	if fleet, ok := store.(leases.FleetStore); ok {
		return guardedFleetStore{FleetStore: fleet, guarded: g}
	}
	return g
}

type guardedStore struct{ store leases.Store }

func (g guardedStore) Init(ctx context.Context) error {
	return usercode.Call(func() error { return g.store.Init(ctx) })
}

func (g guardedStore) List(ctx context.Context) (out leases.Listing, err error) {
	err = usercode.Call(func() (err error) { out, err = g.store.List(ctx); return err })
	return out, err
}

func (g guardedStore) ListNow(ctx context.Context) (out leases.Listing, err error) {
	err = usercode.Call(func() (err error) { out, err = g.store.ListNow(ctx); return err })
	return out, err
}

func (g guardedStore) Get(ctx context.Context, key string) (out leases.Lease, err error) {
	err = callRow(ctx, func(ctx context.Context) (err error) { out, err = g.store.Get(ctx, key); return err })
	return out, err
}

func (g guardedStore) Create(ctx context.Context, l leases.Lease) error {
	return callRow(ctx, func(ctx context.Context) error { return g.store.Create(ctx, l) })
}

func (g guardedStore) Update(ctx context.Context, u leases.Update) error {
	return callRow(ctx, func(ctx context.Context) error { return g.store.Update(ctx, u) })
}

func (g guardedStore) Delete(ctx context.Context, read leases.Lease, expect leases.Attr) error {
	return callRow(ctx, func(ctx context.Context) error { return g.store.Delete(ctx, read, expect) })
}

func callRow(ctx context.Context, f func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	return usercode.Call(func() error { return f(ctx) })
}

// guardedFleetStore guards what every store has.
type guardedFleetStore struct {
	leases.FleetStore
	guarded guardedStore
}

func (g guardedFleetStore) Init(ctx context.Context) error { return g.guarded.Init(ctx) }

func (g guardedFleetStore) List(ctx context.Context) (leases.Listing, error) {
	return g.guarded.List(ctx)
}

func (g guardedFleetStore) ListNow(ctx context.Context) (leases.Listing, error) {
	return g.guarded.ListNow(ctx)
}

func (g guardedFleetStore) Get(ctx context.Context, key string) (leases.Lease, error) {
	return g.guarded.Get(ctx, key)
}

func (g guardedFleetStore) Create(ctx context.Context, l leases.Lease) error {
	return g.guarded.Create(ctx, l)
}

func (g guardedFleetStore) Update(ctx context.Context, u leases.Update) error {
	return g.guarded.Update(ctx, u)
}

func (g guardedFleetStore) Delete(ctx context.Context, read leases.Lease, expect leases.Attr) error {
	return g.guarded.Delete(ctx, read, expect)
}
