package metrics

import (
	"strconv"
	"time"
)

// Kind says what the values of a metric mean.
type Kind int

// The kinds of metric.
const (
	KindCounter Kind = iota
	KindGauge
	KindHistogram
	// KindLag is a gauge that grows by itself while no value is recorded; see [Lag].
	KindLag
)

// String returns counter, gauge, histogram or lag.
func (k Kind) String() string {
	switch k {
	case KindCounter:
		return "counter"
	case KindGauge:
		return "gauge"
	case KindHistogram:
		return "histogram"
	case KindLag:
		return "lag"
	}
	return "Kind(" + strconv.Itoa(int(k)) + ")"
}

// MarshalText implements [encoding.TextMarshaler] with [Kind.String].
func (k Kind) MarshalText() ([]byte, error) { return []byte(k.String()), nil }

// lagGrace is how long a lag may go without a new value before it grows. It is longer than the five
// seconds between two events of an idle subscription.
const lagGrace = 10 * time.Second

// Lag is the value of a [KindLag] metric, in seconds. It is the last recorded value. If that is
// more than ten seconds old, its age is added. So the lag of a reader that has stopped grows by a
// second each second.
func Lag(recorded float64, since time.Duration) float64 {
	if since <= lagGrace {
		return recorded
	}
	return recorded + since.Seconds()
}

// Desc describes one metric. Descs are compared by address: use the variables of this package.
// [All] lists them.
type Desc struct {
	// Name such as kcl_records_total, in Prometheus' convention.
	Name string
	// Help is one sentence.
	Help string
	// Kind of the metric.
	Kind Kind
	// Unit is seconds, bytes or empty for plain counts.
	Unit string
	// Labels are the names of the labels, in the order in which values come.
	Labels []string
	// Buckets are the upper bounds of a histogram.
	Buckets []float64
}

var (
	shardLabels = []string{"stream", "shard"}
	latency     = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60}
)

// The metrics of the library. Label values are bounded: stream and shard are those that the process
// owns, and the others come from fixed lists. The value of stream is account:name:epoch, also with
// one stream, because names are not unique. It is the name if the service does not say when the
// stream was created.
var (
	Records = &Desc{
		Name: "kcl_records_total", Labels: shardLabels,
		Help: "Kinesis records read from the stream: an aggregate of the Kinesis Producer Library counts once.",
	}
	UserRecords = &Desc{
		Name: "kcl_user_records_total", Labels: shardLabels,
		Help: "Records that ProcessRecords has processed: each user record of an aggregate counts.",
	}
	Bytes = &Desc{
		Name: "kcl_bytes_total", Unit: "bytes", Labels: shardLabels,
		Help: "Payload bytes read from the stream.",
	}
	Batches = &Desc{
		Name: "kcl_batches_total", Labels: shardLabels,
		Help: "Batches read from the stream, empty ones included.",
	}
	BehindLatest = &Desc{
		Name: "kcl_behind_latest_seconds", Kind: KindLag, Unit: "seconds", Labels: shardLabels,
		Help: "How far the last batch was behind the tip of the shard (MillisBehindLatest), plus the time since " +
			"then if that is more than ten seconds.",
	}
	ProcessTime = &Desc{
		Name: "kcl_process_records_seconds", Kind: KindHistogram, Unit: "seconds", Labels: shardLabels, Buckets: latency,
		Help: "Time that ProcessRecords took for one batch.",
	}
	ProcessErrors = &Desc{
		Name: "kcl_processor_errors_total", Labels: []string{"stream", "shard", "method", "cause"},
		Help: "Calls of the processor that failed, by method and by cause (error, panic).",
	}

	AggregatesCorrupt = &Desc{
		Name: "kcl_aggregates_corrupt_total", Labels: shardLabels,
		Help: "Records that begin like an aggregate of the Kinesis Producer Library and were delivered as they are, " +
			"because they are not valid.",
	}
	RecordsDropped = &Desc{
		Name: "kcl_records_dropped_total", Labels: shardLabels,
		Help: "User records of aggregates that were dropped, because their hash key is outside the range of the shard.",
	}

	DecodeErrors = &Desc{
		Name: "kcl_decode_errors_total", Labels: shardLabels,
		Help: "Records whose decoding failed and that were delivered as they are.",
	}

	SubscriptionsOpened = &Desc{
		Name: "kcl_subscriptions_opened_total", Labels: shardLabels,
		Help: "SubscribeToShard calls that were accepted.",
	}
	SubscriptionsEnded = &Desc{
		Name: "kcl_subscriptions_ended_total", Labels: []string{"stream", "shard", "reason"},
		Help: "Subscriptions that ended, by reason.",
	}
	ReadRetries = &Desc{
		Name: "kcl_read_retries_total", Labels: []string{"stream", "shard", "operation", "code"},
		Help: "Reads that failed and are tried again, by operation and error code.",
	}
	RetrievalMode = &Desc{
		Name: "kcl_retrieval_mode", Kind: KindGauge, Labels: shardLabels,
		Help: "How the shard is read: 1 for enhanced fan-out, 0 for polling.",
	}
	ModeChanges = &Desc{
		Name: "kcl_retrieval_mode_changes_total", Labels: []string{"stream", "shard", "mode"},
		Help: "Changes of how the shard is read, by the new way (efo, polling).",
	}
	UnknownEvents = &Desc{
		Name: "kcl_unknown_events_total", Labels: shardLabels,
		Help: "Events of a kind that this version does not know. They are ignored.",
	}

	RetentionGaps = &Desc{
		Name: "kcl_retention_gaps_total", Labels: shardLabels,
		Help: "Times that reading went on after a position had left the retention period: unread records of that " +
			"age are lost.",
	}

	Checkpoints = &Desc{
		Name: "kcl_checkpoints_total", Labels: []string{"stream", "shard", "result"},
		Help: "Checkpoints, by result (ok, lost, rejected, error).",
	}
	CheckpointTime = &Desc{
		Name: "kcl_checkpoint_seconds", Kind: KindHistogram, Unit: "seconds", Labels: shardLabels, Buckets: latency,
		Help: "Time until the lease store had accepted a checkpoint.",
	}
	Stalled = &Desc{
		Name: "kcl_shard_stalled", Kind: KindGauge, Labels: shardLabels,
		Help: "1 while the shard has data and makes no progress; see Scheduler.Status for the layer.",
	}
	LeasesHeld = &Desc{
		Name: "kcl_leases_held", Kind: KindGauge,
		Help: "Leases that this worker holds.",
	}
	LeasesTaken = &Desc{
		Name: "kcl_leases_taken_total", Labels: []string{"reason"},
		Help: "Leases taken, by reason (free, expired, balance, handover, assigned).",
	}
	LeasesLost = &Desc{
		Name: "kcl_leases_lost_total", Labels: []string{"reason"},
		Help: "Leases lost or given up, by reason (taken, expired, released, handover, finished, deleted).",
	}
	LeaseRowsRecreated = &Desc{
		Name: "kcl_lease_rows_recreated_total",
		Help: "Rows of the lease table that were deleted while this worker held their lease, and that it made again " +
			"at the same checkpoint.",
	}
	LeaseRenewTime = &Desc{
		Name: "kcl_lease_renew_seconds", Kind: KindHistogram, Unit: "seconds", Buckets: latency,
		Help: "Time that one renewal of a lease took.",
	}
	LeaseStoreErrors = &Desc{
		Name: "kcl_lease_store_errors_total", Labels: []string{"operation"},
		Help: "Calls of the lease store that failed, by operation.",
	}
	LeaseRowsInvalid = &Desc{
		Name: "kcl_lease_rows_invalid", Kind: KindGauge,
		Help: "Rows of the lease table that could not be read and are left alone.",
	}
	AssignmentMode = &Desc{
		Name: "kcl_assignment_mode", Kind: KindGauge,
		Help: "How leases are assigned: 0 natively, 1 natively during an upgrade from KCL 2.x, 2 by the leader of a " +
			"KCL 3.x fleet.",
	}
	Leader = &Desc{
		Name: "kcl_leader", Kind: KindGauge,
		Help: "1 while this worker is the leader of a KCL 3.x fleet.",
	}
	LeasesUnassigned = &Desc{
		Name: "kcl_leases_unassigned", Kind: KindGauge,
		Help: "Leases that this worker, as the leader of a KCL 3.x fleet, can assign to no worker.",
	}
	ShardSyncErrors = &Desc{
		Name: "kcl_shard_sync_errors_total", Labels: []string{"stream"},
		Help: "Shard synchronisations that failed, by stream.",
	}
	Streams = &Desc{
		Name: "kcl_streams", Kind: KindGauge,
		Help: "Streams that an application with several streams reads.",
	}
	FormerStreams = &Desc{
		Name: "kcl_former_streams", Kind: KindGauge,
		Help: "Streams that are not read any more. Their leases are deleted when no worker has written to them for " +
			"Config.FormerStreams.Wait.",
	}
	HashRangeHoles = &Desc{
		Name: "kcl_hash_range_holes", Kind: KindGauge, Labels: []string{"stream"},
		Help: "Ranges of hash keys that no lease of the stream has covered for two minutes: no worker reads the " +
			"records there.",
	}
)

// All returns the description of every metric.
func All() []*Desc {
	return []*Desc{
		Records, UserRecords, Bytes, Batches, BehindLatest, ProcessTime, ProcessErrors,
		AggregatesCorrupt, RecordsDropped, DecodeErrors,
		SubscriptionsOpened, SubscriptionsEnded, ReadRetries, RetrievalMode, ModeChanges, UnknownEvents, RetentionGaps,
		Checkpoints, CheckpointTime, Stalled,
		LeasesHeld, LeasesTaken, LeasesLost, LeaseRowsRecreated, LeaseRenewTime, LeaseStoreErrors, LeaseRowsInvalid,
		AssignmentMode, Leader, LeasesUnassigned, ShardSyncErrors, HashRangeHoles,
		Streams, FormerStreams,
	}
}
