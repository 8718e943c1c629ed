package guardedstore_test

import (
	"reflect"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/guardedstore"
	"github.com/kinesis-go/kcl/internal/usercode"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/dynamodb"
	"github.com/kinesis-go/kcl/leases/memory"
)

// TestGuardKeepsTheFleet: a guarded store has a fleet if the store has one, and only then.
func TestGuardKeepsTheFleet(t *testing.T) {
	t.Parallel()
	_, ok := guardedstore.New(dynamodb.New(dynamodb.Config{Table: "orders"}), time.Second).(leases.SharedStore)
	require.True(t, ok)
	_, ok = guardedstore.New(memory.New(), time.Second).(leases.SharedStore)
	require.False(t, ok)
	require.Nil(t, guardedstore.New(nil, time.Second))
}

// broken is a store of a user. Each of its methods panics with its own name.
type broken struct {
	leases.Store
	leases.FleetStore
}

func (b broken) Fleet() leases.FleetStore { return b.FleetStore }

// No panic of a store gets through: each method of the store and of its fleet returns an error.
func TestPanicsOfAStoreAreErrors(t *testing.T) {
	t.Parallel()
	store := guardedstore.New(broken{}, time.Second) // its embedded interfaces are nil
	shared, ok := store.(leases.SharedStore)
	require.True(t, ok)
	for _, v := range []any{store, shared.Fleet()} {
		of := reflect.ValueOf(v)
		calls := 0
		for i := range of.NumMethod() {
			method := of.Type().Method(i)
			if method.Name == "Fleet" {
				continue
			}
			args := []reflect.Value{reflect.ValueOf(t.Context())}
			for j := 2; j < method.Type.NumIn(); j++ {
				args = append(args, reflect.Zero(method.Type.In(j)))
			}
			out := of.Method(i).Call(args)
			err, _ := out[len(out)-1].Interface().(error)
			var panicked *usercode.Panic
			require.ErrorAs(t, err, &panicked, method.Name)
			calls++
		}
		require.GreaterOrEqual(t, calls, 7)
	}
}
