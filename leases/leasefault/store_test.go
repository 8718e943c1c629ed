package leasefault_test

import (
	"context"
	"errors"
	"net"
	"slices"
	"testing"
	"time"

	"github.com/alicebob/miniredis/v2"
	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	goredis "github.com/redis/go-redis/v9"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/leases/leasefault"
	"github.com/kinesis-go/kcl/leases/leasetest"
	"github.com/kinesis-go/kcl/leases/memory"
	"github.com/kinesis-go/kcl/leases/redis"
)

// wrap puts two Injectors in front of a store: one of a table, one of a worker.
func wrap(s leases.Store) leases.Store { return leasefault.New(leasefault.New(s).Store()).Store() }

func dynamoStore(t *testing.T, sideTables bool) *dynamodb.Store {
	srv := dynamotest.Start(dynamotest.Config{})
	t.Cleanup(srv.Close)
	client := awstest.DynamoDB(t, srv)
	if sideTables {
		for name, key := range map[string]string{"leases-CoordinatorState": "key", "leases-WorkerMetricStats": "wid"} {
			_, err := client.CreateTable(t.Context(), &sdk.CreateTableInput{
				TableName: &name, BillingMode: types.BillingModePayPerRequest,
				KeySchema: []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}},
				AttributeDefinitions: []types.AttributeDefinition{
					{AttributeName: aws.String(key), AttributeType: types.ScalarAttributeTypeS},
				},
			})
			require.NoError(t, err)
		}
	}
	return dynamodb.New(dynamodb.Config{Client: client, Table: "leases", MigrateToLeaseTable: true})
}

func redisStore(t *testing.T) *redis.Store {
	srv := miniredis.NewMiniRedis()
	t.Cleanup(srv.Close)
	client := goredis.NewClient(&goredis.Options{
		Addr:   "127.0.0.1:6379", // a name would be looked up, in spite of the Dialer
		Dialer: func(context.Context, string, string) (net.Conn, error) { return srv.Dial() },
	})
	t.Cleanup(func() { _ = client.Close() })
	return redis.New(redis.Config{Client: client, Application: "orders"})
}

// TestWrappedStores: without a fault a wrapped store passes the suites that the store passes.
func TestWrappedStores(t *testing.T) {
	t.Parallel()
	for name, open := range map[string]func(t *testing.T) leases.Store{
		"memory": func(*testing.T) leases.Store { return memory.New() },
		"memory with a lag": func(*testing.T) leases.Store {
			table := leasefault.New(memory.New())
			table.SetListLag(20 * time.Millisecond)
			return table.Store()
		},
		"dynamodb": func(t *testing.T) leases.Store { return dynamoStore(t, false) },
		"redis":    func(t *testing.T) leases.Store { return redisStore(t) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			leasetest.TestStore(t, func(t *testing.T) leases.Store { return wrap(open(t)) })
		})
	}
	t.Run("fleet", func(t *testing.T) {
		t.Parallel()
		leasetest.TestFleetStore(t, func(t *testing.T, sideTables bool) leases.SharedStore {
			return wrap(dynamoStore(t, sideTables)).(leases.SharedStore)
		})
	})
}

// checked is a store that has no fleet and checks its settings.
type checked struct{ *memory.Store }

var errSettings = errors.New("bad settings")

func (checked) Validate() error { return errSettings }

// unchecked is a store that has a fleet and does not check its settings.
type unchecked struct{ leases.SharedStore }

// TestOptionalMethods: a wrapped store has exactly the optional methods of the store.
func TestOptionalMethods(t *testing.T) {
	t.Parallel()
	dynamo := dynamoStore(t, false)
	for name, c := range map[string]struct {
		store             leases.Store
		fleet, validation bool
	}{
		"neither":    {memory.New(), false, false},
		"fleet":      {unchecked{dynamo}, true, false},
		"validation": {checked{memory.New()}, false, true},
		"both":       {dynamo, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := wrap(c.store)
			shared, ok := s.(leases.SharedStore)
			require.Equal(t, c.fleet, ok)
			if ok {
				require.NotNil(t, shared.Fleet())
			}
			v, ok := s.(interface{ Validate() error })
			require.Equal(t, c.validation, ok)
			if _, bad := c.store.(checked); bad {
				require.ErrorIs(t, v.Validate(), errSettings)
			}
		})
	}
}

// TestFaultSeesEveryCall: a fault sees each call with its name, those of the fleet too, and the
// call's error comes from the fault.
func TestFaultSeesEveryCall(t *testing.T) {
	t.Parallel()
	i := leasefault.New(dynamoStore(t, false))
	boom := errors.New("boom")
	var writes, reads []string
	i.SetFault(func(_ context.Context, call leasefault.Call, _ func() error) error {
		if call.Writes() {
			writes = append(writes, call.Op)
		} else {
			reads = append(reads, call.Op)
		}
		return boom
	})
	s, ctx := i.Store().(leases.SharedStore), t.Context()
	fleet := s.Fleet()
	for _, call := range []func() error{
		func() error { return s.Init(ctx) },
		func() error { _, err := s.List(ctx); return err },
		func() error { _, err := s.ListNow(ctx); return err },
		func() error { _, err := s.Get(ctx, "a"); return err },
		func() error { return s.Create(ctx, leases.Lease{Key: "a"}) },
		func() error { return s.Update(ctx, leases.Update{}) },
		func() error { return s.Delete(ctx, leases.Lease{Key: "a"}, 0) },
		func() error { _, err := fleet.EnsureIndex(ctx); return err },
		func() error { _, err := fleet.HasIndex(ctx); return err },
		func() error { _, err := fleet.OwnedBy(ctx, "w"); return err },
		func() error { _, _, err := fleet.Workers(ctx); return err },
		func() error { return fleet.ReportWorker(ctx, leases.WorkerMetrics{}) },
		func() error { return fleet.ForgetWorker(ctx, leases.WorkerMetrics{}) },
		func() error { _, err := fleet.Leader(ctx); return err },
		func() error { return fleet.AcquireLeader(ctx, nil, leases.LeaderLock{}) },
		func() error { return fleet.HeartbeatLeader(ctx, leases.LeaderLock{}, "v") },
		func() error { return fleet.ReleaseLeader(ctx, leases.LeaderLock{}) },
		func() error { _, err := fleet.Migrations(ctx); return err },
		func() error { return fleet.SetClientVersion(ctx, nil, leases.MigrationState{}) },
		func() error { return fleet.SetTableMigration(ctx, nil, leases.MigrationState{}) },
		func() error { return fleet.MoveToLeaseTable(ctx, leases.LeaderLock{}) },
	} {
		require.ErrorIs(t, call(), boom)
	}
	slices.Sort(reads)
	slices.Sort(writes)
	require.Equal(t, []string{
		"get", "hasindex", "init", "leader", "list", "list", "migrations", "ownedby", "workers",
	}, reads)
	require.Equal(t, []string{
		"acquireleader", "create", "delete", "ensureindex", "forgetworker", "heartbeatleader", "movetoleasetable",
		"releaseleader", "reportworker", "setclientversion", "settablemigration", "update",
	}, writes)
}
