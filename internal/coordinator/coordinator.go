package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/chance"
	"github.com/kinesis-go/kcl/internal/holder"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/internal/trust"
	"github.com/kinesis-go/kcl/leases"
)

// Coordinator gets this worker its share of the leases. It lists the table, and takes leases that
// are free or expired. It evens out the load, and hands over leases that other workers ask for. It
// runs a consumer for every lease held. It stands where the KCL has LeaseCoordinator, LeaseTaker
// and LeaseDiscoverer. The scheduler runs one.
type Coordinator struct {
	cfg     Config
	clock   trust.Clock
	log     *slog.Logger
	nudge   chan struct{}
	scanner *scanner
	modes   *modes
}

// New returns a Coordinator with the defaults of cfg filled in. It starts nothing and calls
// nothing.
func New(cfg Config) *Coordinator {
	c := &Coordinator{cfg: cfg.withDefaults(), clock: trust.NewClock(cfg.WallClock), nudge: make(chan struct{}, 1)}
	c.log = c.cfg.Logger
	c.scanner = newScanner(newTable(newWorkerState(&c.cfg, &c.clock), c.Nudge))
	c.modes = newModes(c.scanner)
	return c
}

// Run works until ctx ends. Then it takes no more leases, asks all consumers to finish, waits for
// them, and releases their leases. It returns nil, or an [*leases.AbandonedError] when consumers
// did not return in time.
//
// A table that cannot be reached, or was deleted, does not end Run. The leases expire by
// themselves, Err tells the reason, and work goes on once the table answers. An error that wraps
// [leases.ErrMixedAssignment] says that Run took no lease. Run may be called once.
func (c *Coordinator) Run(ctx context.Context) error {
	if err := c.cfg.validate(); err != nil {
		return err
	}
	base := context.WithoutCancel(ctx)
	last, giveUp := context.WithCancelCause(base)
	defer giveUp(nil)
	c.scanner.holderCtx, c.scanner.writeCtx = base, last
	defer context.AfterFunc(ctx, func() { // it runs at once, even during a round
		time.AfterFunc(c.cfg.ShutdownTimeout+holder.AbandonAfter, func() { giveUp(kcl.ErrShutdownTimeout) })
		c.scanner.stopHolders()
	})()
	watch, endWatch := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { c.scanner.watchArrivals(watch) }) // ends with ctx, or when a round has failed for good
	end := func() error {
		endWatch()
		watching.Wait()
		return c.stop()
	}
	backoff := retry.New(c.cfg.ScanInterval/4, max(c.cfg.ScanInterval, min(5*time.Second, c.cfg.FailoverTime/2)))
	for ctx.Err() == nil {
		wait := c.cfg.ScanInterval + chance.N(c.cfg.ScanInterval/4+1, "scan", c.cfg.WorkerID)
		pause, err := c.modes.round(ctx)
		c.scanner.logTempo(ctx)
		switch {
		case errors.Is(err, leases.ErrMixedAssignment):
			return errors.Join(err, end())
		case err != nil:
			c.scanner.recordListError(ctx, err)
			wait = backoff.Next()
		case pause == briefPause:
			wait = c.cfg.ScanInterval / 8
		default:
			backoff.Reset()
			if pause == halfPause {
				wait = c.cfg.ScanInterval / 2
			}
		}
		c.idle(ctx, wait)
	}
	return end()
}

// idle waits until the next scan is due.
func (c *Coordinator) idle(ctx context.Context, wait time.Duration) {
	due := time.NewTimer(wait)
	defer due.Stop()
	begun := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-due.C:
			return
		case <-c.nudge:
			// Many nudges make one scan.
			c.scanner.scanRequested = true
			due.Reset(min(wait-time.Since(begun), max(0, c.cfg.ScanInterval/8-time.Since(begun))))
		}
	}
}

// Nudge asks for a scan soon, because rows were created or a shard was finished. It does not block.
func (c *Coordinator) Nudge() {
	select {
	case c.nudge <- struct{}{}:
	default:
	}
}

// Err returns why the table could not be listed the last time, or nil. It wraps
// [leases.ErrTableNotFound] when the table is gone. The running worker never makes the table again:
// all shards would start from the beginning.
func (c *Coordinator) Err() error { return c.scanner.listError() }

// TooSlow returns why the store is too slow for Config.FailoverTime, as of the last round, or nil.
// Work goes on then, but leases are taken late or not at all.
func (c *Coordinator) TooSlow() error { return c.scanner.tempo.tooSlow() }

// Lookup returns a row as last seen. The row of a lease that this worker holds is as last written.
// False means that there was no such row.
func (c *Coordinator) Lookup(key string) (leases.Lease, bool) { return c.scanner.lookup(key) }

// Leases returns all rows as last seen, sorted by key. They include those that Accept refuses.
func (c *Coordinator) Leases() []leases.Lease { return c.scanner.allRows() }

// Vanished returns the rows that vanished under this worker and that it could not make again at
// their positions, sorted by key. A row that exists again, at its position or at an earlier one, is
// in order and left out.
func (c *Coordinator) Vanished() []*holder.VanishedError { return c.scanner.vanished.All() }

// Assignment tells how this worker gets its leases at present.
func (c *Coordinator) Assignment() leases.AssignmentState { return c.modes.state() }

// stop ends all holders. It returns an [*leases.AbandonedError] if leases were abandoned.
func (c *Coordinator) stop() error {
	c.scanner.stopHolders() // also those that the last round has started since the first call
	c.scanner.withdrawAll()
	c.scanner.wg.Wait()
	c.modes.leave(c.scanner.writeCtx)
	if keys := c.scanner.unreturnedKeys(); len(keys) > 0 {
		return &leases.AbandonedError{Keys: keys}
	}
	return nil
}
