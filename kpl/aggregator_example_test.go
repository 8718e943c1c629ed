package kpl_test

import (
	"fmt"

	"github.com/kinesis-go/kcl/kpl"
)

// Several user records share one Kinesis record, until it is full.
func ExampleAggregator() {
	a := kpl.Aggregator{MaxSize: 200}
	for i := range 100 {
		if err := a.Add("order-7", "", fmt.Appendf(nil, "event %d", i)); err != nil {
			fmt.Println(err)
			break
		}
	}
	fmt.Println(a.Len(), "records in", len(a.Bytes()), "bytes") // put them as one record
	a.Reset()
	fmt.Println(a.Len())
	// Output:
	// kpl: aggregate is full
	// 12 records in 187 bytes
	// 0
}
