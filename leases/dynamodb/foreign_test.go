package dynamodb_test

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/leases/gokcl"
)

func oldTable(t *testing.T, srv *dynamotest.Server, name string) *dynamodb.GoKCLTable {
	t.Helper()
	return dynamodb.NewGoKCLTable(dynamodb.Config{Client: awstest.DynamoDB(t, srv), Table: name, Logger: slog.New(slog.DiscardHandler)})
}

func TestGoKCLTable(t *testing.T) {
	t.Parallel()
	srv, store := serve(t, dynamotest.Config{PageRows: 1, EmptyPages: true})
	old := oldTable(t, srv, "old")
	_, _, err := old.List(t.Context())
	require.ErrorIs(t, err, leases.ErrTableNotFound)
	require.NoError(t, old.Init(t.Context()))
	require.NoError(t, old.Init(t.Context()), "a table that is there is used")

	want := []gokcl.Row{
		{ShardID: "a", Checkpoint: "SHARD_END"},
		{ShardID: "b", Parent: "a", Owner: "w", Until: time.Date(2026, 1, 31, 8, 0, 0, 1, time.UTC), Checkpoint: "12", Claim: "v"},
	}
	for _, r := range want {
		existing, err := old.Create(t.Context(), r)
		require.NoError(t, err)
		require.Nil(t, existing)
	}
	existing, err := old.Create(t.Context(), gokcl.Row{ShardID: "a", Checkpoint: "1"})
	require.NoError(t, err)
	require.Equal(t, want[0], *existing, "nothing is overwritten")

	srv.Put("old", dynamotest.Item{"ShardID": dynamotest.S("c"), "Checkpoint": dynamotest.N("12"), "LeaseTimeout": dynamotest.S("soon"), "AssignedTo": dynamotest.S("w")})
	rows, bad, err := old.List(t.Context())
	require.NoError(t, err)
	slices.SortFunc(rows, func(a, b gokcl.Row) int { return strings.Compare(a.ShardID, b.ShardID) })
	require.Equal(t, want, rows)
	require.Len(t, bad, 1)
	require.ErrorContains(t, bad[0], `Checkpoint is N "12", want a string (S)`)
	require.ErrorContains(t, bad[0], `LeaseTimeout is "soon"`)
	_, err = old.Create(t.Context(), gokcl.Row{ShardID: "c"})
	require.ErrorContains(t, err, `row "c"`)

	got, err := old.Get(t.Context(), "b")
	require.NoError(t, err)
	require.Equal(t, want[1], got)
	_, err = old.Get(t.Context(), "d")
	require.ErrorIs(t, err, leases.ErrNotFound)
	_, err = old.Get(t.Context(), "c")
	require.ErrorContains(t, err, `row "c"`)

	// One is never taken for the other.
	require.NoError(t, store.Init(t.Context()))
	ours := oldTable(t, srv, table)
	_, _, err = ours.List(t.Context())
	require.ErrorIs(t, err, leases.ErrForeignTable)
	require.ErrorContains(t, err, "is used as it is")
	require.ErrorIs(t, ours.Init(t.Context()), leases.ErrForeignTable)
	require.ErrorIs(t, storeOn(t, srv, func(c *dynamodb.Config) { c.Table = "old" }).Init(t.Context()), leases.ErrForeignTable)
}

// FuzzGoKCLItem puts any item into an old table: it is a row or a bad row, and
// a row can be written again.
func FuzzGoKCLItem(f *testing.F) {
	f.Add(`{"ShardID":{"S":"s"},"AssignedTo":{"S":"w"},"LeaseTimeout":{"S":"2026-01-31T08:00:00Z"},"Checkpoint":{"S":"12"}}`)
	f.Add(`{"ShardID":{"S":"s"},"Checkpoint":{"N":"12"},"ParentShardId":{"SS":["a"]},"ClaimRequest":{"B":"AA=="}}`)
	f.Add(`{"ShardID":{"S":"\u001b"},"AssignedTo":{"NULL":true},"LeaseTimeout":{"BOOL":true}}`)
	srv := dynamotest.Start(dynamotest.Config{})
	f.Cleanup(srv.Close)
	client := awstest.DynamoDB(f, srv)
	old := dynamodb.NewGoKCLTable(dynamodb.Config{Client: client, Table: "old", Logger: slog.New(slog.DiscardHandler)})
	require.NoError(f, old.Init(context.Background()))
	f.Fuzz(func(t *testing.T, text string) {
		var it dynamotest.Item
		if json.Unmarshal([]byte(text), &it) != nil || it["ShardID"].Type != "S" || it["ShardID"].Text == "" || len(it["ShardID"].Text) > 2048 {
			return
		}
		srv.Put("old", it)
		rows, bad, err := old.List(t.Context())
		require.NoError(t, err)
		require.Equal(t, 1, len(rows)+len(bad))
		_, err = client.DeleteItem(t.Context(), &sdk.DeleteItemInput{
			TableName: aws.String("old"), Key: map[string]types.AttributeValue{"ShardID": &types.AttributeValueMemberS{Value: it["ShardID"].Text}},
		})
		require.NoError(t, err)
		if len(rows) == 0 {
			return
		}
		_, err = old.Create(t.Context(), rows[0])
		require.NoError(t, err)
		again, _, err := old.List(t.Context())
		require.NoError(t, err)
		require.Equal(t, rows, again)
		_, err = client.DeleteItem(t.Context(), &sdk.DeleteItemInput{
			TableName: aws.String("old"), Key: map[string]types.AttributeValue{"ShardID": &types.AttributeValueMemberS{Value: rows[0].ShardID}},
		})
		require.NoError(t, err)
	})
}
