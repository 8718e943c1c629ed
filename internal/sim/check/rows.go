package check

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-go/kcl/leases"
)

// WorkerOf returns the configured name of the worker that a row names as its owner.
func WorkerOf(owner string) string {
	name, _, _ := strings.Cut(owner, ":")
	return name
}

// Wrote says that the table has accepted a write. before is nil for a new row, and after for a
// deleted one. writer is the configured name of the worker.
func (c *Checker) Wrote(writer string, before, after *leases.Lease) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case before == nil && after != nil:
		c.created(writer, *after)
	case after == nil && before != nil:
		c.removed(writer, *before)
	case after != nil:
		c.updated(writer, *before, *after)
	}
}

func (c *Checker) history(key string) *history {
	h := c.shards[key]
	if h == nil {
		h = newHistory()
		c.shards[key] = h
	}
	return h
}

func (c *Checker) created(writer string, row leases.Lease) {
	h := c.history(row.Key)
	c.trace.add(row.Key, "%s creates the row at %s, parents %v", writer, row.Checkpoint, row.Parents)
	if h.deleted {
		c.violate("S15", row.Key, "%s makes the row again that was deleted", writer)
	}
	h.row, h.hadRow = &row, true
	if c.began.IsZero() {
		c.began = time.Now()
	}
	if wrong := h.checkBegin(row, c.began); wrong != "" {
		c.violate("S10", row.Key, "%s: %s", writer, wrong)
	}
	count, ok := h.coveredBy(row.Checkpoint, row)
	if !ok {
		c.violate("S10", row.Key, "%s creates the row at %s, which is no record", writer, row.Checkpoint)
		return
	}
	if h.start < 0 {
		h.start, h.prefix = count, count
	} else if count > h.covered && count > h.prefix {
		c.violate("S10", row.Key, "%s makes the row anew at %s: records from %d on are skipped", writer, row.Checkpoint,
			h.prefix)
	}
	h.covered = min(h.covered, count)
	h.advance()
}

func (c *Checker) removed(writer string, row leases.Lease) {
	h := c.history(row.Key)
	c.trace.add(row.Key, "%s deletes the row at %s", writer, row.Checkpoint)
	h.row = nil
	h.deleted = true
	if !h.expired && !h.finished() {
		c.violate("S1", row.Key, "%s deletes the row at %s, with records from %d of %d unprocessed", writer, row.Checkpoint,
			h.prefix, len(h.records))
	}
}

func (c *Checker) updated(writer string, before, after leases.Lease) {
	h := c.history(after.Key)
	h.row = &after
	if wrong := h.checkBegin(after, c.began); wrong != "" {
		c.violate("S10", after.Key, "%s: %s", writer, wrong)
	}
	if !after.Pending.IsZero() && after.Pending.Compare(after.Checkpoint) < 0 {
		c.violate("S2", after.Key, "%s leaves the pending checkpoint %s behind %s", writer, after.Pending, after.Checkpoint)
	}
	h.noteHandover(before, after)
	if before.Owner != after.Owner || before.CheckpointOwner != after.CheckpointOwner {
		c.trace.add(after.Key, "%s: owner %q/%q -> %q/%q at %d", writer, before.Owner, before.CheckpointOwner, after.Owner,
			after.CheckpointOwner, after.Counter)
	}
	if before.ActualOwner() != after.ActualOwner() && after.ActualOwner() != "" {
		c.counts.Takes++
	}
	if after.Counter < before.Counter {
		c.violate("S3", after.Key, "%s sets the counter back from %d to %d", writer, before.Counter, after.Counter)
	}
	if before.Checkpoint == after.Checkpoint {
		return
	}
	c.counts.Checkpoints++
	c.trace.add(after.Key, "%s checkpoints %s", writer, after.Checkpoint)
	if WorkerOf(before.ActualOwner()) != writer {
		c.violate("S3", after.Key, "%s writes a checkpoint, and the owner is %q", writer, before.ActualOwner())
	}
	if before.Checkpoint.Compare(after.Checkpoint) > 0 {
		c.violate("S2", after.Key, "%s sets the checkpoint back from %s to %s", writer, before.Checkpoint, after.Checkpoint)
	}
	count, ok := h.coveredBy(after.Checkpoint, after)
	switch {
	case !ok:
		c.violate("S1", after.Key, "%s checkpoints %s, which is no record", writer, after.Checkpoint)
		return
	case count > h.prefix:
		c.violate("S1", after.Key, "%s checkpoints %s, record %d, but record %d is not done", writer, after.Checkpoint,
			count-1, h.prefix)
	}
	h.covered = count
	if after.Checkpoint.IsShardEnd() {
		c.shardEnd(writer, h, after)
	}
}

// shardEnd checks an accepted SHARD_END.
func (c *Checker) shardEnd(writer string, h *history, row leases.Lease) {
	h.ended = true
	c.counts.Ends++
	if !h.closed && !h.expired {
		c.violate("S8", row.Key, "%s writes SHARD_END, and the shard is open", writer)
	}
	if !h.agreed {
		c.violate("S8", row.Key, "%s writes SHARD_END, and no processor has agreed", writer)
	}
	for key, child := range c.shards {
		if slices.Contains(child.parents, row.Key) && !child.hadRow && !h.expired {
			c.violate("S8", row.Key, "%s writes SHARD_END, and child %s has no row", writer, key)
		}
	}
}

// checkBegin checks that a row without a checkpoint skips no record that has arrived since the time
// began, when the application began (S10). It returns what is wrong.
func (h *history) checkBegin(row leases.Lease, began time.Time) string {
	if row.Started() {
		return ""
	}
	begin := h.begin(row)
	for i := h.trimmed; i < begin; i++ {
		if r := h.records[i]; !r.done && r.at.After(began) {
			return fmt.Sprintf("the shard begins after record %d, which has arrived since the application began", i)
		}
	}
	return ""
}

// noteHandover notes when a hand-over begins and ends.
func (h *history) noteHandover(before, after leases.Lease) {
	switch {
	case !after.HandingOver() || before.ActualOwner() != after.ActualOwner():
		h.asked = time.Time{}
	case h.asked.IsZero():
		h.asked = time.Now()
	}
}
