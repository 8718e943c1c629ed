package dynamotest_test

import (
	"testing"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/aws/smithy-go"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
)

type item = map[string]types.AttributeValue

func str(s string) types.AttributeValue { return &types.AttributeValueMemberS{Value: s} }

func num(s string) types.AttributeValue { return &types.AttributeValueMemberN{Value: s} }

var table = aws.String("leases")

// serve starts a fake with a table whose key is leaseKey.
func serve(t *testing.T, cfg dynamotest.Config) (*dynamotest.Server, *dynamodb.Client) {
	t.Helper()
	srv := dynamotest.Start(cfg)
	t.Cleanup(srv.Close)
	client := awstest.DynamoDB(t, srv, func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} })
	create(t, client)
	return srv, client
}

func create(t *testing.T, client *dynamodb.Client) {
	t.Helper()
	_, err := client.CreateTable(t.Context(), createInput())
	require.NoError(t, err)
}

func createInput() *dynamodb.CreateTableInput {
	return &dynamodb.CreateTableInput{
		TableName: table, BillingMode: types.BillingModePayPerRequest,
		KeySchema: []types.KeySchemaElement{{AttributeName: aws.String("leaseKey"), KeyType: types.KeyTypeHash}},
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("leaseKey"), AttributeType: types.ScalarAttributeTypeS},
		},
	}
}

func put(t *testing.T, client *dynamodb.Client, it item) {
	t.Helper()
	_, err := client.PutItem(t.Context(), &dynamodb.PutItemInput{TableName: table, Item: it})
	require.NoError(t, err)
}

func get(t *testing.T, client *dynamodb.Client, key string, consistent bool) item {
	t.Helper()
	out, err := client.GetItem(t.Context(), &dynamodb.GetItemInput{
		TableName: table, Key: item{"leaseKey": str(key)}, ConsistentRead: &consistent,
	})
	require.NoError(t, err)
	return out.Item
}

func requireCode(t *testing.T, err error, code, message string) {
	t.Helper()
	var api smithy.APIError
	require.ErrorAs(t, err, &api)
	require.Equal(t, code, api.ErrorCode())
	require.Contains(t, api.ErrorMessage(), message)
}
