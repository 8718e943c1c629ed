package scheduler_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/kinesistest"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/scheduler"
)

// TestEmptyAnswersOfKinesis: each operation answers twice with nothing, at the start and later.
// Each field of an answer may be missing, and none is a reason to end or to lose records.
func TestEmptyAnswersOfKinesis(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{
		"DescribeStreamSummary", "ListShards", "DescribeStreamConsumer", "RegisterStreamConsumer", "ListTagsForResource",
		"SubscribeToShard", "GetShardIterator", "GetRecords",
	} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			modes(t, func(t *testing.T, mode func(*scheduler.Config)) {
				r := newRig(t, oneStream(2))
				r.capture()
				empty := func() {
					r.srv.Inject(kinesistest.Fault{
						Operation: operation, Client: "a", Times: 2,
						Do: []kinesistest.Action{kinesistest.Answer(200, []byte(`{}`))},
					})
				}
				empty()
				w := r.worker("a", mode).start()
				r.produce(10, time.Second, keys(6))
				r.finished(2 * time.Minute)
				empty()
				// What is asked only after a failure is asked as well.
				r.srv.Inject(kinesistest.Fault{
					Operation: "SubscribeToShard", Times: 2,
					Do: []kinesistest.Action{kinesistest.Fail("ResourceNotFoundException", "not found")},
				})
				r.srv.Inject(kinesistest.Fault{
					Operation: "GetRecords", Skip: 1, Times: 1,
					Do: []kinesistest.Action{kinesistest.Fail("ResourceNotFoundException", "not found")},
				})
				r.srv.ResetConnections()
				time.Sleep(time.Second)
				r.split(r.open()[0])
				r.produce(10, time.Second, keys(6))
				r.finished(5 * time.Minute)
				require.NoError(t, w.stop())
			})
		})
	}
}

// TestEmptyAnswersOfDynamoDB: the same for the lease table.
func TestEmptyAnswersOfDynamoDB(t *testing.T) {
	t.Parallel()
	for _, operation := range []string{
		"DescribeTable", "CreateTable", "Scan", "PutItem", "UpdateItem", "GetItem",
		"Query",
	} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				r := newRig(t, oneStream(2))
				r.capture()
				tables := dynamotest.Start(dynamotest.Config{})
				defer tables.Close()
				empty := func() {
					tables.Inject(dynamotest.Fault{
						Operation: operation, Times: 2,
						Do: []dynamotest.Action{dynamotest.Answer(200, []byte(`{}`))},
					})
				}
				empty()
				w := r.worker("a", func(c *scheduler.Config) {
					c.Leases = dynamodb.New(dynamodb.Config{Client: awstest.DynamoDB(t, tables), Table: "app"})
				}).start()
				r.produce(10, time.Second, keys(6))
				r.finished(2 * time.Minute)
				empty()
				r.produce(10, time.Second, keys(6))
				r.finished(5 * time.Minute)
				require.NoError(t, w.stop())
			})
		})
	}
}
