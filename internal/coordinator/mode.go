package coordinator

import "github.com/kinesis-go/kcl/leases"

// mode is a way in which leases are assigned.
type mode int

const (
	modeUnknown mode = iota
	// modeNative lets every worker take leases by itself.
	modeNative
	// modeUpgrade is modeNative while an application moves from KCL 2.x to 3.x. The workers also
	// report, and make the index. So the leader can see when all of them are ready.
	modeUpgrade
	// modeKCL3 lets the leader assign the leases.
	modeKCL3
)

// String returns the word that logs and the status show.
func (m mode) String() string {
	return [...]string{"unknown", "native", "native (upgrade from KCL 2.x)", "KCL 3.x"}[m]
}

// modeOf returns the mode for a worker, given Config.Assignment and the states of the migrations.
func modeOf(a leases.Assignment, m leases.Migrations) mode {
	status := ""
	if m.ClientVersion != nil {
		status = m.ClientVersion.Status
	}
	switch {
	case a == leases.AssignmentNative:
		return modeNative
	case status == leases.ClientVersion3x || status == leases.ClientVersion3xRollback:
		return modeKCL3
	case status == leases.ClientVersionUpgradeFrom2x:
		return modeUpgrade
	case status == "" && a == leases.AssignmentKCL3:
		return modeKCL3
	}
	return modeNative
}
