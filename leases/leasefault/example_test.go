package leasefault_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/leases/memory"
)

// Each worker of a test has an Injector of its own, so that its table can fail alone.
func Example() {
	ctx := context.Background()
	table := memory.New()
	healthy, broken := leasefault.New(table), leasefault.New(table)
	broken.SetFault(leasefault.Failing(errors.New("no connection")))
	fmt.Println(healthy.Store().Init(ctx))
	fmt.Println(broken.Store().Init(ctx))
	broken.SetFault(nil)
	fmt.Println(broken.Store().Init(ctx))
	// Output:
	// <nil>
	// no connection
	// <nil>
}

// A Fault of your own chooses the calls that fail. This one loses the answer of the first
// checkpoint: the table has the checkpoint, and the worker does not know.
func ExampleFault() {
	ctx := context.Background()
	table := memory.New()
	faults := leasefault.New(table)
	faults.SetFault(func(_ context.Context, call leasefault.Call, apply func() error) error {
		err := apply()
		if call.Op == "update" && call.Update.Set.Has(leases.AttrCheckpoint) {
			faults.SetFault(nil)
			return errors.New("the answer was lost")
		}
		return err
	})

	row := leases.Lease{Key: "shardId-000000000000"}
	fmt.Println("create:", faults.Store().Create(ctx, row))
	to := row
	to.Checkpoint.SequenceNumber = "42"
	update := leases.Update{Read: row, To: to, Set: leases.AttrCheckpoint}
	fmt.Println("checkpoint:", faults.Store().Update(ctx, update))
	row, err := table.Get(ctx, row.Key)
	fmt.Println("in the table:", row.Checkpoint, err)
	// Output:
	// create: <nil>
	// checkpoint: the answer was lost
	// in the table: 42 <nil>
}

// SetListLag changes the table for all workers, so its Injector stands in front of the table. Each
// worker has another one in front of that.
func ExampleInjector_SetListLag() {
	ctx := context.Background()
	table := leasefault.New(memory.New())
	table.SetListLag(time.Hour)
	first, second := leasefault.New(table.Store()), leasefault.New(table.Store())

	fmt.Println("create:", first.Store().Create(ctx, leases.Lease{Key: "shardId-000000000000"}))
	listing, err := second.Store().List(ctx)
	fmt.Println("listed:", len(listing.Leases), err)
	row, err := second.Store().Get(ctx, "shardId-000000000000")
	fmt.Println("got:", row.Key, err)
	// Output:
	// create: <nil>
	// listed: 0 <nil>
	// got: shardId-000000000000 <nil>
}
