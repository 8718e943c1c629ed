package dynamodb_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

// sideTables makes the side tables of KCL 3.0 to 3.4.
func sideTables(t *testing.T, srv *dynamotest.Server) {
	t.Helper()
	for name, key := range map[string]string{table + "-CoordinatorState": "key", table + "-WorkerMetricStats": "wid"} {
		_, err := awstest.DynamoDB(t, srv).CreateTable(t.Context(), &sdk.CreateTableInput{
			TableName: &name, BillingMode: types.BillingModePayPerRequest,
			KeySchema: []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}},
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: aws.String(key), AttributeType: types.ScalarAttributeTypeS},
			},
		})
		require.NoError(t, err)
	}
}

// TestSideTablesAppear: workers of KCL 3.4 may be started later. The other workers find their
// tables within a minute, and never take a lock in the wrong table.
func TestSideTablesAppear(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{})
		defer srv.Close()
		s := storeOn(t, srv)
		require.NoError(t, s.Init(t.Context()))
		m := leases.WorkerMetrics{Worker: "w1", Updated: time.Now()}
		require.NoError(t, s.Fleet().ReportWorker(t.Context(), m))
		calls := srv.Calls("DescribeTable")
		require.NoError(t, s.Fleet().ReportWorker(t.Context(), m))
		require.Equal(t, calls, srv.Calls("DescribeTable"), "known from the last minute")
		sideTables(t, srv)
		require.NoError(t, s.Fleet().AcquireLeader(t.Context(), nil, leases.LeaderLock{
			Owner: "w1", Version: "v1", Duration: time.Second,
		}))
		only(t, srv, table+"-CoordinatorState", "key", "Leader")
		time.Sleep(time.Minute)
		require.NoError(t, s.Fleet().ReportWorker(t.Context(), m))
		only(t, srv, table+"-WorkerMetricStats", "wid", "w1")
	})
}

// TestNoMetricsTableYet: before a worker of KCL 3.4 has made its second table, no metrics are
// written into the lease table.
func TestNoMetricsTableYet(t *testing.T) {
	t.Parallel()
	srv, s := serve(t, dynamotest.Config{})
	require.NoError(t, s.Init(t.Context()))
	sideTables(t, srv)
	client := awstest.DynamoDB(t, srv)
	_, err := client.DeleteTable(t.Context(), &sdk.DeleteTableInput{TableName: aws.String(table + "-WorkerMetricStats")})
	require.NoError(t, err)
	require.ErrorIs(t, s.Fleet().ReportWorker(t.Context(), leases.WorkerMetrics{Worker: "w1", Updated: time.Unix(1, 0)}),
		leases.ErrTableNotFound)
	require.Empty(t, srv.Items(table))
	workers, _, err := s.Fleet().Workers(t.Context())
	require.NoError(t, err)
	require.Empty(t, workers)
}

func TestForeignSideTable(t *testing.T) {
	t.Parallel()
	_, s := serve(t, dynamotest.Config{}, func(c *dynamodb.Config) { c.CoordinatorTable = "another" })
	require.NoError(t, s.Init(t.Context()))
	other := dynamodb.New(dynamodb.Config{Client: nil, Table: table, CoordinatorTable: table, WorkerMetricsTable: "x"})
	require.ErrorContains(t, other.Init(t.Context()), "Config.CoordinatorTable")
	require.ErrorContains(t, other.Init(t.Context()), "Config.WorkerMetricsTable")
	srv, s := serve(t, dynamotest.Config{}, func(c *dynamodb.Config) { c.CoordinatorTable = "another" })
	require.NoError(t, s.Init(t.Context()))
	require.NoError(t, storeOn(t, srv, func(c *dynamodb.Config) { c.Table = "another" }).Init(t.Context()))
	_, err := s.Fleet().Migrations(t.Context())
	require.ErrorIs(t, err, leases.ErrForeignTable)
	require.ErrorContains(t, err, "Config.CoordinatorTable")
}
