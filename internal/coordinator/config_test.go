package coordinator_test

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/internal/coordinator"
)

func TestRunReportsWhatIsMissing(t *testing.T) {
	t.Parallel()
	err := coordinator.New(coordinator.Config{}).Run(t.Context())
	require.EqualError(t, err, "coordinator: Config.Store is missing\n"+
		"coordinator: Config.WorkerID is missing\n"+
		"coordinator: Config.Consume is missing")
}
