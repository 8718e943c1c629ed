package sim

import (
	"context"
	"errors"
	"time"

	"github.com/kinesis-go/kcl/leases/leasefault"
)

// tableFault is what happens to one call of the lease table.
type tableFault = leasefault.Fault

var errTable = errors.New("lease table failed, by the simulation")

// tableFaults hit single calls of the lease table.
var tableFaults = []kind{
	{name: "table-fails", rate: 0.03, table: func(dice) tableFault { return leasefault.Failing(errTable) }},
	{name: "table-answer-lost", rate: 0.03, table: func(dice) tableFault { return leasefault.Lossy(errTable) }},
	{name: "table-slow", rate: 0.05, table: func(d dice) tableFault {
		return leasefault.Slow(d.skewed(100*time.Millisecond, 3*time.Second))
	}},
	{name: "table-very-slow", rate: 0.01, table: func(d dice) tableFault {
		return leasefault.Slow(d.skewed(3*time.Second, time.Minute))
	}},
	{name: "table-silent", rate: 0.01, table: func(dice) tableFault { return leasefault.Silent }},
	{name: "table-late-write", rate: 0.02, table: func(d dice) tableFault {
		return leasefault.Late(d.skewed(10*time.Millisecond, 10*time.Second))
	}},
	{name: "table-answer-silent", rate: 0.01, table: func(dice) tableFault {
		return func(ctx context.Context, _ leasefault.Call, apply func() error) error {
			_ = apply() // nobody hears the answer
			<-ctx.Done()
			return context.Cause(ctx)
		}
	}},
	{name: "table-write-repeated", rate: 0.02, table: func(dice) tableFault {
		return func(_ context.Context, call leasefault.Call, apply func() error) error {
			if call.Writes() {
				_ = apply() // the network sends the request again
			}
			return apply()
		}
	}},
	{name: "table-list-lags", rate: 0.1, step: func(w *World, d dice) {
		w.table.faults.SetListLag(d.roll("lag").skewed(100*time.Millisecond, 3*time.Second))
	}},
	{name: "table-outage", rate: 0.01, step: func(w *World, d dice) {
		w.loseTableForAll(d.roll("long").skewed(5*time.Second, 4*time.Minute), d.roll("how").chance(0.5))
	}},
	{name: "table-row-unreadable", rate: 0.03, step: func(w *World, d dice) {
		w.breakRow(d, d.roll("long").skewed(time.Second, 3*time.Minute))
	}},
}
