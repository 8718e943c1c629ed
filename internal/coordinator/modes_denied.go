package coordinator

import (
	"context"
	"errors"
	"fmt"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// updateModeDenied decides the mode when this worker has no right to see whether a leader assigns
// the leases. denied says which right is missing. The lease table itself gives a hint, because
// workers of KCL 3.x create an index there. Without the index the table is one of KCL 2.x. With it
// there may be a leader. A leader expects that no other worker assigns leases:
//
//   - At the start it is an error if a worker of another library renews leases. AssignmentNative
//     says that there is no leader.
//   - Otherwise this worker takes leases that are free or expired, and none by force.
//
// A worker that already has another mode keeps it.
func (ms *modes) updateModeDenied(ctx context.Context, denied error) error {
	first := ms.mode() == modeUnknown
	if !first && ms.mode() != modeNative {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, ms.cfg.FailoverTime)
	index, err := ms.fleet.HasIndex(call)
	cancel()
	switch {
	case errors.Is(err, kcl.ErrAccessDenied):
		index = true // not known, so there may be one
	case err != nil && first:
		return err
	case err != nil:
		return nil //nolint:nilerr // the mode stays, and is read again
	}
	if first && index && ms.cfg.Assignment == leases.AssignmentAuto {
		owner, err := ms.findRenewing(ctx, ms.foreignLeases)
		if err != nil {
			return err
		}
		if owner != "" {
			return fmt.Errorf("%w: worker %s of another library renews leases, the table has the index of KCL 3.x, "+
				"and this worker has no right to see whether a leader assigns the leases: "+
				"allow the actions in docs/iam/kcl3.json, or set AssignmentNative if no worker of KCL 3.x is running: %w",
				leases.ErrMixedAssignment, owner, denied)
		}
	}
	if index && !ms.native.noForce {
		ms.log.Warn("worker has no right to see whether a leader assigns the leases, "+
			"and the table has the index of KCL 3.x: "+
			"it takes no lease by force from workers of other libraries; allow the actions in docs/iam/kcl3.json", "err", denied)
	}
	ms.native.noForce = index
	if first {
		if !index {
			ms.log.Warn("worker has no right to see whether workers of KCL 3.x use the lease table, "+
				"and assumes that none do", "err", denied)
		}
		ms.changeMode(ctx, modeNative)
	}
	return nil
}
