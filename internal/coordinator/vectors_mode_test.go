package coordinator

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl/leases"
)

// TestModeVectors has the mode of a worker in each state of the move to KCL 3.x.
func TestModeVectors(t *testing.T) {
	t.Parallel()
	tests := map[string]struct{ auto, native, kcl3 mode }{
		"":                                {modeNative, modeNative, modeKCL3},
		leases.ClientVersionInit:          {modeNative, modeNative, modeNative},
		leases.ClientVersionUpgradeFrom2x: {modeUpgrade, modeNative, modeUpgrade},
		leases.ClientVersion2x:            {modeNative, modeNative, modeNative},
		leases.ClientVersion3xRollback:    {modeKCL3, modeNative, modeKCL3},
		leases.ClientVersion3x:            {modeKCL3, modeNative, modeKCL3},
	}
	for status, want := range tests {
		t.Run("state "+status, func(t *testing.T) {
			t.Parallel()
			m := leases.Migrations{}
			if status != "" {
				m.ClientVersion = &leases.MigrationState{Status: status, By: "java"}
			}
			require.Equal(t, want.auto, modeOf(leases.AssignmentAuto, m))
			require.Equal(t, want.native, modeOf(leases.AssignmentNative, m))
			require.Equal(t, want.kcl3, modeOf(leases.AssignmentKCL3, m))
		})
	}
}
