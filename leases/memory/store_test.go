package memory_test

import (
	"testing"

	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/leases/leasetest"
	"github.com/kinesis-go/kcl/leases/memory"
)

func TestStore(t *testing.T) {
	t.Parallel()
	leasetest.TestStore(t, func(*testing.T) leases.Store { return memory.New() })
}
