package shardsync

import (
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

var sizes = []int{10, 100, 1000, 10000}

// manyFinished is a stream of n shards that were split each, with one of the children
// and n rows of each kind: all parents may be cleaned up.
func manyFinished(n int) Survey {
	s := Survey{At: time.Now(), ListedAt: time.Now(), Initial: kcl.InitialPosition{Kind: kcl.TrimHorizon}}
	step := new(big.Int).Div(maxHashKey, big.NewInt(int64(n)))
	for i := range n {
		start := new(big.Int).Mul(step, big.NewInt(int64(i)))
		end := new(big.Int).Sub(new(big.Int).Add(start, step), one)
		if i == n-1 {
			end = maxHashKey
		}
		keys := kcl.HashKeyRange{Start: start.String(), End: end.String()}
		p := kcl.Shard{
			ID: fmt.Sprintf("shardId-%012d", i), StartingSequenceNumber: "1", EndingSequenceNumber: "2",
			HashKeyRange: keys,
		}
		c := kcl.Shard{ID: fmt.Sprintf("shardId-%012d", i+n), ParentID: p.ID, StartingSequenceNumber: "3", HashKeyRange: keys}
		s.Shards = append(s.Shards, p, c)
		s.Rows = append(
			s.Rows,
			leases.Lease{
				Key: p.ID, ShardID: p.ID, HashKeyRange: keys,
				Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: kcl.SentinelShardEnd},
			},
			leases.Lease{
				Key: c.ID, ShardID: c.ID, HashKeyRange: keys, Parents: []string{p.ID},
				Checkpoint: kcl.ExtendedSequenceNumber{SequenceNumber: "17"},
			},
		)
	}
	return s
}

// best is the least time of some.
func best(f func()) time.Duration {
	least := time.Hour
	for range 3 {
		begun := time.Now()
		f()
		least = min(least, time.Since(begun))
	}
	return least
}

// ready is a survey of manyFinished after which all parents may be removed.
func ready(n int) (Survey, CleanupHistory) {
	s := manyFinished(n)
	_, past := PlanCleanup(s, CleanupHistory{})
	s.At, s.ListedAt = s.At.Add(6*time.Minute), s.ListedAt.Add(6*time.Minute)
	return s, past
}

// A clean-up of many rows takes a few times as long as the synchronisation that it
// asks twice, and not by the number of removals for each row.
func TestCleanupOfManyRowsTakesLittleTime(t *testing.T) {
	const n = 10000
	s, past := ready(n)
	var removals []Removal
	cleanup := best(func() { removals, _ = PlanCleanup(s, past) })
	sync := best(func() { Plan(s.Shards, s.Rows, s.Initial, s.Options) })
	t.Logf("clean-up %v, synchronisation %v", cleanup, sync)
	require.Len(t, removals, n)
	require.Less(t, cleanup, 15*sync)
}

// Rows that all cover the same hash keys make no list of all pairs.
func TestAuditBoundsTheOverlaps(t *testing.T) {
	t.Parallel()
	rows := manyFinished(2000).Rows
	for i := range rows {
		rows[i].Parents, rows[i].Checkpoint.SequenceNumber = nil, "17"
		rows[i].HashKeyRange = kcl.HashKeyRange{Start: "0", End: maxHashKey.String()}
	}
	require.Len(t, Audit(rows, nil).Overlaps, maxOverlaps)
}

func BenchmarkCleanup(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		s, past := ready(n)
		for b.Loop() {
			PlanCleanup(s, past)
		}
	})
}

func BenchmarkSync(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		s := manyFinished(n)
		for b.Loop() {
			Plan(s.Shards, s.Rows, s.Initial, s.Options)
			Generations(Plan(s.Shards, nil, s.Initial, s.Options), s.Shards)
		}
	})
}

func BenchmarkAudit(b *testing.B) {
	each(b, func(b *testing.B, n int) {
		s := manyFinished(n)
		for b.Loop() {
			Audit(s.Rows, s.Shards)
		}
	})
}

func each(b *testing.B, bench func(b *testing.B, n int)) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			bench(b, n)
		})
	}
}
