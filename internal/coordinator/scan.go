package coordinator

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// round sees which leases this worker can have, and gets them.
func (c *Coordinator) round(ctx context.Context) error {
	if err := c.followMode(ctx); err != nil {
		return err
	}
	if c.mode == modeKCL3 {
		return c.roundKCL3(ctx)
	}
	v, err := c.look(ctx)
	if err != nil {
		return err
	}
	c.markStuck(&v)
	c.act(ctx, &v, plan)
	if c.mode == modeUpgrade {
		c.prepareUpgrade(ctx)
	}
	c.note(v)
	c.countHeld()
	return nil
}

// look lists the table.
func (c *Coordinator) look(ctx context.Context) (view, error) {
	call, cancel := context.WithTimeout(ctx, c.cfg.FailoverTime)
	defer cancel()
	begun := time.Now()
	listing, err := c.cfg.Store.List(call)
	if err == nil || errors.Is(call.Err(), context.DeadlineExceeded) {
		c.tempo.listed(time.Since(begun))
	}
	if err != nil {
		return view{}, err
	}
	c.reportBad(listing.Bad)
	c.scans = false
	return c.judge(listing.Leases), nil
}

// failed keeps and reports a scan that failed.
func (c *Coordinator) failed(ctx context.Context, err error) {
	if ctx.Err() != nil {
		return
	}
	c.cfg.Metrics.LeaseStoreError("list")
	c.mu.Lock()
	first := c.err == nil || errors.Is(err, leases.ErrTableNotFound) != errors.Is(c.err, leases.ErrTableNotFound)
	c.err = err
	c.mu.Unlock()
	switch {
	case !first:
		c.log.Debug("lease table cannot be listed", "err", err)
	case errors.Is(err, leases.ErrTableNotFound):
		c.log.Error("lease table is gone; it is not made again while the worker runs, as its checkpoints are lost: restore it, or stop all workers and start them again", "err", err)
	default:
		c.log.Warn("lease table cannot be listed, trying again", "err", err)
	}
}

// reportBad warns of each row that cannot be read, once.
func (c *Coordinator) reportBad(bad []*leases.RowError) {
	c.cfg.Metrics.SetLeaseRowsInvalid(len(bad))
	now := make(map[string]string, len(bad))
	for _, e := range bad {
		now[e.Key] = e.Error()
		if c.warned[e.Key] != e.Error() {
			c.log.Warn("lease row cannot be read and is left alone; repair or delete it", "lease", e.Key, "err", e.Err)
		}
	}
	c.warned = now
}

// judge turns a listing into the view that a plan is made of. Only what this
// worker saw itself counts: how long a counter has stood still on its own
// monotonic clock, from when the listing that showed it first had come back.
func (c *Coordinator) judge(listed []leases.Lease) view {
	now := c.clock.now().mono
	v := view{me: c.cfg.WorkerID, max: c.cfg.MaxLeasesForWorker, by: c.cfg.Balance, asks: 1, gentle: c.gentle}
	coming := c.coming.all()
	sightings := make(map[string]sighting, len(listed))
	rows := make(map[string]leases.Lease, len(listed))

	accepted := make(map[string]bool, len(listed))
	for _, l := range listed {
		accepted[l.Key] = c.cfg.Accept(l)
	}
	c.mu.Lock()
	again := c.err != nil
	c.err = nil
	c.mu.Unlock()
	if again {
		c.log.Info("lease table can be listed again")
	}

	c.mu.Lock()
	defer c.mu.Unlock()
	first, late := c.watched == 0, now-c.watched > c.cfg.FailoverTime
	if first {
		c.watchBegan = now
	}
	c.watched = now
	for _, l := range listed {
		h := c.active[l.Key]
		if h != nil {
			// The listing is older than what the holder wrote since.
			if mine := h.Lease(); mine.Counter > l.Counter {
				l = mine
			}
		}
		if known, ok := coming[l.Key]; ok && h == nil && known.Counter >= l.Counter {
			l = known // asked for since, or seen to be
		}
		s, ok := c.sightings[l.Key]
		switch {
		case !ok:
			s = sighting{counter: l.Counter, since: now, excused: late && !first}
		default:
			var anew bool
			if s, anew = s.see(l.Counter, now, late); anew {
				c.watchBegan = now
			}
		}
		sightings[l.Key], rows[l.Key] = s, l
		if !accepted[l.Key] {
			continue
		}
		still := now - s.since
		rest := c.rests[l.Key]
		r := row{
			Lease:   l,
			expired: l.ActualOwner() != "" && still >= c.cfg.respect(),
			quiet:   still >= c.cfg.FailoverTime*7/10,
			busy:    h != nil || (rest != nil && now < rest.until),
			waited:  c.waited[l.Key],
		}
		if h != nil && h.io.Err() == nil {
			r.expired, r.quiet = false, false
		}
		if l.Owner == v.me && !l.Finished() {
			v.asks = -1 // the others can see this worker
		}
		v.rows = append(v.rows, r)
	}
	for key := range c.rests {
		if _, ok := rows[key]; !ok {
			delete(c.rests, key)
		}
	}
	c.sightings, c.rows = sightings, rows
	c.cfg.vanished.see(now, rows)
	slices.SortFunc(v.rows, func(a, b row) int { return strings.Compare(a.Key, b.Key) })
	if v.by == leases.BalanceThroughput || c.mode != modeNative {
		c.scale.weigh(&c.cfg, &v, now)
	}
	return v
}

// act carries out plans until nothing is left to do, or the round has lasted long
// enough. It plans anew after a surprise: a conflict tells of a worker that was not
// known before, or that a lease is held already. As long as all goes as planned, the
// rest of the plan stands: with many leases, to plan takes longer than some writes.
func (c *Coordinator) act(ctx context.Context, v *view, plan func(view) []action) {
	c.unfinished = false
	var left []action
	for begun := c.clock.now().mono; ctx.Err() == nil; {
		if len(left) == 0 {
			left = plan(*v)
		}
		if left = c.affordable(left); len(left) == 0 {
			return
		}
		if c.clock.now().mono-begun >= c.cfg.roundTime() {
			c.unfinished = true
			return
		}
		actions := left[:min(len(left), maxParallel)]
		left = left[len(actions):]
		known := make([]*leases.Lease, len(actions))
		var wg sync.WaitGroup
		for i, a := range actions {
			wg.Go(func() { known[i] = c.do(ctx, a) })
		}
		wg.Wait()
		for i, a := range actions {
			at, _ := slices.BinarySearchFunc(v.rows, a.row.Key, func(r row, key string) int { return strings.Compare(r.Key, key) })
			r := &v.rows[at]
			r.busy = true // once in a round is enough
			if known[i] != nil {
				r.Lease, r.expired, r.quiet = *known[i], false, false
			}
			if !a.done(known[i], v.me) {
				left = nil
			}
			if a.reason == "balance" && v.asks > 0 && (known[i] == nil || known[i].Owner == v.me) {
				v.asks--
			}
		}
	}
}

// affordable leaves out the asks for which too many leases are on their way already.
func (c *Coordinator) affordable(actions []action) []action {
	room := c.maxArrivals() - c.coming.count()
	return slices.DeleteFunc(actions, func(a action) bool {
		if a.verb != ask {
			return false
		}
		room--
		if room < 0 {
			c.asksLeft.Store(true)
		}
		return room < 0
	})
}

// note keeps what a round leaves behind for the next one.
func (c *Coordinator) note(v view) {
	waited, waiting := map[string]int{}, v.waiting()
	held, starved := 0, false
	for _, r := range v.rows {
		h := c.holder(r.Key)
		switch {
		case r.Finished():
		case r.Owner == v.me && r.CheckpointOwner == "":
			held++
		case r.Owner == v.me:
			c.coming.add(r.Lease)
		case h != nil:
			// Somebody asks for a lease, or has taken it by force. A renewal will run
			// into that, and is the one place that knows what to do about it.
			select {
			case h.poke <- struct{}{}:
			default:
			}
		case r.CheckpointOwner == v.me:
		case waiting[r.Key]:
		case r.expired || r.Owner == "":
			waited[r.Key] = r.waited + 1
			starved = starved || r.waited >= 2*patience
		}
		c.learn(r.Lease)
	}
	c.waited = waited
	if starved && !c.starved && v.max > 0 && held >= v.max {
		c.log.Warn("shards are left unread: all workers that take part have reached MaxLeasesForWorker", "leases", len(waited), "max_leases", v.max)
	}
	c.starved = starved
}

// holder returns the holder of a lease that this worker has, or nil.
func (c *Coordinator) holder(key string) *Holder {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.active[key]
}

// learn keeps rows that were read or written, unless a later state is known.
func (c *Coordinator) learn(rows ...leases.Lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range rows {
		if known, ok := c.rows[l.Key]; !ok || l.Counter >= known.Counter {
			c.rows[l.Key] = l
		}
	}
}

// getAll reads the rows of keys; those that cannot be read now are left to the
// next scan.
func (c *Coordinator) getAll(ctx context.Context, keys []string) []leases.Lease {
	rows := make([]leases.Lease, len(keys))
	parallel(len(keys), func(i int) {
		if l, err := c.get(ctx, keys[i]); err == nil {
			rows[i] = l
		}
	})
	return slices.DeleteFunc(rows, func(l leases.Lease) bool { return l.Key == "" })
}

func (c *Coordinator) get(ctx context.Context, key string) (leases.Lease, error) {
	call, cancel := context.WithTimeout(ctx, c.rowTimeout())
	defer cancel()
	l, err := c.cfg.Store.Get(call, key)
	if err != nil && !errors.Is(err, leases.ErrNotFound) && ctx.Err() == nil {
		c.cfg.Metrics.LeaseStoreError("get")
	}
	return l, err
}

func (c *Coordinator) rowTimeout() time.Duration {
	return min(c.cfg.callTimeout(), c.cfg.ShutdownTimeout)
}

// parallel calls f for 0 to n-1, maxParallel at a time, and waits.
func parallel(n int, f func(i int)) {
	var wg sync.WaitGroup
	slots := make(chan struct{}, maxParallel)
	for i := range n {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			f(i)
		})
	}
	wg.Wait()
}
