package integration

import (
	"fmt"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/leases/leasetest"
)

// TestFleetStoreOnDynamoDBLocal: index, metrics, lock and migrations of KCL 3.x
// against DynamoDB's own implementation of indexes and transactions.
func TestFleetStoreOnDynamoDBLocal(t *testing.T) {
	t.Parallel()
	client := dynamodbClient(dynamodbURL(t))
	leasetest.TestFleetStore(t, func(t *testing.T, side bool) leases.SharedStore {
		table := unique("leases")
		if side {
			for suffix, key := range map[string]string{"-CoordinatorState": "key", "-WorkerMetricStats": "wid"} {
				_, err := client.CreateTable(t.Context(), &sdk.CreateTableInput{
					TableName: aws.String(table + suffix), BillingMode: types.BillingModePayPerRequest,
					KeySchema: []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}},
					AttributeDefinitions: []types.AttributeDefinition{{
						AttributeName: aws.String(key),
						AttributeType: types.ScalarAttributeTypeS,
					}},
				})
				require.NoError(t, err)
			}
		}
		return dynamodb.New(dynamodb.Config{
			Client: client, Table: table, MigrateToLeaseTable: true,
			RequestTimeout: patience,
		})
	})
}

// TestStoreInSegmentsOnDynamoDBLocal runs the suite of every lease store with
// scans of several segments.
func TestStoreInSegmentsOnDynamoDBLocal(t *testing.T) {
	t.Parallel()
	client := dynamodbClient(dynamodbURL(t))
	leasetest.TestStore(t, func(*testing.T) leases.Store {
		return dynamodb.New(dynamodb.Config{
			Client: client, Table: unique("leases"), ScanSegments: 4,
			RequestTimeout: patience,
		})
	})
}

// TestFakeDynamoDBAgainstDynamoDBLocal: the fake that most tests run on answers
// as DynamoDB Local does, over the same random requests every time.
func TestFakeDynamoDBAgainstDynamoDBLocal(t *testing.T) {
	t.Parallel()
	client := dynamodbClient(dynamodbURL(t))
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			srv := dynamotest.Start(dynamotest.Config{PageRows: int(seed)})
			t.Cleanup(srv.Close)
			awstest.DiffDynamoDB(t, seed, 500, unique("diff"), awstest.DynamoDB(t, srv), client)
		})
	}
}
