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
	row := leases.Lease{
		Key: "shardId-000000000000", ShardID: "shardId-000000000000",
		Checkpoint: kcl.InitialPosition{}.Sentinel(),
	}
	fmt.Println("create:", table.Create(ctx, row))

	take := leases.Update{
		Read: row, Expect: leases.AttrOwner,
		To: leases.Lease{Owner: "worker-1"}, Set: leases.AttrOwner,
	}
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
