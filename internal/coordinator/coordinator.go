package coordinator

import (
	"context"
	"errors"
	"log/slog"
	"maps"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/kcl3"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

// Coordinator gets this worker its share of the leases: it lists the table,
// takes what is free or expired, evens out the load, hands over what others ask
// for, and runs a consumer for every lease held. It stands where the KCL has
// LeaseCoordinator, LeaseTaker and LeaseDiscoverer; the scheduler runs one.
type Coordinator struct {
	cfg   Config
	clock clock
	log   *slog.Logger
	nudge chan struct{}
	wg    sync.WaitGroup // the holders' goroutines

	// base has the values of Run's context, and does not end. Run sets it.
	base context.Context //nolint:containedctx // a holder outlives the call that makes it

	// Of the goroutine in Run.
	sightings map[string]sighting
	watched   time.Duration // when the table was listed last, monotonic
	// watchBegan is since when all sightings have counted without a break.
	watchBegan time.Duration
	waited     map[string]int    // see row.waited
	warned     map[string]string // what was said about unreadable rows
	scale      scale
	starved    bool
	scans      bool // a scan was asked for
	unfinished bool // the last round ran out of time
	tempo      tempo
	slow       bool // it was said that the store is too slow

	fleet    leases.FleetStore // nil when the store is none
	reporter *reporter
	elector  *elector

	// Of the goroutine in Run, for the assignment by a leader.
	modeDue     time.Duration     // when the table is asked for the mode again, monotonic
	mixed       bool              // others do not fit to Config.Assignment
	apart       string            // what was said about tables that do not go together
	gentle      bool              // see followUnseen: no lease of another library is taken by force
	migrations  leases.Migrations // as read last
	reporting   loop
	electing    loop
	duty        *duty
	upgrade     upgrade
	index       indexState
	neglect     kcl3.Neglect
	handovers   kcl3.HandoverWatch
	suspects    map[string]suspect
	uneasy      bool           // there are leases that nobody seems to read,
	uneasySince time.Duration  // and this long
	rescues     map[string]int // for how many scans in a row the leader has neglected a lease too long

	// last is the context of what a stop must still get done. It ends with the time
	// that a stop may take, long after Run's own.
	last context.Context //nolint:containedctx // of Run

	coming   arrivals
	asksLeft atomic.Bool // leases were not asked for, because enough are on their way

	mu     sync.Mutex // guards the fields below
	mode   mode       // changed by the goroutine in Run only
	rows   map[string]leases.Lease
	active map[string]*Holder // until the consumer has returned
	taking map[string]bool    // leases that are being taken
	rests  map[string]*rest
	err    error
}

// sighting is since when a row's counter has been seen to stand still. Once for
// each counter, a long time without a listing is excused: after an outage everybody
// is late, and whoever lists the table first must not take what the others are just
// about to renew. Only once: where each listing comes late, or most of them fail,
// nothing would expire otherwise.
type sighting struct {
	counter int64
	since   time.Duration // monotonic
	excused bool
}

// see takes in a listing that shows the row with counter; late says that it comes
// long after the one before. again tells that the sighting begins anew for that.
func (s sighting) see(counter int64, now time.Duration, late bool) (next sighting, again bool) {
	switch {
	case s.counter != counter:
		return sighting{counter: counter, since: now, excused: late}, false
	case late && !s.excused:
		return sighting{counter: counter, since: now, excused: true}, true
	}
	return s, false
}

// rest keeps a worker from a lease that it gave back without need.
type rest struct {
	backoff *retry.Backoff
	until   time.Duration // monotonic
}

// New returns a Coordinator with the defaults of cfg filled in. It
// starts nothing and calls nothing.
func New(cfg Config) *Coordinator {
	cfg = cfg.withDefaults()
	c := &Coordinator{
		cfg: cfg, clock: newClockOf(cfg.WallClock), log: cfg.Logger, nudge: make(chan struct{}, 1), tempo: tempo{failover: cfg.FailoverTime},
		sightings: map[string]sighting{}, waited: map[string]int{}, warned: map[string]string{},
		suspects: map[string]suspect{},
		rows:     map[string]leases.Lease{}, active: map[string]*Holder{}, taking: map[string]bool{}, rests: map[string]*rest{},
		coming: newArrivals(),
	}
	if fleet, ok := cfg.Store.(leases.FleetStore); ok {
		c.fleet, c.reporter, c.elector = fleet, newReporter(c, fleet), newElector(c, fleet)
	}
	return c
}

// Run works until ctx ends. Then it takes nothing any more, asks all consumers
// to finish, waits for them and releases their leases. It returns nil, or an
// [*leases.AbandonedError] when consumers did not return in time. A table that cannot
// be reached, or that was deleted, does not end Run: the leases end by
// themselves, Err says why, and work goes on once the table answers. An error
// that wraps [leases.ErrMixedAssignment] says that it has not begun. Run may be called
// once.
func (c *Coordinator) Run(ctx context.Context) error {
	c.base = context.WithoutCancel(ctx)
	last, giveUp := context.WithCancelCause(c.base)
	defer giveUp(nil)
	c.last = last
	defer context.AfterFunc(ctx, func() { // at once, also in the middle of a round
		time.AfterFunc(c.cfg.ShutdownTimeout+abandonAfter, func() { giveUp(kcl.ErrShutdownTimeout) })
		c.stopHolders()
	})()
	watch, endWatch := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() { c.watchArrivals(watch) }) // ends with ctx, or when a round has failed for good
	end := func() error {
		endWatch()
		watching.Wait()
		return c.stop()
	}
	backoff := retry.New(c.cfg.ScanInterval/4, max(c.cfg.ScanInterval, min(5*time.Second, c.cfg.FailoverTime/2)))
	for ctx.Err() == nil {
		wait := c.cfg.ScanInterval + rand.N(c.cfg.ScanInterval/4+1)
		err := c.round(ctx)
		c.tellTempo(ctx)
		switch {
		case errors.Is(err, leases.ErrMixedAssignment):
			return errors.Join(err, end())
		case err != nil:
			c.failed(ctx, err)
			wait = backoff.Next()
		case c.unfinished:
			wait = c.cfg.ScanInterval / 8
		default:
			backoff.Reset()
			if c.mode != modeKCL3 && c.watching() {
				wait = c.cfg.ScanInterval / 2
			}
		}
		c.idle(ctx, wait)
	}
	return end()
}

// watching tells whether others have leases to take that they may leave alone.
func (c *Coordinator) watching() bool {
	for _, scans := range c.waited {
		if scans <= patience {
			return true
		}
	}
	return false
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
			c.scans = true
			due.Reset(min(wait-time.Since(begun), max(0, c.cfg.ScanInterval/8-time.Since(begun))))
		}
	}
}

// Nudge asks for a scan soon: rows were created, or a shard was finished. It
// does not block.
func (c *Coordinator) Nudge() {
	select {
	case c.nudge <- struct{}{}:
	default:
	}
}

// Err returns why the table could not be listed the last time, or nil. It wraps
// [leases.ErrTableNotFound] when the table is gone: it is never made again while the
// worker runs, as that would start all shards from the beginning.
func (c *Coordinator) Err() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// Lookup returns a row as last seen; of a lease that this worker holds, as last
// written. False means that there was no such row.
func (c *Coordinator) Lookup(key string) (leases.Lease, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	l, ok := c.rows[key]
	if h := c.active[key]; h != nil {
		if mine := h.Lease(); !ok || mine.Counter >= l.Counter {
			return mine, true
		}
	}
	return l, ok
}

// Leases returns all rows as last seen, sorted by key. They include those that
// Accept refuses.
func (c *Coordinator) Leases() []leases.Lease {
	c.mu.Lock()
	keys := slices.Sorted(maps.Keys(c.rows))
	c.mu.Unlock()
	list := make([]leases.Lease, 0, len(keys))
	for _, key := range keys {
		if l, ok := c.Lookup(key); ok {
			list = append(list, l)
		}
	}
	return list
}

// start runs a holder for a lease that was just taken, from the worker former if
// there was one.
func (c *Coordinator) start(l leases.Lease, sent instant, reason, former string) {
	h := newHolder(c.base, &c.cfg, c.clock, l, sent)
	c.mu.Lock()
	c.rows[l.Key] = l
	c.active[l.Key] = h
	c.mu.Unlock()
	c.cfg.Metrics.LeaseTaken(reason)
	c.log.Info("lease taken", "shard", l.ShardID, "lease", l.Key, "reason", reason, "former_owner", former, "checkpoint", l.Checkpoint)
	begun := c.clock.now().mono
	c.wg.Go(func() { // ends with the lease and its consumer, or when that is abandoned
		h.run()
		c.ended(h, c.clock.now().mono-begun)
		if h.hasReturned() {
			c.forget(h)
			return
		}
		// Ends when the abandoned consumer returns, which may be never: until
		// then this worker must not read the shard a second time.
		go func() {
			<-h.consumed
			c.forget(h)
		}()
	})
}

func (c *Coordinator) forget(h *Holder) {
	c.mu.Lock()
	delete(c.active, h.Lease().Key)
	c.mu.Unlock()
	c.countHeld()
	c.Nudge()
}

// ended keeps what the holder knew last, and lets the worker rest from a lease
// that it gave back though nobody had asked.
func (c *Coordinator) ended(h *Holder, held time.Duration) {
	l := h.Lease()
	h.mu.Lock()
	needless := h.lost == "" && !h.asked && !l.Finished()
	h.mu.Unlock()
	c.mu.Lock()
	if known, ok := c.rows[l.Key]; ok && l.Counter >= known.Counter {
		c.rows[l.Key] = l
	}
	if needless {
		r := c.rests[l.Key]
		if r == nil || held > time.Minute {
			r = &rest{backoff: retry.New(time.Second, time.Minute)}
			c.rests[l.Key] = r
		}
		r.until = c.clock.now().mono + r.backoff.Next()
	}
	c.mu.Unlock()
}

// countHeld tells the metrics how many leases the worker holds.
func (c *Coordinator) countHeld() {
	c.mu.Lock()
	n := 0
	for _, h := range c.active {
		if h.io.Err() == nil {
			n++
		}
	}
	c.mu.Unlock()
	c.cfg.Metrics.SetLeasesHeld(n)
}

// stopHolders asks all consumers to finish.
func (c *Coordinator) stopHolders() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, h := range c.active {
		h.stop(true)
	}
}

// stop ends all holders and tells who did not finish.
func (c *Coordinator) stop() error {
	c.stopHolders() // also those that a round under way has started since
	c.takeBackRequests()
	c.wg.Wait()
	c.leaveFleet()
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.active) == 0 {
		return nil
	}
	return &leases.AbandonedError{Keys: slices.Sorted(maps.Keys(c.active))}
}
