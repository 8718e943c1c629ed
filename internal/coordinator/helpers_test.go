package coordinator_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/internal/fleettest"
	"github.com/kinesis-go/kcl/leases"
)

// first is the first shard of a fleet.
const first = "shardId-000000000000"

var shardEnd = kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelShardEnd}

// number is the sequence number of a record of a fleet.
var number = fleettest.Number

func maxLeases(n int) func(*coordinator.Config) {
	return func(c *coordinator.Config) { c.MaxLeasesForWorker = n }
}

// finish writes SHARD_END into a row.
func finish(f *fleettest.Fleet, row leases.Lease) {
	to := row
	to.Checkpoint = shardEnd
	require.NoError(f.T, f.Store.Update(f.T.Context(), leases.Update{Read: row, To: to, Set: leases.AttrCheckpoint}))
}

func mustList(t *testing.T, store leases.Store) []leases.Lease {
	l, err := store.List(t.Context())
	require.NoError(t, err)
	return l.Leases
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
