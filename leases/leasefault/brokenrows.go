package leasefault

import (
	"cmp"
	"context"
	"slices"
	"sync"

	"github.com/kinesis-go/kcl/leases"
)

// brokenRows is a store of which some rows cannot be read.
type brokenRows struct {
	leases.Store
	mu   sync.Mutex       // guards the field below
	errs map[string]error // of the broken rows, by key
}

func (b *brokenRows) set(key string, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err == nil {
		delete(b.errs, key)
		return
	}
	b.errs[key] = err
}

// check returns a [*leases.RowError] if the row of key is broken.
func (b *brokenRows) check(key string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.errs[key]; err != nil {
		return &leases.RowError{Key: key, Err: err}
	}
	return nil
}

func (b *brokenRows) List(ctx context.Context) (leases.Listing, error) {
	return b.list(ctx, b.Store.List)
}

func (b *brokenRows) ListNow(ctx context.Context) (leases.Listing, error) {
	return b.list(ctx, b.Store.ListNow)
}

func (b *brokenRows) list(
	ctx context.Context, list func(context.Context) (leases.Listing, error),
) (leases.Listing, error) {
	l, err := list(ctx)
	b.mu.Lock()
	defer b.mu.Unlock()
	if err != nil || len(b.errs) == 0 {
		return l, err
	}
	l.Leases = slices.DeleteFunc(l.Leases, func(row leases.Lease) bool { return b.errs[row.Key] != nil })
	l.Bad = slices.DeleteFunc(l.Bad, func(bad *leases.RowError) bool { return b.errs[bad.Key] != nil })
	for key, err := range b.errs {
		l.Bad = append(l.Bad, &leases.RowError{Key: key, Err: err})
	}
	slices.SortFunc(l.Bad, func(x, y *leases.RowError) int { return cmp.Compare(x.Key, y.Key) })
	return l, nil
}

func (b *brokenRows) Get(ctx context.Context, key string) (leases.Lease, error) {
	if err := b.check(key); err != nil {
		return leases.Lease{}, err
	}
	return b.Store.Get(ctx, key)
}

func (b *brokenRows) Create(ctx context.Context, l leases.Lease) error {
	if err := b.check(l.Key); err != nil {
		return err
	}
	return b.Store.Create(ctx, l)
}

func (b *brokenRows) Update(ctx context.Context, u leases.Update) error {
	if err := b.check(u.Read.Key); err != nil {
		return err
	}
	return b.Store.Update(ctx, u)
}
