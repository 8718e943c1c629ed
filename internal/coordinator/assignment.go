package coordinator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

// mode is how leases are assigned now.
type mode int

const (
	modeUnknown mode = iota
	// modeNative: every worker takes by itself.
	modeNative
	// modeUpgrade is the same while an application moves from KCL 2.x to 3.x:
	// workers report as well, and there is the index, so that the leader can see
	// when all are ready.
	modeUpgrade
	// modeKCL3: the leader assigns.
	modeKCL3
)

// String returns what logs and the status show.
func (m mode) String() string {
	return [...]string{"unknown", "native", "native (upgrade from KCL 2.x)", "KCL 3.x"}[m]
}

// modeInterval is how often the table is asked for the mode, less up to a
// sixth. Java's workers do it as often, so the fleet flips within a minute.
const modeInterval = time.Minute

// modeOf says what the states of the migrations mean for a worker.
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

// Assignment tells how this worker gets its leases at present.
func (c *Coordinator) Assignment() leases.AssignmentState {
	c.mu.Lock()
	m := c.mode
	c.mu.Unlock()
	s := leases.AssignmentState{Mode: m.String()}
	if m == modeKCL3 {
		s.Leader = c.elector.who()
		_, s.Leading = c.elector.leads()
	}
	return s
}

// followMode asks the table how leases are assigned, when that is due, and
// changes over. Until that is known nothing may be taken, so the first failure
// is an error; later the worker goes on as it did.
func (c *Coordinator) followMode(ctx context.Context) error {
	now := c.clock.now().mono
	if c.mode != modeUnknown && (c.fleet == nil || now < c.modeDue) {
		return nil
	}
	if c.fleet == nil {
		if c.cfg.Assignment == leases.AssignmentKCL3 {
			return fmt.Errorf("%w: the lease store cannot do what AssignmentKCL3 needs: use leases/dynamodb", leases.ErrMixedAssignment)
		}
		c.become(ctx, modeNative)
		return nil
	}
	first := c.mode == modeUnknown
	call, cancel := context.WithTimeout(ctx, c.cfg.FailoverTime)
	m, err := c.fleet.Migrations(call)
	cancel()
	switch {
	case errors.Is(err, kcl.ErrAccessDenied) && c.cfg.Assignment != leases.AssignmentKCL3:
		if err := c.followUnseen(ctx, err); err != nil {
			return err
		}
	case err != nil:
		if ctx.Err() == nil {
			c.cfg.Metrics.LeaseStoreError("migrations")
		}
		if first {
			return err
		}
		c.log.Debug("mode of assignment cannot be read, going on as before", "err", err)
	default:
		to := modeOf(c.cfg.Assignment, m)
		if err := c.fits(ctx, m, first); err != nil {
			return err
		}
		c.migrations, c.gentle = m, false
		c.become(ctx, to)
	}
	c.modeDue = c.clock.now().mono + modeInterval - jitter(modeInterval/6)
	return nil
}

// become changes over to another mode. Leases that are held stay: all modes
// agree on who owns a row, and on how it is handed over.
func (c *Coordinator) become(ctx context.Context, to mode) {
	from := c.mode
	if from == to {
		return
	}
	c.index = indexState{}
	c.duty.retire()
	switch to {
	case modeKCL3:
		c.duty = newDuty(c)
	case modeUpgrade:
		c.upgrade = upgrade{}
	}
	c.mu.Lock()
	c.mode = to
	c.mu.Unlock()
	c.waited = map[string]int{}
	c.cfg.Metrics.SetAssignmentMode(int(to - modeNative))
	if from != modeUnknown || to != modeNative {
		c.log.Info("leases are assigned in another way", "mode", to.String(), "before", from.String())
	}
	c.reporting.set(ctx, to != modeNative, c.reporter)
	c.electing.set(ctx, to == modeKCL3, c.elector)
}

// loop is a goroutine that is started and stopped.
type loop struct {
	cancel context.CancelFunc // nil while it is not to run
	done   chan struct{}      // of the last one; nil before the first
}

// set starts or stops l, unless it runs or stands still already. It does not wait
// for the end, which may take several calls to the store: a loop begins when the one
// before has ended.
func (l *loop) set(ctx context.Context, on bool, r interface{ run(ctx context.Context) }) {
	if on == (l.cancel != nil) {
		return
	}
	if !on {
		l.cancel()
		l.cancel = nil
		return
	}
	ctx, l.cancel = context.WithCancel(ctx)
	before, done := l.done, make(chan struct{})
	l.done = done
	go func() { // ends with ctx; wait waits for it
		defer close(done)
		if before != nil {
			<-before
		}
		r.run(ctx)
	}()
}

// wait waits until the loop has ended with the context that it was started with.
func (l *loop) wait() {
	if l.done != nil {
		<-l.done
	}
	if l.cancel != nil {
		l.cancel()
	}
}

// fits tells whether others use the table in a way that does not go together
// with the mode that this worker is to be in. Only at the start is that an error:
// a worker that came later must not end the work of those that are running.
func (c *Coordinator) fits(ctx context.Context, m leases.Migrations, first bool) error {
	var err error
	if _, early := kcl3.TableStatus(m.Table, m.SideTables, m.Wanted); early != nil {
		err = fmt.Errorf("%w: %w", leases.ErrMixedAssignment, early)
	}
	c.warnApart(m)
	switch {
	case err != nil:
	case m.Split && c.cfg.Assignment != leases.AssignmentNative:
		err = fmt.Errorf("%w: %s", leases.ErrMixedAssignment, m.Apart)
	case c.cfg.Assignment == leases.AssignmentNative:
		err = c.fitsNative(ctx, m)
	case c.cfg.Assignment == leases.AssignmentKCL3 && m.ClientVersion == nil && first:
		err = c.fitsKCL3(ctx)
	}
	mixed := errors.Is(err, leases.ErrMixedAssignment)
	if mixed && !first && !c.mixed {
		c.log.Error("workers of another kind have joined", "err", err)
	}
	c.mixed = mixed
	if !first {
		return nil
	}
	return err
}

// fitsNative looks for running workers of KCL 3.x.
func (c *Coordinator) fitsNative(ctx context.Context, m leases.Migrations) error {
	if modeOf(leases.AssignmentAuto, m) != modeKCL3 {
		return nil
	}
	call, cancel := context.WithTimeout(ctx, c.cfg.FailoverTime)
	defer cancel()
	workers, _, err := c.fleet.Workers(call)
	if err != nil {
		return err
	}
	for _, w := range workers {
		if !w.Native && c.clock.wall().Sub(w.Updated) < kcl3.WorkerSilence {
			return fmt.Errorf("%w: worker %s of KCL 3.x uses it (%s), and AssignmentNative goes only with KCL 1.x and 2.x: leave Assignment at AssignmentAuto, or stop the workers of KCL 3.x and wait a minute",
				leases.ErrMixedAssignment, w.Worker, m.ClientVersion.Status)
		}
	}
	return nil
}

// fitsKCL3 looks for running workers of KCL 1.x and 2.x, which would take leases
// by themselves, and fail at the items that only KCL 3.x knows.
func (c *Coordinator) fitsKCL3(ctx context.Context) error {
	owner, err := c.renewing(ctx, c.foreignSilent)
	if err == nil && owner != "" {
		err = fmt.Errorf("%w: worker %s of KCL 1.x or 2.x uses it, which cannot read a table with AssignmentKCL3: use AssignmentAuto", leases.ErrMixedAssignment, owner)
	}
	return err
}

// renewing returns a worker that renews one of the leases that look finds; empty
// when there is none. Who lives can only be seen by watching.
func (c *Coordinator) renewing(ctx context.Context, look func(context.Context) (map[string]leases.Lease, error)) (string, error) {
	first, err := look(ctx)
	begun := c.clock.now().mono
	for err == nil && len(first) > 0 && c.clock.now().mono-begun < c.cfg.respect() {
		if err := retry.Sleep(ctx, c.cfg.ScanInterval); err != nil {
			return "", err
		}
		var now map[string]leases.Lease
		now, err = look(ctx)
		for key, l := range now {
			if old, ok := first[key]; ok && old.Counter != l.Counter && old.Owner == l.Owner {
				return l.Owner, nil
			}
		}
	}
	return "", err
}

// foreign lists the leases whose owners are not of this library.
func (c *Coordinator) foreign(ctx context.Context) (map[string]leases.Lease, error) {
	call, cancel := context.WithTimeout(ctx, c.cfg.FailoverTime)
	defer cancel()
	listing, err := c.fleet.List(call)
	if err != nil {
		return nil, err
	}
	foreign := map[string]leases.Lease{}
	for _, l := range listing.Leases {
		if l.Owner != "" && l.NativeOwner != l.Owner && !l.HandingOver() && !l.Finished() {
			foreign[l.Key] = l
		}
	}
	return foreign, nil
}

// foreignSilent leaves out those whose owners report.
func (c *Coordinator) foreignSilent(ctx context.Context) (map[string]leases.Lease, error) {
	foreign, err := c.foreign(ctx)
	if err != nil || len(foreign) == 0 {
		return nil, err
	}
	call, cancel := context.WithTimeout(ctx, c.cfg.FailoverTime)
	defer cancel()
	workers, _, err := c.fleet.Workers(call)
	if err != nil {
		return nil, err
	}
	for _, w := range workers {
		for key, l := range foreign {
			if l.Owner == w.Worker {
				delete(foreign, key)
			}
		}
	}
	return foreign, nil
}
