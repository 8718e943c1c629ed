package dynamotest_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
)

const byOwner = "ByOwner"

func addIndex(t *testing.T, client *dynamodb.Client, change ...func(*dynamodb.UpdateTableInput)) error {
	t.Helper()
	in := &dynamodb.UpdateTableInput{
		TableName: table,
		AttributeDefinitions: []types.AttributeDefinition{
			{AttributeName: aws.String("leaseKey"), AttributeType: types.ScalarAttributeTypeS},
			{AttributeName: aws.String("leaseOwner"), AttributeType: types.ScalarAttributeTypeS},
		},
		GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: &types.CreateGlobalSecondaryIndexAction{
			IndexName: aws.String(byOwner), Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
			KeySchema: []types.KeySchemaElement{
				{AttributeName: aws.String("leaseOwner"), KeyType: types.KeyTypeHash},
				{AttributeName: aws.String("leaseKey"), KeyType: types.KeyTypeRange},
			},
		}}},
	}
	for _, c := range change {
		c(in)
	}
	_, err := client.UpdateTable(t.Context(), in)
	return err
}

func owned(owner string) *dynamodb.QueryInput {
	return &dynamodb.QueryInput{
		TableName: table, IndexName: aws.String(byOwner), KeyConditionExpression: aws.String("#o = :o"),
		ExpressionAttributeNames: map[string]string{"#o": "leaseOwner"}, ExpressionAttributeValues: item{":o": str(owner)},
	}
}

// keysOf returns the keys that the index has for an owner. It reads page by page.
func keysOf(t *testing.T, client *dynamodb.Client, owner string) []string {
	t.Helper()
	in := owned(owner)
	var keys []string
	for {
		out, err := client.Query(t.Context(), in)
		require.NoError(t, err)
		for _, it := range out.Items {
			require.Len(t, it, 2, "KEYS_ONLY")
			keys = append(keys, it["leaseKey"].(*types.AttributeValueMemberS).Value)
		}
		if in.ExclusiveStartKey = out.LastEvaluatedKey; in.ExclusiveStartKey == nil {
			return keys
		}
	}
}

func TestIndex(t *testing.T) {
	t.Parallel()
	_, client := serve(t, dynamotest.Config{PageRows: 2})
	for i := range 5 {
		put(t, client, item{"leaseKey": str(fmt.Sprint("k", 4-i)), "leaseOwner": str("w1"), "checkpoint": str("LATEST")})
	}
	put(t, client, item{"leaseKey": str("k5"), "leaseOwner": str("w2")})
	put(t, client, item{"leaseKey": str("nobody's")})
	put(t, client, item{"leaseKey": str("odd"), "leaseOwner": num("7")}) // it is not in the index
	_, err := client.Query(t.Context(), owned("w1"))
	requireCode(t, err, "ValidationException", "does not have the specified index: ByOwner")
	require.NoError(t, addIndex(t, client))
	require.Equal(t, []string{"k0", "k1", "k2", "k3", "k4"}, keysOf(t, client, "w1"))
	require.Equal(t, []string{"k5"}, keysOf(t, client, "w2"))
	require.Empty(t, keysOf(t, client, "w3"))
	bare := owned("w2") // as the Java KCL writes it
	bare.KeyConditionExpression, bare.ExpressionAttributeNames = aws.String("leaseOwner = :o"), nil
	out, err := client.Query(t.Context(), bare)
	require.NoError(t, err)
	require.Equal(t, []item{{"leaseKey": str("k5"), "leaseOwner": str("w2")}}, out.Items)

	_, err = client.UpdateItem(t.Context(), &dynamodb.UpdateItemInput{
		TableName: table, Key: item{"leaseKey": str("k0")}, UpdateExpression: aws.String("SET #o = :o"),
		ExpressionAttributeNames: map[string]string{"#o": "leaseOwner"}, ExpressionAttributeValues: item{":o": str("w2")},
	})
	require.NoError(t, err)
	require.Equal(t, []string{"k0", "k5"}, keysOf(t, client, "w2"))

	// Items that the index cannot hold are refused from now on.
	for _, tt := range []struct {
		owner types.AttributeValue
		want  string
	}{{num("7"), "Type mismatch for Index Key leaseOwner"}, {str(""), "cannot contain an empty string value"}} {
		_, err = client.PutItem(t.Context(), &dynamodb.PutItemInput{
			TableName: table, Item: item{"leaseKey": str("x"), "leaseOwner": tt.owner},
		})
		requireCode(t, err, "ValidationException", tt.want)
	}

	for want, change := range map[string]func(*dynamodb.QueryInput){
		"Consistent reads are not supported": func(in *dynamodb.QueryInput) { in.ConsistentRead = aws.Bool(true) },
		"missed key schema element": func(in *dynamodb.QueryInput) {
			in.ExpressionAttributeNames["#o"] = "leaseKey"
		},
		"does not match schema type": func(in *dynamodb.QueryInput) { in.ExpressionAttributeValues[":o"] = num("1") },
		"starting key is invalid": func(in *dynamodb.QueryInput) {
			in.ExclusiveStartKey = item{"leaseKey": str("k0")}
		},
		"KeyConditionExpression parameter": func(in *dynamodb.QueryInput) {
			in.KeyConditionExpression, in.ExpressionAttributeNames, in.ExpressionAttributeValues = nil, nil, nil
		},
		"greater than or equal to 1": func(in *dynamodb.QueryInput) { in.Limit = aws.Int32(0) },
	} {
		in := owned("w1")
		change(in)
		_, err = client.Query(t.Context(), in)
		requireCode(t, err, "ValidationException", want)
	}
	requireCode(t, addIndex(t, client), "ValidationException", "Duplicate index name")
	requireCode(t, addIndex(t, client, func(in *dynamodb.UpdateTableInput) {
		in.GlobalSecondaryIndexUpdates = append(in.GlobalSecondaryIndexUpdates, in.GlobalSecondaryIndexUpdates[0])
	}), "LimitExceededException", "1 online index")
	requireCode(t, addIndex(t, client, func(in *dynamodb.UpdateTableInput) {
		in.GlobalSecondaryIndexUpdates[0].Create.IndexName = aws.String("Other")
		in.GlobalSecondaryIndexUpdates[0].Create.KeySchema[1].AttributeName = aws.String("unknown")
	}), "ValidationException", "not defined in AttributeDefinitions")
	requireCode(t, addIndex(t, client, func(in *dynamodb.UpdateTableInput) {
		in.GlobalSecondaryIndexUpdates[0].Create.IndexName = aws.String("Other")
		in.GlobalSecondaryIndexUpdates[0].Create.ProvisionedThroughput = &types.ProvisionedThroughput{
			ReadCapacityUnits: aws.Int64(1), WriteCapacityUnits: aws.Int64(1),
		}
	}), "ValidationException", "should not be specified")
	deleteIndex := func(in *dynamodb.UpdateTableInput) {
		in.AttributeDefinitions = nil
		in.GlobalSecondaryIndexUpdates = []types.GlobalSecondaryIndexUpdate{
			{Delete: &types.DeleteGlobalSecondaryIndexAction{IndexName: aws.String(byOwner)}},
		}
	}
	require.NoError(t, addIndex(t, client, deleteIndex))
	requireCode(t, addIndex(t, client, deleteIndex), "ResourceNotFoundException", "not found")
}

// TestIndexIsMadeAndBehind: a new index cannot be queried at once. An index lags behind its table.
func TestIndexIsMadeAndBehind(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{SettleTime: 10 * time.Second, IndexLag: time.Second})
		defer srv.Close()
		client := awstest.DynamoDB(t, srv, func(o *dynamodb.Options) { o.Retryer = aws.NopRetryer{} })
		create(t, client)
		time.Sleep(10 * time.Second)
		require.NoError(t, addIndex(t, client))
		status := func() (types.TableStatus, types.IndexStatus) {
			out, err := client.DescribeTable(t.Context(), &dynamodb.DescribeTableInput{TableName: table})
			require.NoError(t, err)
			return out.Table.TableStatus, out.Table.GlobalSecondaryIndexes[0].IndexStatus
		}
		s, x := status()
		require.Equal(t, types.TableStatusUpdating, s)
		require.Equal(t, types.IndexStatusCreating, x)
		put(t, client, item{"leaseKey": str("k"), "leaseOwner": str("w1")}) // the table can be used
		_, err := client.Query(t.Context(), owned("w1"))
		requireCode(t, err, "ValidationException", "backfilling")
		requireCode(t, addIndex(t, client), "ResourceInUseException", "being updated")
		time.Sleep(10 * time.Second)
		s, x = status()
		require.Equal(t, types.TableStatusActive, s)
		require.Equal(t, types.IndexStatusActive, x)

		require.Equal(t, []string{"k"}, keysOf(t, client, "w1"))
		put(t, client, item{"leaseKey": str("k"), "leaseOwner": str("w2")})
		require.Equal(t, []string{"k"}, keysOf(t, client, "w1"), "stale")
		require.Empty(t, keysOf(t, client, "w2"))
		require.Equal(t, str("w2"), get(t, client, "k", true)["leaseOwner"])
		time.Sleep(time.Second)
		require.Empty(t, keysOf(t, client, "w1"))
		require.Equal(t, []string{"k"}, keysOf(t, client, "w2"))
	})
}
