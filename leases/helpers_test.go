package leases_test

import (
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

var shardEnd = kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelShardEnd}

func maxLeases(n int) func(*leases.Config) {
	return func(c *leases.Config) { c.MaxLeasesForWorker = n }
}

// finish writes SHARD_END into a row.
func (f *fleet) finish(row leases.Lease) {
	to := row
	to.Checkpoint = shardEnd
	require.NoError(f.t, f.store.Update(f.t.Context(), leases.Update{Read: row, To: to, Set: leases.AttrCheckpoint}))
}
