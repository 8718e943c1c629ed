package leasetest

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

// TestInBubbles runs both suites in virtual time, over the network and the SDK. The service takes
// long to make a table, which costs no real time. A goroutine that is left behind fails the test.
func TestInBubbles(t *testing.T) {
	t.Parallel()
	run := func(name string, test func(t *testing.T, s *dynamodb.Store)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			synctest.Test(t, func(t *testing.T) {
				srv := dynamotest.Start(dynamotest.Config{
					SettleTime: 20 * time.Second, Lag: 200 * time.Millisecond, IndexLag: time.Second,
					PageRows: 9, EmptyPages: true,
				})
				t.Cleanup(srv.Close)
				s := dynamodb.New(dynamodb.Config{Client: awstest.DynamoDB(t, srv), Table: "leases", ScanSegments: 3})
				require.NoError(t, s.Init(t.Context()))
				test(t, s)
			})
		})
	}
	for _, tt := range storeTests {
		run(tt.name, func(t *testing.T, s *dynamodb.Store) { tt.run(t, s) })
	}
	for _, tt := range fleetTests {
		if tt.layout != threeTables {
			run(tt.name, func(t *testing.T, s *dynamodb.Store) { tt.run(t, s) })
		}
	}
}
