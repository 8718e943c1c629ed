package sim

import (
	"context"
	"errors"
	"time"

	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases/leasefault"
)

// tableFault is what happens to one call of the lease table.
type tableFault = leasefault.Fault

var errTable = errors.New("lease table failed, by the simulation")

// tableFaults hit single calls of the lease table.
var tableFaults = []kind{
	{
		name: "table-fails", rate: 0.03, dynamodb: failTable("InternalServerError"),
		table: func(dice) tableFault { return leasefault.Failing(errTable) },
	},
	{
		name: "table-answer-lost", rate: 0.03, dynamodb: doTable(dynamotest.LoseAnswer()),
		table: func(dice) tableFault { return leasefault.Lossy(errTable) },
	},
	{
		name: "table-slow", rate: 0.05, dynamodb: func(d dice) []dynamotest.Action {
			return []dynamotest.Action{dynamotest.Delay(d.skewed(100*time.Millisecond, 3*time.Second))}
		},
		table: func(d dice) tableFault {
			return leasefault.Slow(d.skewed(100*time.Millisecond, 3*time.Second))
		},
	},
	{
		name: "table-very-slow", rate: 0.01, dynamodb: func(d dice) []dynamotest.Action {
			return []dynamotest.Action{dynamotest.Delay(d.skewed(3*time.Second, time.Minute))}
		},
		table: func(d dice) tableFault {
			return leasefault.Slow(d.skewed(3*time.Second, time.Minute))
		},
	},
	{
		name: "table-silent", rate: 0.01, dynamodb: doTable(dynamotest.Silence()),
		table: func(dice) tableFault { return leasefault.Silent },
	},
	{
		name: "table-late-write", rate: 0.02, dynamodb: func(d dice) []dynamotest.Action {
			return []dynamotest.Action{dynamotest.Late(d.skewed(10*time.Millisecond, 10*time.Second))}
		},
		table: func(d dice) tableFault {
			return leasefault.Late(d.skewed(10*time.Millisecond, 10*time.Second))
		},
	},
	{
		name: "table-answer-silent", rate: 0.01, dynamodb: doTable(dynamotest.SilentAnswer()),
		table: func(dice) tableFault {
			return func(ctx context.Context, _ leasefault.Call, apply func() error) error {
				_ = apply() // nobody hears the answer
				<-ctx.Done()
				return context.Cause(ctx)
			}
		},
	},
	{name: "table-write-repeated", rate: 0.02, table: func(dice) tableFault {
		return func(_ context.Context, call leasefault.Call, apply func() error) error {
			if call.Writes() {
				_ = apply() // the network sends the request again
			}
			return apply()
		}
	}},
	{name: "table-list-lags", rate: 0.1, step: func(w *World, d dice) {
		w.table.setListLag(d.roll("lag").skewed(100*time.Millisecond, 3*time.Second))
	}},
	{name: "table-outage", rate: 0.01, step: func(w *World, d dice) {
		w.loseTableForAll(d.roll("long").skewed(5*time.Second, 4*time.Minute), d.roll("how").chance(0.5))
	}},
	{name: "table-row-unreadable", rate: 0.03, step: func(w *World, d dice) {
		w.breakRow(d, d.roll("long").skewed(time.Second, 3*time.Minute))
	}},
}

func doTable(actions ...dynamotest.Action) func(dice) []dynamotest.Action {
	return func(dice) []dynamotest.Action { return actions }
}

func failTable(code string) func(dice) []dynamotest.Action {
	return doTable(dynamotest.Fail(code, "injected by the simulation"))
}

// tableReads are the calls that may get an empty answer. To a write, it means success.
var tableReads = []string{"GetItem", "Scan", "DescribeTable"}

// dynamodbFaults hit single calls of a lease table in DynamoDB.
var dynamodbFaults = []kind{
	{name: "dynamodb-lost", rate: 0.02, dynamodb: doTable(dynamotest.LoseRequest())},
	{name: "dynamodb-answer-slow", rate: 0.02, dynamodb: func(d dice) []dynamotest.Action {
		return []dynamotest.Action{dynamotest.DelayAnswer(d.skewed(300*time.Millisecond, time.Minute))}
	}},
	{name: "dynamodb-throttled", rate: 0.1, dynamodb: doTable(dynamotest.Throttle())},
	{name: "dynamodb-request-limit", rate: 0.03, dynamodb: failTable("RequestLimitExceeded")},
	{name: "dynamodb-denied-once", rate: 0.002, dynamodb: doTable(dynamotest.Deny())},
	{name: "dynamodb-not-found-once", rate: 0.001, dynamodb: failTable("ResourceNotFoundException")},
	{name: "dynamodb-expired-credentials", rate: 0.005, dynamodb: failTable("ExpiredTokenException")},
	{name: "dynamodb-invalid-once", rate: 0.001, dynamodb: failTable("ValidationException")},
	// After such an answer to an UpdateItem, a worker gives its lease up, which is safe.
	{
		name: "dynamodb-conflict-without-row", rate: 0.01, ops: []string{"PutItem", "DeleteItem"},
		dynamodb: failTable("ConditionalCheckFailedException"),
	},
	{name: "dynamodb-unknown-error", rate: 0.01, dynamodb: failTable("SomethingNewException")},
	{name: "dynamodb-empty-object", rate: 0.003, ops: tableReads, dynamodb: doTable(dynamotest.Answer(200, []byte("{}")))},
	{name: "dynamodb-empty-body", rate: 0.003, ops: tableReads, dynamodb: doTable(dynamotest.Answer(200, nil))},
	{name: "dynamodb-html", rate: 0.01, dynamodb: doTable(dynamotest.Answer(502, []byte("<html>Bad Gateway</html>")))},
}
