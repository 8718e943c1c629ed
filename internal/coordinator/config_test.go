package coordinator_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/coordinator"
)

func TestRunReportsWhatIsMissing(t *testing.T) {
	t.Parallel()
	err := coordinator.New(coordinator.Config{}).Run(t.Context())
	require.EqualError(t, err, "coordinator: Config.Store is missing\ncoordinator: Config.WorkerID is missing\ncoordinator: Config.Consume is missing")
}
