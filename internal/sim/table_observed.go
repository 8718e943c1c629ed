package sim

import (
	"context"

	"github.com/kinesis-go/kcl/internal/sim/check"
	"github.com/kinesis-go/kcl/leases"
)

// observed tells the Checker of the writes to a store.
type observed struct {
	leases.Store
	check *check.Checker
	turn  chan struct{} // holds a value during a write, so that a write and its event are one step
}

type writerKey struct{}

func (o *observed) write(ctx context.Context, key string, write func() error) error {
	o.turn <- struct{}{}
	defer func() { <-o.turn }()
	before := o.row(key)
	err := write()
	if err == nil {
		writer, _ := ctx.Value(writerKey{}).(string)
		o.check.Wrote(writer, before, o.row(key))
	}
	return err
}

// row returns a row, or nil.
func (o *observed) row(key string) *leases.Lease {
	row, err := o.Store.Get(context.Background(), key)
	if err != nil {
		return nil
	}
	return &row
}

func (o *observed) Create(ctx context.Context, l leases.Lease) error {
	return o.write(ctx, l.Key, func() error { return o.Store.Create(ctx, l) })
}

func (o *observed) Update(ctx context.Context, u leases.Update) error {
	return o.write(ctx, u.Read.Key, func() error { return o.Store.Update(ctx, u) })
}

func (o *observed) Delete(ctx context.Context, read leases.Lease, expect leases.Attr) error {
	return o.write(ctx, read.Key, func() error { return o.Store.Delete(ctx, read, expect) })
}

// signed is a store whose writes carry the name of their writer.
type signed struct {
	leases.Store
	writer string
}

func (s signed) sign(ctx context.Context) context.Context {
	return context.WithValue(ctx, writerKey{}, s.writer)
}

func (s signed) Create(ctx context.Context, l leases.Lease) error {
	return s.Store.Create(s.sign(ctx), l)
}

func (s signed) Update(ctx context.Context, u leases.Update) error {
	return s.Store.Update(s.sign(ctx), u)
}

func (s signed) Delete(ctx context.Context, read leases.Lease, expect leases.Attr) error {
	return s.Store.Delete(s.sign(ctx), read, expect)
}
