package fleettest

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
)

// HoldAsOtherLibrary acts as a worker of another library, for d. It takes n leases and renews them,
// without this library's attributes. It returns at once. The number that it returns counts the
// renewals at which another worker had asked for the lease.
func (f *Fleet) HoldAsOtherLibrary(id string, n int, d time.Duration) *atomic.Int64 {
	l, err := f.Store.List(f.T.Context())
	require.NoError(f.T, err)
	for _, row := range l.Leases[:n] {
		to := row
		to.Owner = id
		require.NoError(f.T, f.Store.Update(f.T.Context(), leases.Update{Read: row, To: to, Set: leases.AttrOwner}))
	}
	var asked atomic.Int64
	go func() { // ends after d
		for begun := time.Now(); time.Since(begun) < d; time.Sleep(3 * time.Second) {
			l, err := f.Store.List(context.Background())
			if err != nil {
				return
			}
			for _, row := range l.Leases {
				if row.CheckpointOwner == id {
					asked.Add(1)
				}
				if row.Owner == id {
					to := row
					to.Counter++
					_ = f.Store.Update(context.Background(), leases.Update{
						Read: row, Expect: leases.AttrCounter, To: to, Set: leases.AttrCounter,
					})
				}
			}
		}
	}()
	return &asked
}
