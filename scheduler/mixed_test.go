package scheduler_test

import (
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/scheduler"
)

// A worker that does not fit to those that use the table says so at once.
func TestRunEndsBesideOthersThatDoNotFit(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		table := dynamotest.Start(dynamotest.Config{})
		t.Cleanup(table.Close)
		store := dynamodb.New(dynamodb.Config{Client: awstest.DynamoDB(t, table), Table: "app", Logger: r.log})
		require.NoError(t, store.Init(t.Context()))
		table.Put("app", dynamotest.Item{
			"leaseKey": dynamotest.S("Migration3.0"),
			"cv":       dynamotest.S(leases.ClientVersion3x),
		}, dynamotest.Item{
			"leaseKey": dynamotest.S("java"), "entityType": dynamotest.S("WORKER_METRIC_STATS"),
			"lut": dynamotest.N(strconv.FormatInt(time.Now().Unix(), 10)),
		})
		w := r.worker("a", func(c *scheduler.Config) { c.Leases, c.Assignment = store, leases.AssignmentNative }).start()
		select {
		case <-w.done:
		case <-time.After(10 * time.Second):
			require.Fail(t, "Run goes on")
		}
		require.ErrorIs(t, w.stop(), leases.ErrMixedAssignment)
		require.ErrorContains(t, w.err, "worker java of KCL 3.x")
		require.ErrorContains(t, w.Healthy(), "worker java of KCL 3.x")
	})
}
