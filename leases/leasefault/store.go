package leasefault

import (
	"context"

	"github.com/kinesis-go/kcl/leases"
)

// faultyStore makes the calls of a store under the fault of an Injector.
type faultyStore struct {
	i     *Injector
	store leases.Store
}

func (s faultyStore) Init(ctx context.Context) error {
	return s.i.do(ctx, Call{Op: "init"}, s.store.Init)
}

func (s faultyStore) List(ctx context.Context) (leases.Listing, error) {
	return read(ctx, s.i, Call{Op: "list"}, s.store.List)
}

func (s faultyStore) ListNow(ctx context.Context) (leases.Listing, error) {
	return read(ctx, s.i, Call{Op: "list"}, s.store.ListNow)
}

func (s faultyStore) Get(ctx context.Context, key string) (leases.Lease, error) {
	return read(ctx, s.i, Call{Op: "get", Key: key}, func(ctx context.Context) (leases.Lease, error) {
		return s.store.Get(ctx, key)
	})
}

func (s faultyStore) Create(ctx context.Context, l leases.Lease) error {
	return s.i.do(ctx, Call{Op: "create", Key: l.Key}, func(ctx context.Context) error {
		return s.store.Create(ctx, l)
	})
}

func (s faultyStore) Update(ctx context.Context, u leases.Update) error {
	return s.i.do(ctx, Call{Op: "update", Key: u.Read.Key, Update: u}, func(ctx context.Context) error {
		return s.store.Update(ctx, u)
	})
}

func (s faultyStore) Delete(ctx context.Context, read leases.Lease, expect leases.Attr) error {
	return s.i.do(ctx, Call{Op: "delete", Key: read.Key}, func(ctx context.Context) error {
		return s.store.Delete(ctx, read, expect)
	})
}

// validator is the optional method with which a store checks its settings. The scheduler calls it.
type validator interface{ Validate() error }

// fleetStores is the method that makes a store a [leases.SharedStore].
type fleetStores interface{ Fleet() leases.FleetStore }

// faultyFleets is the fleetStores of an Injector.
type faultyFleets struct {
	i      *Injector
	shared leases.SharedStore
}

func (f faultyFleets) Fleet() leases.FleetStore { return faultyFleet{f.i, f.shared.Fleet()} }

// withOptional returns the faulty store with exactly those optional methods that store has.
func (i *Injector) withOptional(store leases.Store) leases.Store {
	faulty := faultyStore{i, i.rows}
	v, validates := store.(validator)
	shared, isShared := store.(leases.SharedStore)
	switch fleets := (faultyFleets{i, shared}); {
	case validates && isShared:
		return struct {
			faultyStore
			fleetStores
			validator
		}{faulty, fleets, v}
	case isShared:
		return struct {
			faultyStore
			fleetStores
		}{faulty, fleets}
	case validates:
		return struct {
			faultyStore
			validator
		}{faulty, v}
	}
	return faulty
}
