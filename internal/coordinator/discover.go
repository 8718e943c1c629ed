package coordinator

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/retry"
	"github.com/kinesis-go/kcl/leases"
)

// indexInterval is how often it is seen whether the index can be used, while it
// cannot.
const indexInterval = 30 * time.Second

// alarm is for how long the table is listed often while there are leases that
// nobody seems to read. Those that are left then fit nowhere.
const alarm = time.Minute

// indexState is what is known about the index of leases by owner.
type indexState struct {
	ready  bool
	due    time.Duration // when to look again, monotonic
	fails  int           // how often in a row it could not be made
	failed bool          // the last query
}

// roundKCL3 is a round while a leader assigns the leases. This worker starts
// with what the table says is its own: it asks the index, which costs next to
// nothing, and lists the table seldom. Only the leader lists it each time.
func (c *Coordinator) roundKCL3(ctx context.Context) error {
	c.ensureIndex(ctx)
	_, lead := c.elector.leads()
	if !lead {
		c.duty.retire()
	}
	if !lead && c.index.ready && !c.listDue() {
		if c.discover(ctx) {
			return nil
		}
	}
	v, err := c.look(ctx)
	if err != nil {
		if lead {
			c.duty.failed(ctx, err)
		}
		return err
	}
	c.suspectOwners(v.rows)
	rescue := c.neglected(&v)
	c.handovers.Note(c.watched, v.leases())
	c.act(ctx, &v, func(v view) []action { return planKCL3(v, rescue) })
	if lead {
		c.duty.run(ctx, &v)
	}
	c.note(v)
	c.countHeld()
	return nil
}

// listDue tells whether a worker that does not lead lists the table, which it
// does to find what the leader neglects, and for those who ask for the view.
func (c *Coordinator) listDue() bool {
	age := c.clock.now().mono - c.watched
	switch {
	case c.watched == 0 || c.scans:
		return true
	case c.uneasy && c.clock.now().mono-c.uneasySince < alarm:
		return true
	default: // less than FailoverTime, after which a view is no use
		return age >= c.cfg.FailoverTime*7/10-jitter(c.cfg.FailoverTime/10)
	}
}

// neglected finds what the leader has left lying for too long, and notes in the
// rows of v for how many scans that has been so.
func (c *Coordinator) neglected(v *view) map[string]bool {
	rescue := c.neglect.Note(c.clock.now().mono, v.fleet(), c.cfg.FailoverTime, c.cfg.respect())
	since, waiting := map[string]int{}, v.waiting()
	before := c.uneasy
	c.uneasy = false
	for i := range v.rows {
		r := &v.rows[i]
		if waiting[r.Key] {
			delete(rescue, r.Key)
			continue
		}
		r.waited = c.rescues[r.Key]
		c.uneasy = c.uneasy || (!r.Finished() && (r.quiet || r.ActualOwner() == ""))
		if rescue[r.Key] {
			since[r.Key] = r.waited + 1
		}
	}
	if c.uneasy && !before {
		c.uneasySince = c.watched
	}
	if len(rescue) > 0 && len(c.rescues) == 0 {
		c.log.Warn("leases are taken that the leader of the fleet has neglected", "leases", len(rescue), "leader", c.elector.who())
	}
	c.rescues = since
	return rescue
}

// planKCL3 decides what a worker does by itself while a leader assigns the
// leases: it takes what is its own, and its share of what the leader neglects.
// Only workers of this library can be counted on for that.
func planKCL3(v view, rescue map[string]bool) []action {
	p := newPlanner(v)
	p.own()
	if len(rescue) == 0 {
		return p.actions
	}
	native := map[string]bool{v.me: true}
	for _, r := range v.rows {
		if r.Owner == r.NativeOwner {
			native[r.Owner] = true
		}
	}
	p.workers = slices.DeleteFunc(p.workers, func(w string) bool { return !native[w] })
	p.rows = slices.DeleteFunc(slices.Clone(p.rows), func(r row) bool { return !rescue[r.Key] })
	p.takeable()
	return p.actions
}

// ensureIndex asks for the index from time to time until it can be used.
// Without it the table is listed instead.
func (c *Coordinator) ensureIndex(ctx context.Context) {
	now := c.clock.now().mono
	if c.index.ready || (c.index.due > 0 && now < c.index.due) {
		return
	}
	call, cancel := context.WithTimeout(ctx, c.cfg.FailoverTime)
	ready, err := c.fleet.EnsureIndex(call)
	cancel()
	c.index.ready, c.index.due = ready && err == nil, c.clock.now().mono+indexInterval
	switch {
	case err == nil:
		c.index.fails = 0
	case ctx.Err() == nil:
		// The first time another worker may just have been faster.
		if c.index.fails++; c.index.fails == 1 {
			c.index.due = c.clock.now().mono + c.cfg.ScanInterval
		} else if c.index.fails == 2 {
			c.log.Warn("index of the leases by owner cannot be made; the table is listed instead, which costs more", "err", err)
		}
	}
}

// discover asks the index for what is this worker's. It tells false when the
// index cannot be used.
func (c *Coordinator) discover(ctx context.Context) bool {
	call, cancel := context.WithTimeout(ctx, c.cfg.FailoverTime)
	keys, err := c.fleet.OwnedBy(call, c.cfg.WorkerID)
	cancel()
	switch {
	case errors.Is(err, leases.ErrNoIndex), errors.Is(err, kcl.ErrAccessDenied):
		c.index.ready = false
		return false
	case err != nil:
		if ctx.Err() == nil {
			c.cfg.Metrics.LeaseStoreError("query")
			if !c.index.failed {
				c.log.Warn("leases of this worker cannot be asked for, trying again", "err", err)
			}
			c.index.failed = true
		}
		return true
	}
	c.index.failed = false
	rows := c.getAll(ctx, c.worthReading(keys))
	c.learn(rows...)
	rows = slices.DeleteFunc(rows, func(l leases.Lease) bool { return l.Owner != c.cfg.WorkerID || c.refuse(l) })
	parallel(len(rows), func(i int) { c.begin(ctx, rows[i], "assigned") })
	if len(rows) > 0 {
		c.countHeld()
	}
	return true
}

// worthReading picks of keys, the leases of this worker, those that it has no
// consumer for and could start with. It adds the parents that its consumers are
// waiting for: their end is not to be noticed only at the next scan.
func (c *Coordinator) worthReading(keys []string) []string {
	now := c.clock.now().mono
	var read []string
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, key := range keys {
		rest := c.rests[key]
		if c.active[key] == nil && !c.rows[key].Finished() && !c.coming.has(key) && (rest == nil || now >= rest.until) {
			read = append(read, key)
		}
	}
	reads := make(map[string]bool, len(read))
	for _, key := range read {
		reads[key] = true
	}
	for _, h := range c.active {
		l := h.Lease()
		if l.Started() {
			continue
		}
		for _, parent := range l.Parents {
			key := strings.TrimSuffix(l.Key, l.ShardID) + parent
			if row, ok := c.rows[key]; ok && !row.Finished() && c.active[key] == nil && !reads[key] {
				read, reads[key] = append(read, key), true
			}
		}
	}
	return read
}

// refuse gives a lease of a stream that this worker does not read back, after
// which it is left alone for a while; the leader does not know better.
func (c *Coordinator) refuse(l leases.Lease) bool {
	if l.Owner != c.cfg.WorkerID || l.CheckpointOwner != "" || l.Finished() || c.cfg.Accept(l) {
		return false
	}
	c.mu.Lock()
	r := c.rests[l.Key]
	if r == nil {
		r = &rest{backoff: retry.New(c.cfg.FailoverTime, 10*time.Minute)}
		c.rests[l.Key] = r
	}
	r.until = c.clock.now().mono + r.backoff.Next()
	c.mu.Unlock()
	c.log.Warn("leader has assigned a lease of a stream that this worker does not read, which is given back: all workers must read the same streams", "lease", l.Key)
	c.giveBack(l)
	return true
}

// leaveFleet ends this worker's part in the fleet after its consumers: what was
// assigned to it meanwhile is given back.
func (c *Coordinator) leaveFleet() {
	c.reporting.wait()
	c.electing.wait()
	if c.mode != modeKCL3 {
		return
	}
	call, cancel := context.WithTimeout(c.last, c.rowTimeout())
	defer cancel()
	keys, err := c.fleet.OwnedBy(call, c.cfg.WorkerID)
	if err != nil {
		return // they expire
	}
	c.mu.Lock()
	keys = slices.DeleteFunc(keys, func(key string) bool { return c.active[key] != nil || c.rows[key].Finished() })
	c.mu.Unlock()
	parallel(len(keys), func(i int) {
		if l, err := c.get(c.last, keys[i]); err == nil && l.Owner == c.cfg.WorkerID && l.CheckpointOwner == "" {
			c.leave(l)
		}
	})
}

// jitter is a random part of d.
func jitter(d time.Duration) time.Duration { return rand.N(d + 1) }
