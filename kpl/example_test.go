package kpl_test

import (
	"fmt"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/kpl"
)

func ExampleDeaggregate() {
	var a kpl.Aggregator
	for _, word := range []string{"one", "two", "three"} {
		if err := a.Add("customer-7", "", []byte(word)); err != nil {
			fmt.Println(err)
			return
		}
	}
	batch := []kcl.Record{
		kcl.NewRecord(kcl.RecordFields{SequenceNumber: "100", Data: a.Bytes()}),
		kcl.NewRecord(kcl.RecordFields{SequenceNumber: "101", Data: []byte("plain")}),
	}

	records, report := kpl.Deaggregate(batch, kpl.Options{})
	for _, r := range records {
		fmt.Println(r.Position(), string(r.Data()))
	}
	fmt.Println(report.Aggregates, "aggregate,", report.Corrupt, "corrupt")
	// Output:
	// 100 one
	// 100/1 two
	// 100/2 three
	// 101 plain
	// 1 aggregate, 0 corrupt
}
