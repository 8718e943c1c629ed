package check

import (
	"time"

	"github.com/kinesis-go/kcl"
)

// Reader is one processor instance of a worker. Its methods are the calls that the processor gets.
// Each returns a function that says how the call ended. A Reader belongs to the goroutine of its
// calls, but checks that calls do not overlap.
type Reader struct {
	// Lane says that other calls may follow the last one, because Concurrent checkpoints after it.
	Lane bool

	c           *Checker
	worker, key string
	calls       string // one letter for each call that began
	busy        bool
	over        bool
	next        int // the record that is due; -1 before Initialize has succeeded
	replaced    bool
	batch       []int // the records that are delivered or have failed
	failed      bool
}

// Reader says that a worker has made a processor for a shard.
func (c *Checker) Reader(worker, key string) *Reader {
	return &Reader{c: c, worker: worker, key: key, next: -1}
}

// enter notes the begin of a call, and checks its place in the life of the processor (S16).
func (r *Reader) enter(call string) (dead bool) {
	c := r.c
	if c.dead[r.worker] {
		return true
	}
	if r.busy {
		c.violate("S16", r.key, "%s: call %s while another runs (%s)", r.worker, call, r.calls)
	}
	if r.over {
		c.violate("S16", r.key, "%s: call %s after the last one (%s)", r.worker, call, r.calls)
	}
	if (call == "I") != (r.next < 0) && call != "L" {
		c.violate("S16", r.key, "%s: call %s after %q", r.worker, call, r.calls)
	}
	r.busy = true
	if len(r.calls) < 100 {
		r.calls += call
	}
	return false
}

// leave ends a call. over says that it was the last one.
func (r *Reader) leave(over bool) {
	r.busy = false
	r.over = r.over || over && !r.Lane
}

// Initialize notes the call of Initialize.
func (r *Reader) Initialize(in kcl.InitializeInput) (end func(error)) {
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.enter("I") {
		return func(error) {}
	}
	c.trace.add(r.key, "%s initializes at %s", r.worker, in.Checkpoint)
	h := c.history(r.key)
	return func(err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		r.leave(false)
		if err != nil || c.dead[r.worker] || h.row == nil {
			return
		}
		count, ok := h.coveredBy(in.Checkpoint, *h.row)
		if !ok {
			c.violate("S5", r.key, "%s begins at %s, which is no record", r.worker, in.Checkpoint)
		}
		if owner := WorkerOf(h.row.ActualOwner()); owner == r.worker && in.Checkpoint != h.row.Checkpoint {
			c.violate("S5", r.key, "%s begins at %s, and the checkpoint is %s", r.worker, in.Checkpoint, h.row.Checkpoint)
		}
		r.next = count
	}
}

// Deliver notes the begin of ProcessRecords. The returned function says how it ended. done are the
// records that the processor has finished, a prefix of the batch: all of them after a success.
func (r *Reader) Deliver(in kcl.ProcessRecordsInput) (end func(done int, err error)) {
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.enter("P") {
		return func(int, error) {}
	}
	h := c.history(r.key)
	first := r.indexOf(h, in.Records[0])
	c.trace.add(r.key, "%s gets records %d to %d of %d", r.worker, first, first+len(in.Records)-1, len(h.records))
	r.checkOwner(h)
	if parent := c.shards.unfinishedParent(h); parent != "" {
		c.violate("S6", r.key, "%s gets records before parent %s is finished", r.worker, parent)
	}
	if !c.rules.Loose {
		r.checkRun(h, in.Records)
	}
	batch := make([]int, 0, len(in.Records))
	for _, record := range in.Records {
		i, ok := h.index[record.Position()]
		if !ok {
			c.violate("S5", r.key, "%s gets record %s, which was not written to the shard", r.worker, record.Position())
			continue
		}
		batch = append(batch, i)
		rec := &h.records[i]
		c.counts.Delivered++
		if rec.deliver++; rec.deliver > 1 {
			c.counts.Duplicates++
			if c.rules.NoDuplicates {
				c.violate("S11", r.key, "%s gets record %d again, which %s has processed", r.worker, i, rec.doneBy)
			}
		}
	}
	r.batch = batch
	return func(done int, err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		r.leave(false)
		if c.dead[r.worker] {
			return
		}
		r.failed = err != nil
		c.trace.add(r.key, "%s has processed %d records of %d, error %t", r.worker, done, len(batch), err != nil)
		c.done(r.worker, r.key, h, batch[:min(done, len(batch))])
		if err == nil && len(batch) > 0 {
			r.next = batch[len(batch)-1] + 1
		}
	}
}

// Done says that the processor has finished the first n records of the running batch. It must be
// called before a checkpoint that covers them.
func (r *Reader) Done(n int) {
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.dead[r.worker] {
		c.done(r.worker, r.key, c.history(r.key), r.batch[:min(n, len(r.batch))])
	}
}

// Handled says that a record counts as processed although the processor has failed with it.
func (r *Reader) Handled(record kcl.Record) {
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.history(r.key); !c.dead[r.worker] {
		c.trace.add(r.key, "%s counts %s as processed", r.worker, record.Position())
		c.done(r.worker, r.key, h, []int{r.indexOf(h, record)})
	}
}

// indexOf returns the index of a record.
func (r *Reader) indexOf(h *history, rec kcl.Record) int {
	i, ok := h.index[rec.Position()]
	if !ok {
		r.c.violate("S5", r.key, "%s gets record %s, which was not written to the shard", r.worker, rec.Position())
	}
	return i
}

// checkOwner checks that the worker still has the lease (S4).
func (r *Reader) checkOwner(h *history) {
	switch {
	case r.c.rules.Overlap || h.row == nil:
	case WorkerOf(h.row.ActualOwner()) != r.worker:
		r.c.violate("S4", r.key, "%s gets records, and the owner is %q", r.worker, h.row.ActualOwner())
	}
}

// checkRun checks that the records of a batch follow those of the batch before (S5).
func (r *Reader) checkRun(h *history, records []kcl.Record) {
	due := r.next
	if r.failed && len(r.batch) > 0 {
		due = r.batch[0]
	}
	due = max(due, min(h.trimmed, r.indexOf(h, records[0])))
	if first := r.indexOf(h, records[0]); first != due {
		r.c.violate("S5", r.key, "%s gets record %d when record %d is due (trimmed %d)", r.worker, first, due, h.trimmed)
	}
	for i, rec := range records[1:] {
		before := r.indexOf(h, records[i])
		if n := r.indexOf(h, rec); n != before+1 && n > h.trimmed {
			r.c.violate("S5", r.key, "%s gets record %d after record %d", r.worker, n, before)
		}
	}
}

// LeaseLost notes the call of LeaseLost.
func (r *Reader) LeaseLost() func() {
	c := r.c
	c.mu.Lock()
	if !c.dead[r.worker] {
		r.checkLoss(c.history(r.key))
	}
	c.mu.Unlock()
	end := r.last("L")
	return func() { end(nil) }
}

// ShardEnded notes the call of ShardEnded.
func (r *Reader) ShardEnded() func(error) {
	c := r.c
	c.mu.Lock()
	h := c.history(r.key)
	if !c.dead[r.worker] && !h.finished() {
		c.violate("S8", r.key, "%s is told the end of the shard, and record %d of %d is not done (closed: %t)", r.worker,
			h.prefix, len(h.records), h.closed)
	}
	c.mu.Unlock()
	end := r.last("E")
	return func(err error) {
		c.mu.Lock()
		h.agreed = h.agreed || err == nil && !c.dead[r.worker]
		c.mu.Unlock()
		end(err)
	}
}

// ShutdownRequested notes the call of ShutdownRequested.
func (r *Reader) ShutdownRequested() (end func(error)) { return r.last("S") }

// last notes a call that is the last one unless it fails.
func (r *Reader) last(call string) (end func(error)) {
	c := r.c
	c.mu.Lock()
	defer c.mu.Unlock()
	if r.enter(call) {
		return func(error) {}
	}
	c.trace.add(r.key, "%s call %s", r.worker, call)
	return func(err error) {
		c.mu.Lock()
		defer c.mu.Unlock()
		r.leave(err == nil || call == "L")
	}
}

// done notes finished records, and checks the order of each key (S7).
func (c *Checker) done(worker, key string, h *history, records []int) {
	for _, i := range records {
		rec := &h.records[i]
		if rec.done {
			continue
		}
		rec.done, rec.doneBy = true, worker
		if text := c.keyOrder(rec.key).done(c.shards, h, i); text != "" {
			c.violate("S7", key, "%s: key %q, record %d of the shard: %s", worker, rec.key, i, text)
		}
	}
	before := h.prefix
	if h.advance(); h.prefix > before {
		h.progress = time.Now()
	}
}
