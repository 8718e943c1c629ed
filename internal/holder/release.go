package holder

import "github.com/kinesis-go/kcl/leases"

// copyHandover copies the attributes of a hand-over, which others wrote, into the held row. Once a
// hand-over has begun, it asks the consumer to finish.
func (h *writer) copyHandover(current leases.Lease) {
	h.mu.Lock()
	h.row = h.row.With(HandoverAttrs, current)
	h.mu.Unlock()
	if current.CheckpointOwner != "" {
		h.log.Info("lease was asked for", "lease_owner", current.Owner)
		h.Stop(false)
	}
}

// endLease ends the lease after its consumer has returned. The row of a finished shard stays as it
// is. Any other lease is released, so that others can take it at once.
func (h *writer) endLease() {
	h.mu.Lock()
	row, lost := h.row, h.lossReason
	h.mu.Unlock()
	switch {
	case lost != "":
	case row.Finished():
		h.endWithoutLoss("finished")
	default:
		h.release()
	}
}

// release gives up the lease. If a hand-over has begun, it completes the hand-over. Otherwise it
// removes the owner.
func (h *writer) release() {
	reason := "released"
	c := &change{name: "release", endsLease: true, apply: func(row leases.Lease) (leases.Lease, leases.Attr) {
		reason = "released"
		if row.CheckpointOwner != "" {
			reason = "handover"
		}
		return Released(row)
	}}
	again, err := h.tryWrite(h.storeCtx, c)
	for backoff := h.cfg.newBackoff(); again && h.pause(h.storeCtx, backoff.Next()) == nil; {
		again, err = h.tryWrite(h.storeCtx, c)
	}
	if err != nil {
		h.log.Warn("lease was not released, and will expire", "err", err)
	}
	h.endWithoutLoss(reason)
}
