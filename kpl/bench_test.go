package kpl_test

import (
	"fmt"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kpl"
)

// BenchmarkDeaggregate splits ten carriers of a hundred user records. Records without aggregates
// are for comparison.
func BenchmarkDeaggregate(b *testing.B) {
	const carriers, each = 10, 100
	for _, size := range []int{10, 100, 1000} {
		var batch []kcl.Record
		bytes := 0
		for c := range carriers {
			var a kpl.Aggregator
			for i := range each {
				require.NoError(b, a.Add("key"+strconv.Itoa(i%20), "", make([]byte, size)))
			}
			batch = append(batch, carrier(c, a.Bytes()))
			bytes += a.Size()
		}
		for name, opt := range map[string]kpl.Options{
			"all":      {},
			"in range": {HashKeyRange: kcl.HashKeyRange{Start: "0", End: power(127, 0)}},
		} {
			b.Run(fmt.Sprintf("%s/%d bytes", name, size), func(b *testing.B) {
				b.ReportAllocs()
				b.SetBytes(int64(bytes))
				for b.Loop() {
					kpl.Deaggregate(batch, opt)
				}
				b.ReportMetric(float64(carriers*each*b.N)/b.Elapsed().Seconds(), "records/s")
			})
		}
	}
	b.Run("plain", func(b *testing.B) {
		batch := make([]kcl.Record, 1000)
		for i := range batch {
			batch[i] = carrier(i, make([]byte, 100))
		}
		b.ReportAllocs()
		for b.Loop() {
			kpl.Deaggregate(batch, kpl.Options{})
		}
		b.ReportMetric(float64(len(batch)*b.N)/b.Elapsed().Seconds(), "records/s")
	})
}
