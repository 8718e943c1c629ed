package main

import (
	"context"
	"strings"
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

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

// TestCheck: the check names each fault, with the permission or the setting that cures it. It
// writes nothing and starts no child.
func TestCheck(t *testing.T) {
	t.Parallel()
	deny := func(operation string) kinesistest.Config {
		return kinesistest.Config{Deny: func(op, _ string) bool { return op == operation }}
	}
	for name, tc := range map[string]struct {
		kinesis kinesistest.Config
		table   string // the hash key of a lease table
		refused string // an operation of DynamoDB
		lines   []string
		status  int
		want    []string
	}{
		"fresh": {status: statusOK, want: []string{
			"ok     stream orders", "ok     records of shard shardId-000000000000",
			"note   lease table app does not exist: the daemon makes it", "ok     limits of the system for 1 children",
		}},
		"table": {table: hashKey, status: statusOK, want: []string{
			"ok     lease table app", "ok     Scan on lease table app", "ok     GetItem on", "ok     PutItem on",
			"ok     UpdateItem on", "ok     DeleteItem on",
		}},
		"fanOut": {lines: []string{"retrievalMode = FANOUT"}, status: statusOK, want: []string{
			"note   stream consumer app does not exist: the daemon registers it",
		}},
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
			var out, logs buffer
			require.Equal(t, tc.status, run(t.Context(), []string{"--check", r.file(t, tc.lines...)}, &out, &logs), out.String())
			for _, want := range tc.want {
				require.Contains(t, out.String(), want)
			}
			require.Equal(t, tc.status == statusFailed, strings.Contains(logs.String(), "the check found faults"))
			if tc.table == hashKey {
				scan, err := r.dynamoDB.Scan(context.WithoutCancel(t.Context()), &dynamodb.ScanInput{TableName: aws.String("app")})
				require.NoError(t, err)
				require.Empty(t, scan.Items, "nothing is written")
			}
			require.Empty(t, r.lines, "no child")
		})
	}
}
