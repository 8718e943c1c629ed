package dynamodb_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

// TestInitAtOnce: ten workers start together. One makes the table, and all wait for it.
func TestInitAtOnce(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{SettleTime: 20 * time.Second})
		defer srv.Close()
		start := time.Now()
		var wg sync.WaitGroup
		errs := make(chan error, 10)
		for range 10 {
			s := storeOn(t, srv)
			wg.Go(func() { errs <- s.Init(t.Context()) })
		}
		wg.Wait()
		for range 10 {
			require.NoError(t, <-errs)
		}
		require.GreaterOrEqual(t, time.Since(start), 20*time.Second)
		require.Less(t, time.Since(start), 30*time.Second)
		require.Less(t, srv.Calls("DescribeTable"), 10*20, "polling backs off")
		require.NoError(t, storeOn(t, srv).Create(t.Context(), lease("a")))
	})
}

func TestInitTableOfTheKCL(t *testing.T) {
	t.Parallel()
	srv, s := serve(t, dynamotest.Config{})
	client := awstest.DynamoDB(t, srv)
	require.NoError(t, s.Init(t.Context()))
	out, err := client.DescribeTable(t.Context(), &sdk.DescribeTableInput{TableName: aws.String(table)})
	require.NoError(t, err)
	require.Equal(t, []types.KeySchemaElement{{AttributeName: aws.String("leaseKey"), KeyType: types.KeyTypeHash}},
		out.Table.KeySchema)
	require.Equal(t,
		[]types.AttributeDefinition{{AttributeName: aws.String("leaseKey"), AttributeType: types.ScalarAttributeTypeS}},
		out.Table.AttributeDefinitions)
	require.Equal(t, types.BillingModePayPerRequest, out.Table.BillingModeSummary.BillingMode)
	require.False(t, *out.Table.DeletionProtectionEnabled)
	require.Equal(t, map[string]int{"DescribeTable": 3, "CreateTable": 1}, srv.AllCalls())
}

func TestInitOptions(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{SettleTime: time.Second})
		defer srv.Close()
		client := awstest.DynamoDB(t, srv)
		s := storeOn(t, srv, func(c *dynamodb.Config) {
			c.ReadCapacity, c.WriteCapacity, c.DeletionProtection, c.PointInTimeRecovery = 3, 4, true, true
			c.Tags = map[string]string{"team": "orders"}
		})
		require.NoError(t, s.Init(t.Context()))
		require.NoError(t, s.Init(t.Context()))
		require.Equal(t, 1, srv.Calls("UpdateContinuousBackups"), "not again when it is on")
		out, err := client.DescribeTable(t.Context(), &sdk.DescribeTableInput{TableName: aws.String(table)})
		require.NoError(t, err)
		require.Nil(t, out.Table.BillingModeSummary)
		require.Equal(t, int64(3), *out.Table.ProvisionedThroughput.ReadCapacityUnits)
		require.Equal(t, int64(4), *out.Table.ProvisionedThroughput.WriteCapacityUnits)
		require.True(t, *out.Table.DeletionProtectionEnabled)
		tags, err := client.ListTagsOfResource(t.Context(), &sdk.ListTagsOfResourceInput{ResourceArn: out.Table.TableArn})
		require.NoError(t, err)
		require.Equal(t, []types.Tag{{Key: aws.String("team"), Value: aws.String("orders")}}, tags.Tags)
		backups, err := client.DescribeContinuousBackups(t.Context(), &sdk.DescribeContinuousBackupsInput{
			TableName: aws.String(table),
		})
		require.NoError(t, err)
		require.Equal(t, types.PointInTimeRecoveryStatusEnabled,
			backups.ContinuousBackupsDescription.PointInTimeRecoveryDescription.PointInTimeRecoveryStatus)
	})
}

// TestInitWhileIndexIsMade: a table that is UPDATING can be used, however long the index of a KCL 3
// fleet takes.
func TestInitWhileIndexIsMade(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{SettleTime: time.Hour})
		defer srv.Close()
		createTable(t, srv, "leaseKey")
		time.Sleep(time.Hour)
		key := func(name string, kind types.KeyType) types.KeySchemaElement {
			return types.KeySchemaElement{AttributeName: &name, KeyType: kind}
		}
		_, err := awstest.DynamoDB(t, srv).UpdateTable(t.Context(), &sdk.UpdateTableInput{
			TableName: aws.String(table),
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: aws.String("leaseOwner"), AttributeType: types.ScalarAttributeTypeS},
			},
			GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{{Create: &types.CreateGlobalSecondaryIndexAction{
				IndexName:  aws.String("LeaseOwnerToLeaseKeyIndex"),
				KeySchema:  []types.KeySchemaElement{key("leaseOwner", types.KeyTypeHash), key("leaseKey", types.KeyTypeRange)},
				Projection: &types.Projection{ProjectionType: types.ProjectionTypeKeysOnly},
			}}},
		})
		require.NoError(t, err)
		start := time.Now()
		require.NoError(t, storeOn(t, srv).Init(t.Context()))
		require.Equal(t, start, time.Now())
	})
}

// TestInitForeignTable: a table of another library is refused before anything is written. The error
// names it.
func TestInitForeignTable(t *testing.T) {
	t.Parallel()
	for name, keys := range map[string][]string{
		"orders has the key ShardID (S, HASH), a lease table has leaseKey (S, HASH)":  {"ShardID"},
		"orders has the key leaseKey (S, HASH), sort (S, RANGE), a lease table has":   {"leaseKey", "sort"},
		"another application or library uses this table: set Config.Table to another": {"Namespace", "ShardID"},
	} {
		srv, s := serve(t, dynamotest.Config{})
		createTable(t, srv, keys...)
		err := s.Init(t.Context())
		require.ErrorIs(t, err, leases.ErrForeignTable)
		require.ErrorContains(t, err, name)
		require.Equal(t, map[string]int{"CreateTable": 1, "DescribeTable": 1}, srv.AllCalls())
	}
}

func createTable(t *testing.T, srv *dynamotest.Server, keys ...string) {
	t.Helper()
	in := &sdk.CreateTableInput{TableName: aws.String(table), BillingMode: types.BillingModePayPerRequest}
	kind := types.KeyTypeHash
	for _, k := range keys {
		in.AttributeDefinitions = append(in.AttributeDefinitions, types.AttributeDefinition{
			AttributeName: aws.String(k), AttributeType: types.ScalarAttributeTypeS,
		})
		in.KeySchema = append(in.KeySchema, types.KeySchemaElement{AttributeName: aws.String(k), KeyType: kind})
		kind = types.KeyTypeRange
	}
	_, err := awstest.DynamoDB(t, srv).CreateTable(t.Context(), in)
	require.NoError(t, err)
}

// TestDenied: the error of each call names the missing permission.
func TestDenied(t *testing.T) {
	t.Parallel()
	row := lease("a")
	for operation, run := range map[string]func(context.Context, *dynamodb.Store) error{
		"DescribeTable": func(ctx context.Context, s *dynamodb.Store) error { return s.Init(ctx) },
		"CreateTable":   func(ctx context.Context, s *dynamodb.Store) error { return s.Init(ctx) },
		"Scan":          func(ctx context.Context, s *dynamodb.Store) error { _, err := s.List(ctx); return err },
		"GetItem":       func(ctx context.Context, s *dynamodb.Store) error { _, err := s.Get(ctx, "a"); return err },
		"PutItem":       func(ctx context.Context, s *dynamodb.Store) error { return s.Create(ctx, row) },
		"UpdateItem": func(ctx context.Context, s *dynamodb.Store) error {
			return s.Update(ctx, leases.Update{Read: row, To: row, Set: leases.AttrCounter})
		},
		"DeleteItem":                func(ctx context.Context, s *dynamodb.Store) error { return s.Delete(ctx, row, 0) },
		"DescribeContinuousBackups": func(ctx context.Context, s *dynamodb.Store) error { return s.Init(ctx) },
		"UpdateContinuousBackups":   func(ctx context.Context, s *dynamodb.Store) error { return s.Init(ctx) },
	} {
		t.Run(operation, func(t *testing.T) {
			t.Parallel()
			srv, s := serve(t, dynamotest.Config{}, func(c *dynamodb.Config) { c.PointInTimeRecovery, c.ScanSegments = true, 1 })
			srv.Inject(dynamotest.Fault{Operation: operation, Do: []dynamotest.Action{dynamotest.Deny()}})
			err := run(t.Context(), s)
			require.ErrorIs(t, err, kcl.ErrAccessDenied)
			require.ErrorContains(t, err, "allow dynamodb:"+operation+" on table orders")
			require.Equal(t, 1, srv.Calls(operation))
		})
	}
}

func TestInitGivesUp(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{SettleTime: time.Hour})
		defer srv.Close()
		s := storeOn(t, srv)
		start := time.Now()
		err := s.Init(t.Context())
		require.ErrorContains(t, err,
			`wait for table orders to become ACTIVE (it is "CREATING"): table was not usable after 10m0s`)
		require.Equal(t, 10*time.Minute, time.Since(start))
		require.Less(t, srv.Calls("DescribeTable"), 250)

		ctx, cancel := context.WithCancelCause(t.Context())
		stopped := errors.New("stopped")
		time.AfterFunc(time.Minute, func() { cancel(stopped) })
		require.ErrorIs(t, s.Init(ctx), stopped)
	})
}

// TestInitPatience: Init waits while the account is at a limit, after a lost answer, and while a
// table is being deleted.
func TestInitPatience(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		srv := dynamotest.Start(dynamotest.Config{SettleTime: 30 * time.Second})
		defer srv.Close()
		srv.Inject(dynamotest.Fault{
			Operation: "CreateTable", Times: 5,
			Do: []dynamotest.Action{dynamotest.Fail("LimitExceededException", "too many tables are being created")},
		})
		srv.Inject(dynamotest.Fault{
			Operation: "CreateTable", Skip: 5, Times: 1, Do: []dynamotest.Action{dynamotest.LoseAnswer()},
		})
		s := storeOn(t, srv)
		require.NoError(t, s.Init(t.Context()))
		_, err := awstest.DynamoDB(t, srv).DeleteTable(t.Context(), &sdk.DeleteTableInput{TableName: aws.String(table)})
		require.NoError(t, err)
		require.NoError(t, s.Init(t.Context()))
		require.NoError(t, s.Create(t.Context(), lease("a")))
	})
}

// TestL16TableDeleted: every call reports that the table is gone, and none makes it again.
func TestL16TableDeleted(t *testing.T) {
	t.Parallel()
	srv, s := serve(t, dynamotest.Config{})
	require.NoError(t, s.Init(t.Context()))
	_, err := awstest.DynamoDB(t, srv).DeleteTable(t.Context(), &sdk.DeleteTableInput{TableName: aws.String(table)})
	require.NoError(t, err)
	row := lease("a")
	_, err = s.List(t.Context())
	require.ErrorIs(t, err, leases.ErrTableNotFound)
	require.ErrorContains(t, err, "orders")
	_, err = s.Get(t.Context(), "a")
	require.ErrorIs(t, err, leases.ErrTableNotFound)
	require.NotErrorIs(t, err, leases.ErrNotFound, "no table is not the same as no row")
	require.ErrorIs(t, s.Create(t.Context(), row), leases.ErrTableNotFound)
	require.ErrorIs(t, s.Update(t.Context(), leases.Update{Read: row, To: row, Set: leases.AttrCounter}),
		leases.ErrTableNotFound)
	require.ErrorIs(t, s.Delete(t.Context(), row, 0), leases.ErrTableNotFound)
	require.Equal(t, 1, srv.Calls("CreateTable"))
}

func TestValidate(t *testing.T) {
	t.Parallel()
	err := dynamodb.New(dynamodb.Config{Table: "a b", RequestTimeout: -1, ReadCapacity: 5}).Init(t.Context())
	for _, want := range []string{
		"Config.Client is missing", `Config.Table is "a b"`, "Config.RequestTimeout is -1ns",
		"Config.ReadCapacity is 5 and Config.WriteCapacity 0",
	} {
		require.ErrorContains(t, err, want)
	}
	require.NoError(t,
		dynamodb.Config{Client: &sdk.Client{}, Table: "orders", ReadCapacity: 1, WriteCapacity: 1}.Validate())
}

// A global table is told at the start: two regions could hold the same lease.
func TestGlobalTableIsTold(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	logged := func(c *dynamodb.Config) { c.Logger = slog.New(slog.NewTextHandler(&log, nil)) }
	_, s := serve(t, dynamotest.Config{Replicas: []string{"eu-west-1", "us-west-2"}}, logged)
	require.NoError(t, s.Init(t.Context()))
	require.Contains(t, log.String(), "level=WARN")
	require.Contains(t, log.String(), "lease table is a global table")
	require.Contains(t, log.String(), "eu-west-1 us-west-2")

	log.Reset()
	_, s = serve(t, dynamotest.Config{}, logged)
	require.NoError(t, s.Init(t.Context()))
	require.NotContains(t, log.String(), "level=WARN")
}
