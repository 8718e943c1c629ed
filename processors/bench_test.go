package processors_test

import (
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/processors"
)

// BenchmarkConcurrent measures the cost of ordered concurrency on top of the handler. One operation
// is a batch of 1,000 records of 100 keys.
func BenchmarkConcurrent(b *testing.B) {
	keys := make([]string, 100)
	for i := range keys {
		keys[i] = "key" + strconv.Itoa(i)
	}
	lane := func(int) kcl.Processor { return processors.Func(ignore, processors.FuncOptions{}) }
	for _, bench := range []struct {
		name  string
		build func() kcl.Processor
	}{
		{"func", func() kcl.Processor { return processors.Func(ignore, processors.FuncOptions{}) }},
		{"lanes=8", func() kcl.Processor {
			return processors.Concurrent(lane, processors.ConcurrentOptions{})
		}},
		{"lanes=8/batch=1", func() kcl.Processor {
			return processors.Concurrent(lane, processors.ConcurrentOptions{MaxBatch: 1})
		}},
		{"lanes=8/retry", func() kcl.Processor {
			return processors.Concurrent(func(int) kcl.Processor {
				return processors.Retry(processors.Func(ignore, processors.FuncOptions{}), processors.RetryOptions{})
			}, processors.ConcurrentOptions{})
		}},
	} {
		b.Run(bench.name, func(b *testing.B) {
			const n = 1000
			s := open(b, bench.build())
			records := recs(1, n, keys...)
			number := 0
			b.ReportAllocs()
			for b.Loop() {
				b.StopTimer()
				batch := make([]kcl.Record, n)
				for i, r := range records { // the next records of the shard
					number++
					key, _ := r.PartitionKey()
					batch[i] = rec(number, key)
				}
				b.StartTimer()
				if err := s.deliver(batch...); err != nil {
					b.Fatal(err)
				}
			}
			require.NoError(b, s.shutdown())
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/n, "ns/record")
		})
	}
}
