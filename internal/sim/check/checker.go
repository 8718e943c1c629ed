package check

import (
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// Rules says which invariants hold in a world. The zero value is all of them.
type Rules struct {
	// Overlap lets a worker deliver a batch after it has lost its lease: some worker was frozen.
	Overlap bool
	// Loose is for processors that get their records from a decorator: not as one run of a shard.
	Loose bool
	// NoDuplicates is for worlds without any fault: no record is delivered twice.
	NoDuplicates bool
	// Failover is the FailoverTime of all workers.
	Failover time.Duration
}

// Violation is a broken invariant.
type Violation struct {
	Invariant string // such as S1
	Shard     string // key of the lease; empty for the world
	Text      string
	Trace     []Event // the last events of the shard and of the world
}

// String returns the violation with its trace.
func (v Violation) String() string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s %s: %s\n", v.Invariant, v.Shard, v.Text)
	for _, e := range v.Trace {
		fmt.Fprintf(&b, "  %s\n", e)
	}
	return b.String()
}

// maxViolations is how many violations are kept. The first one counts.
const maxViolations = 20

// Checker follows one world and tests its invariants. It is safe for concurrent use. Its methods
// never wait.
type Checker struct {
	// Reasons is told what gives a worker a reason to lose its leases.
	Reasons Reasons

	rules Rules

	mu         sync.Mutex // guards the fields below
	trace      *trace
	shards     shards
	keys       map[string]*keyOrder
	dead       map[string]bool // workers that were killed
	began      time.Time       // when the first row was made
	violations []Violation
	counts     Counts
}

// Counts are the figures of a world.
type Counts struct {
	Records, Delivered, Duplicates, Expired, Checkpoints, Takes, Ends int
	Events                                                            int
}

// New returns a Checker for a world that begins now.
func New(rules Rules) *Checker {
	return &Checker{
		rules: rules, trace: newTrace(), shards: shards{}, keys: map[string]*keyOrder{}, dead: map[string]bool{},
		Reasons: Reasons{renewed: map[lease]time.Time{}, stopping: map[string]time.Time{}},
	}
}

// Note adds an event to the trace of a shard, or of the world if shard is empty.
func (c *Checker) Note(shard, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.trace.add(shard, format, args...)
}

// Violate notes a violation that the world has found by itself.
func (c *Checker) Violate(invariant, shard, format string, args ...any) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.violate(invariant, shard, format, args...)
}

func (c *Checker) violate(invariant, shard, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	c.trace.add(shard, "VIOLATION of %s", invariant) // errors have random request ids, so without the text
	if len(c.violations) < maxViolations {
		c.violations = append(c.violations, Violation{invariant, shard, text, c.trace.last(shard)})
	}
}

// Violations returns what was broken until now, the first one first.
func (c *Checker) Violations() []Violation {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.violations)
}

// Trace returns all events until now, in the order in which they were noted.
func (c *Checker) Trace() []Event {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.trace.events)
}

// Hash returns a hash of the whole trace. Two plays of one world have the same. The order of events
// at one instant does not count.
func (c *Checker) Hash() uint64 {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.trace.hash()
}

// Counts returns the figures until now.
func (c *Checker) Counts() Counts {
	c.mu.Lock()
	defer c.mu.Unlock()
	counts := c.counts
	counts.Events = len(c.trace.events)
	return counts
}

// Kill says that a worker was killed. What it still does does not count.
func (c *Checker) Kill(worker string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.dead[worker] = true
	c.trace.add("", "kill %s", worker)
}

// Shard says that the service has a shard. It may be told again.
func (c *Checker) Shard(key string, parents []string, open bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.history(key)
	if h.parents == nil && parents != nil {
		h.parents = parents
		c.trace.add(key, "shard, parents %v", parents)
	}
	if h.closed = !open; h.closed {
		h.advance()
	}
}

// Put writes a Kinesis record with n user records, by a call of write. No reader can tell of the
// record before the Checker knows it. The records of a partition key are written one by one.
func (c *Checker) Put(partitionKey string, n int, write func() (shard, sequence string, err error)) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	key, sequence, err := write()
	if err != nil {
		return err
	}
	h := c.history(key)
	for sub := range int64(n) {
		h.index[kcl.ExtendedSequenceNumber{SequenceNumber: sequence, SubSequenceNumber: sub}] = len(h.records)
		h.records = append(h.records, record{key: partitionKey, at: time.Now()})
		c.keyOrder(partitionKey).put(h, len(h.records)-1)
		c.counts.Records++
	}
	return nil
}

// Trim says that records have left the retention period: all before the record at, or all records
// if at is zero.
func (c *Checker) Trim(key string, at kcl.ExtendedSequenceNumber) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.shards[key]
	oldest, ok := h.index[at]
	if !ok {
		oldest = len(h.records)
	}
	c.expireTo(key, h, oldest)
}

// Expire says that the service has forgotten a shard and its records.
func (c *Checker) Expire(key string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	h := c.shards[key]
	h.expired = true
	c.expireTo(key, h, len(h.records))
}

func (c *Checker) expireTo(key string, h *history, to int) {
	for i := h.trimmed; i < to; i++ {
		if h.inScope(i) && !h.records[i].done {
			c.counts.Expired++
		}
	}
	if to <= h.trimmed {
		return
	}
	h.trimmed = to
	h.advance()
	c.trace.add(key, "trimmed to record %d of %d", h.trimmed, len(h.records))
}

// Left returns how many records must still be processed, and some of them.
func (c *Checker) Left() (left int, some []string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for key, h := range c.shards {
		if h.start < 0 {
			if n := len(h.records) - h.trimmed; n > 0 && !c.shards.beforeStart(h) {
				left += n
				some = append(some, fmt.Sprintf("%s: %d records, no row", key, n))
			}
			continue
		}
		if n := len(h.records) - h.prefix; n > 0 {
			undone := 0
			for i := h.prefix; i < len(h.records); i++ {
				if h.inScope(i) && !h.records[i].done {
					undone++
				}
			}
			left += undone
			some = append(some, fmt.Sprintf("%s: %d of %d, from record %d", key, undone, len(h.records), h.prefix))
		}
	}
	slices.Sort(some)
	return left, some
}

// Idle returns the shards with unprocessed records that have made no progress for d, with the time
// of their last progress.
func (c *Checker) Idle(d time.Duration) map[string]time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	idle := map[string]time.Time{}
	for key, h := range c.shards {
		if h.start < 0 || h.prefix >= len(h.records) {
			continue
		}
		since := h.progress
		if arrived := h.records[h.prefix].at; arrived.After(since) {
			since = arrived
		}
		if time.Since(since) > d {
			idle[key] = since
		}
	}
	return idle
}

// Row returns a row as the table has it.
func (c *Checker) Row(key string) (leases.Lease, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if h := c.shards[key]; h != nil && h.row != nil {
		return *h.row, true
	}
	return leases.Lease{}, false
}
