package kcl3

import (
	"fmt"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

var sizes = []int{10, 100, 1000, 10000}

// manyAssigned is a fleet of a hundred workers, half of which have just come.
func manyAssigned(n int, owner func(i int) string) View {
	f := View{Config: DefaultConfig(), Rand: rand.New(rand.NewPCG(1, 2)), Throughputs: map[string]float64{}, Balance: true}
	for i := range 100 {
		f.Workers = append(f.Workers, leases.WorkerMetrics{Worker: fmt.Sprintf("w%03d", i), Updated: time.Now()})
	}
	for i := range n {
		key := fmt.Sprintf("shardId-%012d", i)
		l := leases.Lease{Key: key, ShardID: key, Counter: 5, Owner: owner(i), ThroughputKBps: 10}
		l.NativeOwner = l.Owner
		l.Checkpoint.SequenceNumber = "17"
		f.Leases = append(f.Leases, Row{Lease: l})
	}
	return f
}

func free(int) string { return "" }

func half(i int) string { return fmt.Sprintf("w%03d", i%50) }

func BenchmarkAssign(b *testing.B) {
	for name, owner := range map[string]func(int) string{"start": free, "half": half} {
		b.Run(name, func(b *testing.B) {
			each(b, func(b *testing.B, n int) {
				f := manyAssigned(n, owner)
				for b.Loop() {
					Assign(f)
				}
			})
		})
	}
}

func each(b *testing.B, bench func(b *testing.B, n int)) {
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			bench(b, n)
		})
	}
}
