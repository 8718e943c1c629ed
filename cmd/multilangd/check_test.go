package main

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awserr"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/kinesistest"
)

// makeTable makes a table with one key.
func (r *rig) makeTable(t *testing.T, name, key string) {
	t.Helper()
	_, err := r.dynamoDB.CreateTable(t.Context(), &dynamodb.CreateTableInput{
		TableName: &name, BillingMode: types.BillingModePayPerRequest,
		KeySchema: []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: &key, AttributeType: types.ScalarAttributeTypeS},
		},
	})
	require.NoError(t, err)
}

// arn is the ARN of stream orders.
func (r *rig) arn(t *testing.T) *string {
	t.Helper()
	out, err := r.kinesis.DescribeStreamSummary(t.Context(), &kinesis.DescribeStreamSummaryInput{
		StreamName: aws.String("orders"),
	})
	require.NoError(t, err)
	return out.StreamDescriptionSummary.StreamARN
}

// register registers a stream consumer.
func (r *rig) register(t *testing.T, name string) {
	t.Helper()
	_, err := r.kinesis.RegisterStreamConsumer(t.Context(), &kinesis.RegisterStreamConsumerInput{
		StreamARN: r.arn(t), ConsumerName: &name,
	})
	require.NoError(t, err)
}

// TestCheck: the check names each fault, with the permission or the setting that cures it. It
// writes nothing and starts no child.
func TestCheck(t *testing.T) {
	t.Parallel()
	deny := func(operation string) kinesistest.Config {
		return kinesistest.Config{Deny: func(op, _ string) bool { return op == operation }}
	}
	for name, tc := range map[string]struct {
		kinesis  kinesistest.Config
		table    string // the hash key of a lease table
		refused  string // an operation of DynamoDB
		consumer string // a stream consumer that exists
		lines    []string
		status   int
		want     []string
	}{
		"fresh": {status: statusOK, want: []string{
			"ok     stream orders", "ok     records of shard shardId-000000000000",
			"note   lease table app does not exist: the daemon makes it",
			"note   dynamodb:CreateTable, Scan, GetItem, PutItem, UpdateItem, DeleteItem: needed from the first start on; " +
				"trials were not refused, but only the start can prove these permissions",
			"ok     limits of the system for 1 children",
		}},
		"table": {table: hashKey, status: statusOK, want: []string{
			"ok     lease table app", "ok     Scan on lease table app", "ok     GetItem on", "ok     PutItem on",
			"ok     UpdateItem on", "ok     DeleteItem on",
		}},
		"noTableToMake": {refused: "CreateTable", status: statusFailed, want: []string{
			"FAULT  CreateTable on lease table app: ", "allow dynamodb:CreateTable on app",
			"note   dynamodb:Scan, GetItem, PutItem, UpdateItem, DeleteItem: needed from the first start on",
		}},
		"noTableToWrite": {refused: "UpdateItem", status: statusFailed, want: []string{
			"FAULT  UpdateItem on lease table app: ", "allow dynamodb:UpdateItem on app",
			"note   dynamodb:CreateTable, Scan, GetItem, PutItem, DeleteItem: needed from the first start on",
		}},
		"fanOut": {lines: []string{"retrievalMode = FANOUT"}, status: statusOK, want: []string{
			"note   stream consumer app does not exist: the daemon registers it",
			"note   kinesis:RegisterStreamConsumer: needed at the first start; it cannot be tried without registering",
			"note   kinesis:SubscribeToShard: needed to read each shard; a trial was not refused, but only " +
				"the start can prove this permission",
		}},
		"noSubscriptionLater": {
			kinesis: deny("SubscribeToShard"), lines: []string{"retrievalMode = FANOUT"}, status: statusFailed,
			want: []string{"FAULT  subscription by stream consumer app: ", "allow kinesis:SubscribeToShard on arn:aws:kinesis:"},
		},
		"consumer": {lines: []string{"retrievalMode = FANOUT"}, consumer: "app", status: statusOK, want: []string{
			"ok     stream consumer app\n", "ok     subscription by stream consumer app\n",
			"note   kinesis:RegisterStreamConsumer: not tried; needed only after the stream consumer was deleted",
		}},
		"namedConsumer": {
			lines: []string{"retrievalMode = FANOUT", "fanoutConfig.consumerName = other"}, consumer: "other",
			status: statusOK, want: []string{"ok     subscription by stream consumer other\n"},
		},
		"noSubscription": {
			kinesis: deny("SubscribeToShard"), lines: []string{"retrievalMode = FANOUT"}, consumer: "app",
			status: statusFailed,
			want: []string{
				"FAULT  subscription by stream consumer app: ", "allow kinesis:SubscribeToShard on arn:aws:kinesis:",
			},
		},
		"noStream": {lines: []string{"streamName = none"}, status: statusFailed, want: []string{
			"FAULT  stream none: kinesis:DescribeStreamSummary none: the stream does not exist in region us-east-1: create it",
		}},
		"notAllowed": {kinesis: deny("GetRecords"), status: statusFailed, want: []string{
			"ok     stream orders", "FAULT  records of shard shardId-000000000000: ", "allow kinesis:GetRecords on orders",
		}},
		"noConsumer": {
			kinesis: deny("DescribeStreamConsumer"), lines: []string{"retrievalMode = FANOUT"}, status: statusFailed,
			want: []string{"FAULT  stream consumer app: ", "allow kinesis:DescribeStreamConsumer on app"},
		},
		"notWritable": {table: hashKey, refused: "UpdateItem", status: statusFailed, want: []string{
			"ok     PutItem on lease table app", "FAULT  UpdateItem on lease table app: ", "allow dynamodb:UpdateItem on app",
		}},
		"foreignTable": {table: "id", status: statusFailed, want: []string{
			"FAULT  lease table app: ", "its key is not leaseKey: set tableName to another table",
		}},
		"noProgram": {lines: []string{"executableName = /no/such/program"}, status: statusFailed, want: []string{
			"FAULT  program, region and settings: executableName: ",
		}},
		"noCredentials": {
			lines: []string{"AWSCredentialsProvider = WebIdentityTokenFileCredentialsProvider"}, status: statusFailed,
			want: []string{"FAULT  credentials by WebIdentityTokenFileCredentialsProvider: "},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			r := newRig(t, tc.kinesis)
			if tc.table != "" {
				r.makeTable(t, "app", tc.table)
			}
			if tc.refused != "" {
				r.tables.Inject(dynamotest.Fault{Operation: tc.refused, Do: []dynamotest.Action{dynamotest.Deny()}})
			}
			if tc.consumer != "" {
				r.register(t, tc.consumer)
			}
			var out, logs buffer
			require.Equal(t, tc.status, run(t.Context(), []string{"--check", r.file(t, tc.lines...)}, &out, &logs), out.String())
			for _, want := range tc.want {
				require.Contains(t, out.String(), want)
			}
			require.Equal(t, tc.status == statusFailed, strings.Contains(logs.String(), "the check found faults"))
			_, err := r.dynamoDB.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: aws.String("app")})
			require.Equal(t, tc.table == "", awserr.Is(err, "ResourceNotFoundException"), "no table is made: %v", err)
			consumers, err := r.kinesis.ListStreamConsumers(t.Context(), &kinesis.ListStreamConsumersInput{StreamARN: r.arn(t)})
			require.NoError(t, err)
			require.Equal(t, tc.consumer != "", len(consumers.Consumers) > 0, "no consumer is registered")
			if tc.table == hashKey {
				scan, err := r.dynamoDB.Scan(context.WithoutCancel(t.Context()), &dynamodb.ScanInput{TableName: aws.String("app")})
				require.NoError(t, err)
				require.Empty(t, scan.Items, "nothing is written")
			}
			require.Empty(t, r.lines, "no child")
		})
	}
}
