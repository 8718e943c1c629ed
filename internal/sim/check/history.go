package check

import (
	"slices"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/leases"
)

// history is what the Checker knows of one shard.
type history struct {
	parents  []string
	closed   bool // the shard takes no more records
	expired  bool // the service has forgotten the shard
	records  []record
	index    map[kcl.ExtendedSequenceNumber]int // of records
	trimmed  int                                // records below this index have left the retention period
	start    int                                // the first record that the application must process; -1 before the row
	prefix   int                                // all records from start to here, without it, are done or trimmed
	covered  int                                // records before this index are covered by an accepted checkpoint
	row      *leases.Lease                      // as the table has it; nil without a row
	hadRow   bool
	agreed   bool // a processor has agreed to the end of the shard
	ended    bool // SHARD_END was accepted
	deleted  bool // its row was deleted by the library
	progress time.Time
	asked    time.Time // when the running hand-over began; zero without one
}

// record is one user record.
type record struct {
	key     string
	at      time.Time // when it arrived
	done    bool
	doneBy  string
	deliver int // how often it was delivered
}

func newHistory() *history {
	return &history{index: map[kcl.ExtendedSequenceNumber]int{}, start: -1, progress: time.Now()}
}

// advance moves prefix over all records that are done or trimmed.
func (h *history) advance() {
	for h.prefix < len(h.records) && (h.prefix < h.start || h.prefix < h.trimmed || h.records[h.prefix].done) {
		h.prefix++
	}
}

// inScope tells whether the application must process the record.
func (h *history) inScope(i int) bool { return h.start >= 0 && i >= h.start && i >= h.trimmed }

// finished tells whether no record of a closed shard is left.
func (h *history) finished() bool { return h.closed && h.prefix == len(h.records) }

// begin returns the index of the first record that a row without a checkpoint stands for.
func (h *history) begin(row leases.Lease) int {
	if row.Checkpoint.SequenceNumber == kcl.SentinelTrimHorizon {
		return 0
	}
	// LATEST and AT_TIMESTAMP are a time. The service compares milliseconds.
	i := slices.IndexFunc(h.records, func(r record) bool {
		return !r.at.Truncate(time.Millisecond).Before(row.PinnedAt.Truncate(time.Millisecond))
	})
	if i < 0 {
		return len(h.records)
	}
	return i
}

// coveredBy returns how many records a checkpoint covers. ok is false for a position that no record
// has.
func (h *history) coveredBy(n kcl.ExtendedSequenceNumber, row leases.Lease) (count int, ok bool) {
	switch {
	case n.IsShardEnd():
		return len(h.records), true
	case n.IsSentinel():
		return h.begin(row), true
	}
	i, ok := h.index[n]
	return i + 1, ok
}

// shards are all shards, by the keys of their leases.
type shards map[string]*history

// beganLate tells whether the application began at a position other than TRIM_HORIZON.
func (s shards) beganLate() bool {
	for _, h := range s {
		if h.row != nil && h.row.Origin.Kind != kcl.SentinelTrimHorizon {
			return true
		}
	}
	return false
}

// beforeStart tells whether a shard was over when the application began: it is closed, never had a
// row, and the application did not begin at TRIM_HORIZON.
func (s shards) beforeStart(h *history) bool { return h.closed && !h.hadRow && s.beganLate() }

// unfinishedParent returns a parent of the shard that is not finished; empty if all are.
func (s shards) unfinishedParent(h *history) string {
	for _, parent := range h.parents {
		p := s[parent]
		if p == nil || p.expired || s.beforeStart(p) {
			continue
		}
		if !p.finished() || !(p.ended || p.deleted) {
			return parent
		}
	}
	return ""
}

// due tells whether a record must still be processed. A shard without a row will have one, unless
// it was over when the application began.
func (s shards) due(p place) bool {
	switch {
	case p.h.records[p.i].done:
		return false
	case p.h.start < 0:
		return !s.beforeStart(p.h)
	}
	return p.h.inScope(p.i)
}
