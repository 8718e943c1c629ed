package coordinator

import (
	"context"
	"errors"
	"time"

	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/leases"
)

// upgrade is what a worker knows while an application moves from KCL 2.x to 3.x.
type upgrade struct {
	due     time.Duration // when to look next, monotonic
	workers kcl3.WorkerWatch
	ready   kcl3.ReadyWatch
}

// prepareUpgrade does what a worker has to during the move: the index is to be
// made, and once the fleet has been ready for long enough, whoever sees it first
// switches it over to the assignment by a leader.
func (c *Coordinator) prepareUpgrade(ctx context.Context) {
	now := c.clock.now().mono
	if now < c.upgrade.due {
		return
	}
	c.upgrade.due = now + choresInterval
	c.index.ready, c.index.due = false, 0                        // an operator that goes back deletes it
	call, cancel := context.WithTimeout(ctx, c.cfg.FailoverTime) // for all of it
	defer cancel()
	c.ensureIndex(call)
	workers, _, err := c.fleet.Workers(call)
	if err != nil {
		if ctx.Err() == nil {
			c.cfg.Metrics.LeaseStoreError("workers")
			c.log.Debug("metrics of the workers cannot be read", "err", err)
		}
		return
	}
	alive := c.upgrade.workers.Alive(c.clock.wall(), c.clock.now().mono, workers)
	ready := c.upgrade.ready.Note(c.clock.now().mono, c.index.ready, c.Leases(), alive)
	to, ok := kcl3.NextClientVersion(c.migrations.ClientVersion, ready, c.cfg.WorkerID, c.clock.wall())
	if !ok {
		return
	}
	err = c.fleet.SetClientVersion(call, c.migrations.ClientVersion, to)
	if _, conflict := errors.AsType[*leases.ConflictError](err); err != nil && !conflict {
		c.log.Warn("application cannot be switched over to KCL 3.x, trying again", "err", err)
		return
	}
	c.log.Info("application is switched over from KCL 2.x to 3.x", "client_version", to.Status)
	c.modeDue = 0
}

// warnApart tells once of tables that a worker of an older KCL 3.x has left
// behind. That they are in use is an error, which fits tells of.
func (c *Coordinator) warnApart(m leases.Migrations) {
	if m.Apart != c.apart && m.Apart != "" && !m.Split {
		c.log.Warn("tables of different versions of KCL 3.x do not go together", "problem", m.Apart)
	}
	c.apart = m.Apart
}
