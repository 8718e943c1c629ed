package memory

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// Call describes one call that a worker makes.
type Call struct {
	// Op is the method of [leases.Store] in lower case: init, list (of ListNow,
	// too), get, create, update or delete.
	Op string
	// Key of the row, where there is one.
	Key string
	// Update of an update; zero otherwise.
	Update leases.Update
}

// Fault stands between one worker and the table. It calls apply when, and as
// often as, the call shall take effect, and returns what the worker gets to
// hear. It runs on the worker's goroutine and should return when ctx ends; a
// call that shall take effect later can be made from a goroutine of its own.
type Fault func(ctx context.Context, call Call, apply func() error) error

// Client is a [Store] as one worker sees it. It is safe for concurrent use.
type Client struct {
	store *Store
	fault atomic.Pointer[Fault]
}

var _ leases.Store = (*Client)(nil)

// Client returns a view of the table for one worker, with or without a fault.
func (s *Store) Client(fault Fault) *Client {
	c := &Client{store: s}
	c.SetFault(fault)
	return c
}

// SetFault replaces the fault; nil is a healthy table.
func (c *Client) SetFault(fault Fault) {
	if fault == nil {
		c.fault.Store(nil)
		return
	}
	c.fault.Store(&fault)
}

// Kill makes the table fall silent for this worker for ever, as if its process
// had died: calls have no effect any more and never get an answer.
func (c *Client) Kill() { c.SetFault(Silent) }

// Silent is the [Fault] of a table that never answers and that nothing reaches.
func Silent(ctx context.Context, _ Call, _ func() error) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// Failing returns the [Fault] of a table that answers every call with err.
func Failing(err error) Fault {
	return func(context.Context, Call, func() error) error { return err }
}

// Lossy returns a [Fault] under which every call takes effect, but the answers
// of writes are lost and err comes instead.
func Lossy(err error) Fault {
	return func(_ context.Context, call Call, apply func() error) error {
		answer := apply()
		switch call.Op {
		case "create", "update", "delete":
			return err
		}
		return answer
	}
}

// Slow returns the [Fault] of a table that takes d for every call.
func Slow(d time.Duration) Fault {
	return func(ctx context.Context, _ Call, apply func() error) error {
		t := time.NewTimer(d)
		defer t.Stop()
		select {
		case <-t.C:
			return apply()
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Late returns the [Fault] of a table to which every write gets d after its
// caller has given up: the caller never gets an answer, and the write takes effect
// all the same, if it still can then. Reads are not affected.
func Late(d time.Duration) Fault {
	return func(ctx context.Context, call Call, apply func() error) error {
		switch call.Op {
		case "create", "update", "delete":
		default:
			return apply()
		}
		<-ctx.Done()
		time.AfterFunc(d, func() { _ = apply() }) // nobody is left to be told
		return context.Cause(ctx)
	}
}

func (c *Client) do(ctx context.Context, call Call, apply func(context.Context) error) error {
	fault := c.fault.Load()
	if fault == nil {
		return apply(ctx)
	}
	// What a fault applies after the caller has gone still takes effect.
	return (*fault)(ctx, call, func() error { return apply(context.WithoutCancel(ctx)) })
}

// Init implements [leases.Store].
func (c *Client) Init(ctx context.Context) error {
	return c.do(ctx, Call{Op: "init"}, c.store.Init)
}

// List implements [leases.Store].
func (c *Client) List(ctx context.Context) (leases.Listing, error) { return c.list(ctx, c.store.List) }

// ListNow implements [leases.Store].
func (c *Client) ListNow(ctx context.Context) (leases.Listing, error) {
	return c.list(ctx, c.store.ListNow)
}

func (c *Client) list(ctx context.Context, list func(context.Context) (leases.Listing, error)) (leases.Listing, error) {
	var l leases.Listing
	err := c.do(ctx, Call{Op: "list"}, func(ctx context.Context) (err error) {
		l, err = list(ctx)
		return err
	})
	if err != nil {
		return leases.Listing{}, err
	}
	return l, nil
}

// Get implements [leases.Store].
func (c *Client) Get(ctx context.Context, key string) (leases.Lease, error) {
	var l leases.Lease
	err := c.do(ctx, Call{Op: "get", Key: key}, func(ctx context.Context) (err error) {
		l, err = c.store.Get(ctx, key)
		return err
	})
	if err != nil {
		return leases.Lease{}, err
	}
	return l, nil
}

// Create implements [leases.Store].
func (c *Client) Create(ctx context.Context, l leases.Lease) error {
	return c.do(ctx, Call{Op: "create", Key: l.Key}, func(ctx context.Context) error {
		return c.store.Create(ctx, l)
	})
}

// Update implements [leases.Store].
func (c *Client) Update(ctx context.Context, u leases.Update) error {
	return c.do(ctx, Call{Op: "update", Key: u.Read.Key, Update: u}, func(ctx context.Context) error {
		return c.store.Update(ctx, u)
	})
}

// Delete implements [leases.Store].
func (c *Client) Delete(ctx context.Context, read leases.Lease, expect leases.Attr) error {
	return c.do(ctx, Call{Op: "delete", Key: read.Key}, func(ctx context.Context) error {
		return c.store.Delete(ctx, read, expect)
	})
}
