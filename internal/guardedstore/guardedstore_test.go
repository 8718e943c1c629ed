package guardedstore_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/guardedstore"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/leases/memory"
)

// TestGuardKeepsTheFleet: a guarded store has a fleet if the store has one, and only then.
func TestGuardKeepsTheFleet(t *testing.T) {
	t.Parallel()
	store := dynamodb.New(dynamodb.Config{Table: "orders"})
	shared, ok := guardedstore.New(store, time.Second).(leases.SharedStore)
	require.True(t, ok)
	require.Same(t, store.Fleet(), shared.Fleet())
	_, ok = guardedstore.New(memory.New(), time.Second).(leases.SharedStore)
	require.False(t, ok)
	require.Nil(t, guardedstore.New(nil, time.Second))
}
