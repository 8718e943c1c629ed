package memory_test

import (
	"context"
	"errors"
	"fmt"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/memory"
)

// A write has a condition: it is refused if the row is not as it was read.
func Example() {
	ctx := context.Background()
	table := memory.New()
	fmt.Println("init:", table.Init(ctx))
	row := leases.Lease{Key: "shardId-000000000000", ShardID: "shardId-000000000000", Checkpoint: kcl.InitialPosition{}.Sentinel()}
	fmt.Println("create:", table.Create(ctx, row))

	take := leases.Update{Read: row, Set: leases.AttrOwner, To: leases.Lease{Owner: "worker-1"}, Expect: leases.AttrOwner}
	fmt.Println("take:", table.Update(ctx, take))
	take.To.Owner = "worker-2" // read before worker-1 took the lease
	_, refused := errors.AsType[*leases.ConflictError](table.Update(ctx, take))
	fmt.Println("refused:", refused)

	row, err := table.Get(ctx, row.Key)
	fmt.Println(row.Key, row.Owner, row.Checkpoint, err)
	// Output:
	// init: <nil>
	// create: <nil>
	// take: <nil>
	// refused: true
	// shardId-000000000000 worker-1 TRIM_HORIZON <nil>
}

// Each worker of a test has a client of its own, whose table can fail alone.
func ExampleStore_Client() {
	ctx := context.Background()
	table := memory.New()
	healthy, broken := table.Client(nil), table.Client(memory.Failing(errors.New("no connection")))
	fmt.Println(healthy.Init(ctx))
	fmt.Println(broken.Init(ctx))
	broken.SetFault(nil)
	fmt.Println(broken.Init(ctx))
	// Output:
	// <nil>
	// no connection
	// <nil>
}
