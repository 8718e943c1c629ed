package fleettest

import (
	"context"
	"net/url"
	"slices"
	"testing"
	"time"

	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/awstest"
	"github.com/kinesis-go/kcl/internal/dynamotest"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
)

// KCL3Fleet is a Fleet on the table "app" of DynamoDB. Each worker has a network host of its own,
// named like the worker.
type KCL3Fleet struct {
	*Fleet
	Server *dynamotest.Server
	// Table is the operator's view of the table, on the host "operator".
	Table *dynamodb.Store
}

// NewKCL3 returns a KCL3Fleet without workers, with a lease for each of so many shards. change may
// adapt the configuration of DynamoDB.
func NewKCL3(t *testing.T, shards int, change ...func(*dynamotest.Config)) *KCL3Fleet {
	cfg := dynamotest.Config{Lag: 100 * time.Millisecond}
	for _, c := range change {
		c(&cfg)
	}
	srv := dynamotest.Start(cfg)
	t.Cleanup(srv.Close)
	f := &KCL3Fleet{Fleet: newFleet(t), Server: srv}
	f.open = func(id string) leases.Store { return f.Open(id) }
	f.cutOff = func(id string) { srv.Network().Host(id).Kill() }
	f.slack = func(high int) int { return 1 + high/5 }
	f.Period = 2 * time.Second // each delivery is a call over the network
	f.reopen()
	require.NoError(t, f.Table.Init(t.Context()))
	f.createMany(shards)
	return f
}

// Open returns a store of the table for a process on host. change may adapt its configuration.
func (f *KCL3Fleet) Open(host string, change ...func(*dynamodb.Config)) *dynamodb.Store {
	cfg := dynamodb.Config{
		Client: awstest.DynamoDBFrom(f.T, f.Server, host), Table: "app",
		ConsistentList: host == "operator", Logger: f.Log,
	}
	for _, c := range change {
		c(&cfg)
	}
	return dynamodb.New(cfg)
}

// reopen gives the operator a new store, which looks for side tables anew.
func (f *KCL3Fleet) reopen() {
	f.Table = f.Open("operator")
	f.Store = f.Table
}

// Is3x makes the table one that the Java KCL 3.x has made.
func (f *KCL3Fleet) Is3x() { f.SetClientVersion(leases.ClientVersion3x) }

// SetClientVersion writes the state of the migration from KCL 2.x.
func (f *KCL3Fleet) SetClientVersion(status string) {
	f.T.Helper()
	m, err := f.Table.Fleet().Migrations(f.T.Context())
	require.NoError(f.T, err)
	to := leases.MigrationState{Status: status, By: "operator", At: time.Now()}
	require.NoError(f.T, f.Table.Fleet().SetClientVersion(f.T.Context(), m.ClientVersion, to))
}

// Leader is the owner of the lock; empty when there is none.
func (f *KCL3Fleet) Leader() string {
	lock, err := f.Table.Fleet().Leader(f.T.Context())
	require.NoError(f.T, err)
	if lock == nil {
		return ""
	}
	return lock.Owner
}

// Reports are the workers whose metrics are in the table, sorted.
func (f *KCL3Fleet) Reports() []string {
	workers, bad, err := f.Table.Fleet().Workers(f.T.Context())
	require.NoError(f.T, err)
	require.Empty(f.T, bad)
	ids := []string{}
	for _, w := range workers {
		ids = append(ids, w.Worker)
	}
	slices.Sort(ids)
	return ids
}

// Addr is the network host of DynamoDB.
func (f *KCL3Fleet) Addr() string {
	u, err := url.Parse(f.Server.URL())
	require.NoError(f.T, err)
	return u.Hostname()
}

// MakeSideTables makes the two tables that workers of KCL 3.0 to 3.4 would make.
func (f *KCL3Fleet) MakeSideTables() {
	client := awstest.DynamoDBFrom(f.T, f.Server, "operator")
	for name, key := range map[string]string{"app-CoordinatorState": "key", "app-WorkerMetricStats": "wid"} {
		_, err := client.CreateTable(f.T.Context(), &sdk.CreateTableInput{
			TableName: &name, BillingMode: types.BillingModePayPerRequest,
			KeySchema: []types.KeySchemaElement{{AttributeName: &key, KeyType: types.KeyTypeHash}},
			AttributeDefinitions: []types.AttributeDefinition{
				{AttributeName: &key, AttributeType: types.ScalarAttributeTypeS},
			},
		})
		require.NoError(f.T, err)
	}
	time.Sleep(time.Second)
	f.reopen()
}

// HoldAsKCL2 holds all leases as a worker of KCL 2.x, and returns after 25 s.
func (f *KCL3Fleet) HoldAsKCL2(id string) {
	store := f.Open(id)
	for begun := time.Now(); time.Since(begun) < 25*time.Second; time.Sleep(3 * time.Second) {
		list, err := store.List(context.Background())
		if err != nil {
			return
		}
		for _, row := range list.Leases {
			to := row
			to.Owner = id
			to.Counter++
			update := leases.Update{Read: row, To: to, Set: leases.AttrOwner | leases.AttrCounter}
			_ = store.Update(context.Background(), update)
		}
	}
}
