package coordinator_test

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/coordinator"
	"github.com/kinesis-go/kcl/leases"
)

var shardEnd = kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelShardEnd}

func maxLeases(n int) func(*coordinator.Config) {
	return func(c *coordinator.Config) { c.MaxLeasesForWorker = n }
}

// finish writes SHARD_END into a row.
func (f *fleet) finish(row leases.Lease) {
	to := row
	to.Checkpoint = shardEnd
	require.NoError(f.t, f.store.Update(f.t.Context(), leases.Update{Read: row, To: to, Set: leases.AttrCheckpoint}))
}

// client acts as a worker of another library. It renews n leases for a while, without this
// library's attributes. It counts the renewals at which a lease had been asked for.
func (f *fleet) client(id string, n int, d time.Duration) *atomic.Int64 {
	l, err := f.store.List(f.t.Context())
	require.NoError(f.t, err)
	for _, row := range l.Leases[:n] {
		to := row
		to.Owner = id
		require.NoError(f.t, f.store.Update(f.t.Context(), leases.Update{Read: row, To: to, Set: leases.AttrOwner}))
	}
	var asked atomic.Int64
	go func() { // ends after d
		for begun := time.Now(); time.Since(begun) < d; time.Sleep(3 * time.Second) {
			l, err := f.store.List(context.Background())
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
					_ = f.store.Update(context.Background(), leases.Update{Read: row, Expect: leases.AttrCounter, To: to, Set: leases.AttrCounter})
				}
			}
		}
	}()
	return &asked
}

// gapOf is the longest time that a shard of these workers went without a delivery.
func (f *fleet) gapOf(workers ...string) time.Duration {
	f.mu.Lock()
	defer f.mu.Unlock()
	var gap time.Duration
	for _, s := range f.shards {
		if slices.Contains(workers, s.reader) {
			gap = max(gap, s.gap, time.Since(s.at))
		}
	}
	return gap
}

func mustList(t *testing.T, store leases.Store) []leases.Lease {
	l, err := store.List(t.Context())
	require.NoError(t, err)
	return l.Leases
}

// logs collects what workers log.
type logs struct {
	mu   sync.Mutex // guards text
	text strings.Builder
}

func (l *logs) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logs) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
