package metrics

import "time"

// Sink takes the numbers. Implementations must be safe for concurrent use and must not block. The
// values of labels come in the order of the Desc's Labels. A panic is contained and logged, and its
// number is lost. A method must not call runtime.Goexit.
type Sink interface {
	// Series returns the series of d with these label values. It makes the series if there is none.
	Series(d *Desc, labels ...string) Series
	// Remove forgets the series of d whose first labels have these values.
	Remove(d *Desc, labels ...string)
}

// Series is one line of numbers. Record adds the value to a counter, sets a gauge or lag to it, and
// observes it in a histogram.
type Series interface{ Record(value float64) }

// Metrics is the library's view of a [Sink]. A nil *Metrics is a no-op. It is
// safe for concurrent use.
type Metrics struct{ sink Sink }

// New returns a Metrics that writes to sink; nil for a nil sink.
func New(sink Sink) *Metrics {
	if sink == nil {
		return nil
	}
	return &Metrics{sink: &guard{sink: sink}}
}

func (m *Metrics) record(d *Desc, v float64, labels ...string) {
	if m != nil {
		m.sink.Series(d, labels...).Record(v)
	}
}

// SetLeasesHeld says how many leases the worker holds.
func (m *Metrics) SetLeasesHeld(n int) { m.record(LeasesHeld, float64(n)) }

// SetAssignmentMode records how leases are assigned: 0 is native, 1 native
// during an upgrade from KCL 2.x, 2 by the leader of a KCL 3.x fleet.
func (m *Metrics) SetAssignmentMode(mode int) { m.record(AssignmentMode, float64(mode)) }

// SetLeader records whether this worker is the leader of a KCL 3.x fleet.
func (m *Metrics) SetLeader(leads bool) { m.record(Leader, number(leads)) }

// SetLeasesUnassigned records how many leases the leader can assign to no worker.
func (m *Metrics) SetLeasesUnassigned(n int) { m.record(LeasesUnassigned, float64(n)) }

// LeaseTaken counts a lease that was taken; reason is free, expired, balance,
// handover or assigned.
func (m *Metrics) LeaseTaken(reason string) { m.record(LeasesTaken, 1, reason) }

// LeaseLost counts a lease that the worker no longer holds; reason is taken,
// expired, released, handover, finished or deleted.
func (m *Metrics) LeaseLost(reason string) { m.record(LeasesLost, 1, reason) }

// LeaseRowRecreated counts a row that was deleted while this worker held its lease, and that the
// worker made again.
func (m *Metrics) LeaseRowRecreated() { m.record(LeaseRowsRecreated, 1) }

// LeaseRenewed observes how long one renewal took.
func (m *Metrics) LeaseRenewed(took time.Duration) { m.record(LeaseRenewTime, took.Seconds()) }

// LeaseStoreError counts a failed call of the lease store; operation is the
// method of leases.Store in lower case.
func (m *Metrics) LeaseStoreError(operation string) { m.record(LeaseStoreErrors, 1, operation) }

// SetLeaseRowsInvalid says how many rows of the table cannot be read.
func (m *Metrics) SetLeaseRowsInvalid(n int) { m.record(LeaseRowsInvalid, float64(n)) }

// SetStreams says how many streams the worker reads.
func (m *Metrics) SetStreams(n int) { m.record(Streams, float64(n)) }

// SetFormerStreams says how many streams have leases that wait to be deleted.
func (m *Metrics) SetFormerStreams(n int) { m.record(FormerStreams, float64(n)) }

// Shard resolves the handles of one shard, once per lease. Close it at the end.
func (m *Metrics) Shard(stream, shard string) *Shard {
	if m == nil {
		return nil
	}
	s := func(d *Desc) Series { return m.sink.Series(d, stream, shard) }
	return &Shard{
		m: m, stream: stream, shard: shard,
		records: s(Records), users: s(UserRecords), bytes: s(Bytes), batches: s(Batches), behind: s(BehindLatest),
		process: s(ProcessTime), opened: s(SubscriptionsOpened), mode: s(RetrievalMode),
		checkpoint: s(CheckpointTime), stalled: s(Stalled),
		corrupt: s(AggregatesCorrupt), dropped: s(RecordsDropped), undecoded: s(DecodeErrors),
	}
}
