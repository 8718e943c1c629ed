package dynamotest_test

import (
	"errors"
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

var other = aws.String("other")

// move is a transaction that takes a row from one table to the other. A third row must match its
// condition.
func move(key, owner string) *dynamodb.TransactWriteItemsInput {
	names := map[string]string{"#k": "leaseKey"}
	return &dynamodb.TransactWriteItemsInput{TransactItems: []types.TransactWriteItem{
		{ConditionCheck: &types.ConditionCheck{
			TableName: table, Key: item{"leaseKey": str("lock")}, ConditionExpression: aws.String("#o = :o"),
			ExpressionAttributeNames: map[string]string{"#o": "owner"}, ExpressionAttributeValues: item{":o": str(owner)},
			ReturnValuesOnConditionCheckFailure: types.ReturnValuesOnConditionCheckFailureAllOld,
		}},
		{
			Put: &types.Put{
				TableName: other, Item: item{"leaseKey": str(key), "x": num("1")},
				ConditionExpression: aws.String("attribute_not_exists(#k)"), ExpressionAttributeNames: names,
			},
		},
		{
			Delete: &types.Delete{
				TableName: table, Key: item{"leaseKey": str(key)}, ConditionExpression: aws.String("attribute_exists(#k)"),
				ExpressionAttributeNames: names,
			},
		},
	}}
}

func TestTransactions(t *testing.T) {
	t.Parallel()
	srv, client := serve(t, dynamotest.Config{})
	in := createInput()
	in.TableName = other
	_, err := client.CreateTable(t.Context(), in)
	require.NoError(t, err)
	put(t, client, item{"leaseKey": str("lock"), "owner": str("w1")})
	put(t, client, item{"leaseKey": str("a")})
	counts := func() [2]int { return [2]int{len(srv.Items(*table)), len(srv.Items(*other))} }

	reasons := func(err error) []string {
		t.Helper()
		cancelled, ok := errors.AsType[*types.TransactionCanceledException](err)
		require.True(t, ok, "%v", err)
		var out []string
		for _, r := range cancelled.CancellationReasons {
			out = append(out, fmt.Sprint(aws.ToString(r.Code), len(r.Item)))
		}
		return out
	}
	_, err = client.TransactWriteItems(t.Context(), move("a", "w2"))
	require.Equal(t, []string{"ConditionalCheckFailed2", "None0", "None0"}, reasons(err))
	_, err = client.TransactWriteItems(t.Context(), move("b", "w1"))
	require.Equal(t, []string{"None0", "None0", "ConditionalCheckFailed0"}, reasons(err))
	require.Equal(t, [2]int{2, 0}, counts(), "nothing or all")

	again := move("a", "w1")
	again.ClientRequestToken = aws.String("token")
	for range 2 { // the token shows that the second one is a repetition
		_, err = client.TransactWriteItems(t.Context(), again)
		require.NoError(t, err)
		require.Equal(t, [2]int{1, 1}, counts())
	}
	changed := move("b", "w1")
	changed.ClientRequestToken = aws.String("token")
	_, err = client.TransactWriteItems(t.Context(), changed)
	requireCode(t, err, "IdempotentParameterMismatchException", "non-identical")

	_, err = client.TransactWriteItems(t.Context(), &dynamodb.TransactWriteItemsInput{
		TransactItems: []types.TransactWriteItem{{Update: &types.Update{
			TableName: table, Key: item{"leaseKey": str("lock")}, UpdateExpression: aws.String("SET #o = :o"),
			ExpressionAttributeNames: map[string]string{"#o": "owner"}, ExpressionAttributeValues: item{":o": str("w3")},
		}}},
	})
	require.NoError(t, err)
	require.Equal(t, str("w3"), get(t, client, "lock", true)["owner"])

	for want, change := range map[string]func(*dynamodb.TransactWriteItemsInput){
		"between 1 and 100": func(in *dynamodb.TransactWriteItemsInput) {
			in.TransactItems = []types.TransactWriteItem{}
		},
		"multiple operations on one item": func(in *dynamodb.TransactWriteItemsInput) {
			in.TransactItems[1] = in.TransactItems[2]
		},
		"only contain one of": func(in *dynamodb.TransactWriteItemsInput) {
			in.TransactItems[1].Delete = in.TransactItems[2].Delete
		},
		"does not match the schema": func(in *dynamodb.TransactWriteItemsInput) {
			in.TransactItems[2].Delete.Key = item{"key": str("a")}
		},
		"can not be empty": func(in *dynamodb.TransactWriteItemsInput) {
			in.TransactItems[0].ConditionCheck.ConditionExpression = aws.String("")
		},
	} {
		in := move("a", "w3")
		change(in)
		_, err = client.TransactWriteItems(t.Context(), in)
		requireCode(t, err, "ValidationException", want)
	}
	missing := move("a", "w3")
	missing.TransactItems[1].Put.TableName = aws.String("unknown")
	_, err = client.TransactWriteItems(t.Context(), missing)
	requireCode(t, err, "ResourceNotFoundException", "not found")
}

// TestTransactionToken: the SDK repeats a transaction whose answer was lost, and it is applied
// once. Its token is forgotten after ten minutes.
func TestTransactionToken(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{})
		defer srv.Close()
		client := awstest.DynamoDB(t, srv)
		create(t, client)
		once := &dynamodb.TransactWriteItemsInput{
			ClientRequestToken: aws.String("token"),
			TransactItems: []types.TransactWriteItem{{Put: &types.Put{
				TableName: table, Item: item{"leaseKey": str("a")}, ConditionExpression: aws.String("attribute_not_exists(#k)"),
				ExpressionAttributeNames: map[string]string{"#k": "leaseKey"},
			}}},
		}
		srv.Inject(dynamotest.Fault{
			Operation: "TransactWriteItems", Times: 1, Do: []dynamotest.Action{dynamotest.LoseAnswer()},
		})
		_, err := client.TransactWriteItems(t.Context(), once)
		require.NoError(t, err)
		require.Equal(t, 2, srv.Calls("TransactWriteItems"))
		time.Sleep(10 * time.Minute)
		_, err = client.TransactWriteItems(t.Context(), once)
		require.Error(t, err, "it is a new one")
	})
}
