package integration

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	sdk "github.com/aws/aws-sdk-go-v2/service/dynamodb"
	"github.com/aws/aws-sdk-go-v2/service/dynamodb/types"
	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
)

// clientVersion is how far the table says that the application has come from KCL 2.x to 3.x.
func (m *mixed) clientVersion(ctx context.Context, t *testing.T) *leases.MigrationState {
	t.Helper()
	migrations, err := m.store.Fleet().Migrations(ctx)
	require.NoError(t, err)
	return migrations.ClientVersion
}

func (m *mixed) awaitClientVersion(ctx context.Context, t *testing.T, limit time.Duration,
	status string,
) (found leases.MigrationState) {
	t.Helper()
	m.await(ctx, t, limit, "the table says "+status, func() bool {
		stored := m.clientVersion(ctx, t)
		if stored == nil || stored.Status != status {
			return false
		}
		found = *stored
		return true
	})
	return found
}

// operator writes a client version as KclMigrationTool.py does, over the one that it has read.
func (m *mixed) operator(ctx context.Context, t *testing.T, status string) {
	t.Helper()
	to := leases.MigrationState{Status: status, By: "KclMigrationTool-" + status, At: time.Now()}
	require.NoError(t, m.store.Fleet().SetClientVersion(ctx, m.clientVersion(ctx, t), to))
	m.step(t, "operator writes %s", status)
}

func (m *mixed) awaitMode(ctx context.Context, t *testing.T, limit time.Duration, worker, mode string) {
	t.Helper()
	m.await(ctx, t, limit, worker+" is in mode "+mode, func() bool { return m.mode(worker) == mode })
}

// mode is how a worker gets its leases, as it said last: a Java worker names the client version.
func (j *journal) mode(worker string) string {
	j.mu.Lock()
	defer j.mu.Unlock()
	for _, e := range slices.Backward(j.events) {
		if e.worker == worker && e.kind == "mode" {
			return e.data
		}
	}
	return ""
}

// deleteIndex does the last step of a roll-back by the tool.
func (m *mixed) deleteIndex(ctx context.Context, t *testing.T) {
	t.Helper()
	_, err := m.tables.UpdateTable(ctx, &sdk.UpdateTableInput{
		TableName: aws.String(m.table),
		GlobalSecondaryIndexUpdates: []types.GlobalSecondaryIndexUpdate{
			{Delete: &types.DeleteGlobalSecondaryIndexAction{IndexName: aws.String("LeaseOwnerToLeaseKeyIndex")}},
		},
	})
	require.NoError(t, err)
}

// TestMixedUpgradesFrom2X takes a Java and a Go worker on one table from the assignment of KCL 2.x
// to that of 3.x, and back. The Java worker makes the step forward. It waits less than the ten
// minutes for which a fleet must be ready. An operator makes the step back. Each worker reads the
// state once a minute, so either may be the first to follow, and lead.
func TestMixedUpgradesFrom2X(t *testing.T) {
	t.Parallel()
	ctx := within(t, 10*time.Minute)
	m := newMixed(ctx, t, "FANOUT", 4)
	m.start(ctx, t, "j1", "KCL_JAVA_KCL3", "CLIENT_VERSION=CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X", "FLIP_SECONDS=0")
	m.awaitAll(ctx, t, 2*time.Minute, 4, "j1") // who has shards is considered as the leader
	require.Zero(t, m.settled(ctx, t, 30*time.Second), "records twice")
	m.start(ctx, t, "z1", "") // of two owners the first by name leads
	m.awaitAll(ctx, t, time.Minute, 1, "j1", "z1")
	m.awaitMode(ctx, t, 5*time.Second, "z1", "native (upgrade from KCL 2.x)")

	flipped := m.awaitClientVersion(ctx, t, 3*time.Minute, leases.ClientVersion3xRollback)
	require.Equal(t, "j1", flipped.By)
	m.awaitMode(ctx, t, 75*time.Second, "z1", "KCL 3.x")
	m.awaitMode(ctx, t, 100*time.Second, "j1", leases.ClientVersion3xRollback)
	require.Zero(t, m.count("j1", "requested"), "Java does not ask in the mode of 2.x")
	m.stop(ctx, t, "z1") // it may lead
	m.awaitAll(ctx, t, 45*time.Second, 4, "j1")
	m.awaitLeader(ctx, t, 45*time.Second, "j1")
	m.start(ctx, t, "z2", "")
	m.awaitAll(ctx, t, time.Minute, 1, "j1", "z2")
	require.Positive(t, m.count("j1", "requested"), "shards moved without asking")

	m.operator(ctx, t, leases.ClientVersion2x)
	m.awaitMode(ctx, t, 100*time.Second, "j1", leases.ClientVersion2x)
	m.awaitMode(ctx, t, 75*time.Second, "z2", "native")
	m.await(ctx, t, 5*time.Second, "nobody leads", func() bool {
		lock, err := m.store.Fleet().Leader(ctx)
		require.NoError(t, err)
		return lock == nil
	})
	m.deleteIndex(ctx, t)
	asked := m.count("j1", "requested")
	m.awaitAll(ctx, t, 30*time.Second, 1, "j1", "z2")
	m.kill(ctx, t, "z2")
	m.awaitAll(ctx, t, 45*time.Second, 4, "j1")
	m.start(ctx, t, "z3", "")
	m.awaitAll(ctx, t, 45*time.Second, 1, "j1", "z3")
	require.Equal(t, asked, m.count("j1", "requested"), "Java does not ask in the mode of 2.x")
	m.kill(ctx, t, "j1")
	m.awaitAll(ctx, t, 45*time.Second, 4, "z3")
	require.Less(t, m.settled(ctx, t, 30*time.Second), 10*mixedKeys, "records twice")
	m.stop(ctx, t, "z3")
}
