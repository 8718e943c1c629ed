package scheduler_test

import (
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/scheduler"
)

// TestStoreLogsToTheLoggerOfTheWorker: one Logger, in scheduler.Config, takes the log of the store
// too, unless the store has a logger of its own.
func TestStoreLogsToTheLoggerOfTheWorker(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		r := newRig(t, oneStream(1))
		ddb := dynamotest.Start(dynamotest.Config{})
		t.Cleanup(ddb.Close)
		var storeLog logged
		workers := r.capture()
		for name, cfg := range map[string]dynamodb.Config{
			"shared": {Table: "shared"},
			"own":    {Table: "own", Logger: slog.New(slog.NewTextHandler(&storeLog, nil))},
		} {
			cfg.Client = awstest.DynamoDB(t, ddb)
			w := r.worker(name, func(c *scheduler.Config) { c.Leases = dynamodb.New(cfg) }).start()
			time.Sleep(time.Minute)
			require.NoError(t, w.stop())
		}
		require.Equal(t, 1, workers.count(`msg="lease table created" worker=`))
		require.Equal(t, 1, workers.count("lease table created"))
		require.Equal(t, 1, storeLog.count(`msg="lease table created" table=own`))
	})
}
