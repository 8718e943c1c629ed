package gokcl_test

import (
	"context"
	"encoding/json"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/internal/gokcl"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

const timeout = 3 * time.Second

// dynamoDBTable returns a table of go-kcl in a fake DynamoDB.
func dynamoDBTable(t *testing.T, srv *dynamotest.Server, name string) *gokcl.DynamoDBTable {
	t.Helper()
	return gokcl.NewDynamoDBTable(awstest.DynamoDB(t, srv), name, timeout)
}

func TestDynamoDBTable(t *testing.T) {
	t.Parallel()
	srv := dynamotest.Start(dynamotest.Config{PageRows: 1, EmptyPages: true})
	t.Cleanup(srv.Close)
	old := dynamoDBTable(t, srv, "old")
	_, _, err := old.List(t.Context())
	require.ErrorIs(t, err, leases.ErrTableNotFound)
	require.NoError(t, old.Init(t.Context()))
	require.NoError(t, old.Init(t.Context()), "a table that is there is used")

	testRows(t, old, func() {
		srv.Put("old", dynamotest.Item{
			"ShardID": dynamotest.S("c"), "Checkpoint": dynamotest.N("12"), "LeaseTimeout": dynamotest.S("soon"),
			"AssignedTo": dynamotest.S("w"),
		})
	}, `Checkpoint is N "12", want a string (S)`, `LeaseTimeout is "soon"`)

	// A table of one library is never taken for a table of the other.
	store := func(name string) *dynamodb.Store {
		return dynamodb.New(dynamodb.Config{Client: awstest.DynamoDB(t, srv), Table: name})
	}
	require.NoError(t, store("orders").Init(t.Context()))
	ours := dynamoDBTable(t, srv, "orders")
	_, _, err = ours.List(t.Context())
	require.ErrorIs(t, err, leases.ErrForeignTable)
	require.ErrorContains(t, err, "is used as it is")
	require.ErrorIs(t, ours.Init(t.Context()), leases.ErrForeignTable)
	require.ErrorIs(t, store("old").Init(t.Context()), leases.ErrForeignTable)
}

// A server names the same key as the end of its pages again and again.
func TestPagesThatDoNotEnd(t *testing.T) {
	t.Parallel()
	srv := dynamotest.Start(dynamotest.Config{})
	t.Cleanup(srv.Close)
	old := dynamoDBTable(t, srv, "old")
	require.NoError(t, old.Init(t.Context()))
	body := []byte(`{"Items":[],"LastEvaluatedKey":{"ShardID":{"S":"a"}}}`)
	srv.Inject(dynamotest.Fault{Operation: "Scan", Times: 100, Do: []dynamotest.Action{dynamotest.Answer(200, body)}})
	_, _, err := old.List(t.Context())
	require.ErrorContains(t, err, `the pages do not end, LastEvaluatedKey is ShardID "a" again and again`)
}

// FuzzItem puts any item into a table. It is a row or a bad row, and a row can be written again.
func FuzzItem(f *testing.F) {
	f.Add(`{"ShardID":{"S":"s"},"AssignedTo":{"S":"w"},"LeaseTimeout":{"S":"2026-01-31T08:00:00Z"},` +
		`"Checkpoint":{"S":"12"}}`)
	f.Add(`{"ShardID":{"S":"s"},"Checkpoint":{"N":"12"},"ParentShardId":{"SS":["a"]},"ClaimRequest":{"B":"AA=="}}`)
	f.Add(`{"ShardID":{"S":"\u001b"},"AssignedTo":{"NULL":true},"LeaseTimeout":{"BOOL":true}}`)
	srv := dynamotest.Start(dynamotest.Config{})
	f.Cleanup(srv.Close)
	client := awstest.DynamoDB(f, srv)
	old := gokcl.NewDynamoDBTable(client, "old", timeout)
	require.NoError(f, old.Init(context.Background()))
	remove := func(t *testing.T, id string) {
		_, err := client.DeleteItem(t.Context(), &sdk.DeleteItemInput{
			TableName: aws.String("old"),
			Key:       map[string]types.AttributeValue{"ShardID": &types.AttributeValueMemberS{Value: id}},
		})
		require.NoError(t, err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var it dynamotest.Item
		if json.Unmarshal([]byte(text), &it) != nil {
			return
		}
		if id := it["ShardID"]; id.Type != "S" || id.Text == "" || len(id.Text) > 2048 {
			return
		}
		srv.Put("old", it)
		rows, bad, err := old.List(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, len(rows)+len(bad))
		remove(t, it["ShardID"].Text)
		if len(rows) == 0 {
			return
		}
		_, err = old.Create(t.Context(), rows[0])
		require.NoError(t, err)
		again, _, err := old.List(t.Context())
		require.NoError(t, err)
		require.Equal(t, rows, again)
		remove(t, rows[0].ShardID)
	})
}
