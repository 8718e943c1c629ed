package leasefault

import (
	"context"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// Call describes one call of a store.
type Call struct {
	// Op is the called method of [leases.Store] or [leases.FleetStore] in lower case, such as
	// "update" or "reportworker". ListNow is "list", like List.
	Op string
	// Key is the key of the lease; empty for calls that name no lease.
	Key string
	// Update is the argument of an update; otherwise zero.
	Update leases.Update
}

// Writes tells whether the call may change the table. It is false for Init, which makes a table
// only once.
func (c Call) Writes() bool {
	switch c.Op {
	case "init", "list", "get", "hasindex", "ownedby", "workers", "leader", "migrations":
		return false
	}
	return true
}

// Fault stands between a caller and the table. It decides what happens to one call.
//
// apply makes the call and returns the table's answer. A Fault may call apply once, several times
// or never. The call takes effect even after ctx has ended. The caller gets the error that the
// Fault returns. When that error is nil, the caller also gets the result of the last apply.
//
// A Fault runs on the caller's goroutine, and several calls may run at the same time. It should
// return when ctx ends. To let a call take effect later, call apply from another goroutine, and
// return an error.
type Fault func(ctx context.Context, call Call, apply func() error) error

// Silent is the [Fault] of a table that never answers, and that no call reaches. To the other
// workers a worker with this fault looks like a killed process.
func Silent(ctx context.Context, _ Call, _ func() error) error {
	<-ctx.Done()
	return context.Cause(ctx)
}

// Failing returns the [Fault] of a table that answers every call with err. No call takes effect.
func Failing(err error) Fault {
	return func(context.Context, Call, func() error) error { return err }
}

// Lossy returns the [Fault] of a table whose answers to writes get lost. Every call takes effect.
// A write returns err, whether the table accepted the write or not.
func Lossy(err error) Fault {
	return func(_ context.Context, call Call, apply func() error) error {
		answer := apply()
		if call.Writes() {
			return err
		}
		return answer
	}
}

// Slow returns the [Fault] of a table that takes d for every call. A call whose context ends
// sooner takes no effect.
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

// Late returns the [Fault] of a network that delays writes. A write gets no answer. It reaches the
// table d after its context has ended, and takes effect if its condition still holds then. Other
// calls are not affected.
func Late(d time.Duration) Fault {
	return func(ctx context.Context, call Call, apply func() error) error {
		if !call.Writes() {
			return apply()
		}
		<-ctx.Done()
		time.AfterFunc(d, func() { _ = apply() }) // the caller has gone, nobody reads the answer
		return context.Cause(ctx)
	}
}
