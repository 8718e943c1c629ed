package integration

import (
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	awsdynamodb "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/scheduler"
)

// TestMistakes runs into what users run into first, on servers that answer in their own words:
// each ends Run at once with an error that can be told apart and names the thing.
func TestMistakes(t *testing.T) {
	t.Parallel()
	run := func(t *testing.T, client *kinesis.Client, tables *awsdynamodb.Client, stream, table string) error {
		return scheduler.New(scheduler.Config{
			Application: unique("app"), Streams: []scheduler.StreamConfig{{Name: stream}},
			Kinesis: client, Leases: dynamodb.New(dynamodb.Config{Client: tables, Table: table}), Logger: logger(t),
		}, func(kcl.StreamIdentifier, kcl.Shard) kcl.Processor { return &recorder{} }).Run(within(t, 30*time.Second))
	}

	t.Run("missing stream on LocalStack", func(t *testing.T) {
		t.Parallel()
		url := localstackURL(t)
		err := run(t, kinesisClient(url), dynamodbClient(url), "no-such-stream", unique("leases"))
		require.ErrorIs(t, err, kcl.ErrStreamNotFound)
		require.ErrorContains(t, err, "no-such-stream")
	})
	t.Run("missing stream on kinesis-local", func(t *testing.T) {
		t.Parallel()
		err := run(t, kinesislocalClient(kinesislocalURL(t)), dynamodbClient(dynamodbURL(t)),
			"no-such-stream", unique("leases"))
		require.ErrorIs(t, err, kcl.ErrStreamNotFound)
		require.ErrorContains(t, err, "no-such-stream")
	})
	t.Run("foreign table on DynamoDB Local", func(t *testing.T) {
		t.Parallel()
		tables, client := dynamodbClient(dynamodbURL(t)), kinesislocalClient(kinesislocalURL(t))
		ctx, table := within(t, time.Minute), unique("orders")
		_, err := tables.CreateTable(ctx, &awsdynamodb.CreateTableInput{
			TableName: aws.String(table), BillingMode: types.BillingModePayPerRequest,
			AttributeDefinitions: []types.AttributeDefinition{{
				AttributeName: aws.String("id"),
				AttributeType: types.ScalarAttributeTypeN,
			}},
			KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("id"), KeyType: types.KeyTypeHash}},
		})
		require.NoError(t, err)
		err = run(t, client, tables, createStream(ctx, t, client, 1), table)
		require.ErrorIs(t, err, leases.ErrForeignTable)
		require.ErrorContains(t, err, table)
	})
}
