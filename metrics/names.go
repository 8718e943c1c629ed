package metrics

import "time"

// Kind says how the values of a metric are to be read.
type Kind int

// The kinds of metric.
const (
	KindCounter Kind = iota
	KindGauge
	KindHistogram
	// KindLag is a gauge that grows by itself while nobody records it; see [Lag].
	KindLag
)

// lagGrace is for how long a lag may go unreported without growing: longer than
// the five seconds between two events of an idle subscription.
const lagGrace = 10 * time.Second

// Lag is what a [KindLag] metric shows, in seconds: the value recorded last,
// and, once that is more than ten seconds old, the time since then on top. A
// reader that stands still shows a lag that grows by a second each second,
// whatever it last heard from the service.
func Lag(recorded float64, since time.Duration) float64 {
	if since <= lagGrace {
		return recorded
	}
	return recorded + since.Seconds()
}

// Desc describes one metric. Descs are compared by address: use the variables
// of this package, and [All] to list them.
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

// The metrics of the library. Label values are bounded: stream and shard are
// those that the process owns, the others come from fixed lists. The value of
// stream is account:name:epoch, with one stream as with several: names are not
// unique. Where the service does not say when the stream was created, it is the
// name.
var (
	Records       = &Desc{Name: "kcl_records_total", Help: "Kinesis records read from the stream: an aggregate of the Kinesis Producer Library counts once.", Labels: shardLabels}
	UserRecords   = &Desc{Name: "kcl_user_records_total", Help: "Records that ProcessRecords was done with: each user record of an aggregate counts.", Labels: shardLabels}
	Bytes         = &Desc{Name: "kcl_bytes_total", Help: "Payload bytes read from the stream.", Unit: "bytes", Labels: shardLabels}
	Batches       = &Desc{Name: "kcl_batches_total", Help: "Batches read from the stream, empty ones included.", Labels: shardLabels}
	BehindLatest  = &Desc{Name: "kcl_behind_latest_seconds", Help: "How far the last batch was behind the tip of the shard (MillisBehindLatest), and the time since then when that is over ten seconds ago.", Kind: KindLag, Unit: "seconds", Labels: shardLabels}
	ProcessTime   = &Desc{Name: "kcl_process_records_seconds", Help: "Time that ProcessRecords took for one batch.", Kind: KindHistogram, Unit: "seconds", Labels: shardLabels, Buckets: latency}
	ProcessErrors = &Desc{Name: "kcl_processor_errors_total", Help: "Calls of the processor that failed, by method and by cause (error, panic).", Labels: []string{"stream", "shard", "method", "cause"}}

	AggregatesCorrupt = &Desc{Name: "kcl_aggregates_corrupt_total", Help: "Records that begin like an aggregate of the Kinesis Producer Library and were delivered as they are, because they are none.", Labels: shardLabels}
	RecordsDropped    = &Desc{Name: "kcl_records_dropped_total", Help: "User records of aggregates that were dropped, because their hash key is outside the range of the shard.", Labels: shardLabels}

	DecodeErrors = &Desc{Name: "kcl_decode_errors_total", Help: "Records that the decoder failed at and that were delivered as they are.", Labels: shardLabels}

	SubscriptionsOpened = &Desc{Name: "kcl_subscriptions_opened_total", Help: "SubscribeToShard calls that were accepted.", Labels: shardLabels}
	SubscriptionsEnded  = &Desc{Name: "kcl_subscriptions_ended_total", Help: "Subscriptions that ended, by reason.", Labels: []string{"stream", "shard", "reason"}}
	ReadRetries         = &Desc{Name: "kcl_read_retries_total", Help: "Reads that failed and are tried again, by operation and error code.", Labels: []string{"stream", "shard", "operation", "code"}}
	RetrievalMode       = &Desc{Name: "kcl_retrieval_mode", Help: "How the shard is read: 1 for enhanced fan-out, 0 for polling.", Kind: KindGauge, Labels: shardLabels}
	ModeChanges         = &Desc{Name: "kcl_retrieval_mode_changes_total", Help: "Changes of how the shard is read, by what it is read by from then on (efo, polling).", Labels: []string{"stream", "shard", "mode"}}
	UnknownEvents       = &Desc{Name: "kcl_unknown_events_total", Help: "Events of subscriptions that are of a kind this version does not know, and are passed over.", Labels: shardLabels}

	RetentionGaps = &Desc{Name: "kcl_retention_gaps_total", Help: "Times that reading went on behind a position that had left the retention period: what was unread there and as old is lost.", Labels: shardLabels}

	Checkpoints        = &Desc{Name: "kcl_checkpoints_total", Help: "Checkpoints, by result (ok, lost, rejected, error).", Labels: []string{"stream", "shard", "result"}}
	CheckpointTime     = &Desc{Name: "kcl_checkpoint_seconds", Help: "Time until the lease store had taken a checkpoint.", Kind: KindHistogram, Unit: "seconds", Labels: shardLabels, Buckets: latency}
	Stalled            = &Desc{Name: "kcl_shard_stalled", Help: "1 while the shard has data and makes no progress; see Scheduler.Status for the layer.", Kind: KindGauge, Labels: shardLabels}
	LeasesHeld         = &Desc{Name: "kcl_leases_held", Help: "Leases that this worker holds.", Kind: KindGauge}
	LeasesTaken        = &Desc{Name: "kcl_leases_taken_total", Help: "Leases taken, by reason (free, expired, balance, handover, assigned).", Labels: []string{"reason"}}
	LeasesLost         = &Desc{Name: "kcl_leases_lost_total", Help: "Leases lost or given up, by reason (taken, expired, released, handover, finished, deleted).", Labels: []string{"reason"}}
	LeaseRowsRecreated = &Desc{Name: "kcl_lease_rows_recreated_total", Help: "Rows of the lease table that were deleted while this worker held their lease, and that it made again where they stood."}
	LeaseRenewTime     = &Desc{Name: "kcl_lease_renew_seconds", Help: "Time that one renewal of a lease took.", Kind: KindHistogram, Unit: "seconds", Buckets: latency}
	LeaseStoreErrors   = &Desc{Name: "kcl_lease_store_errors_total", Help: "Calls of the lease store that failed, by operation.", Labels: []string{"operation"}}
	LeaseRowsInvalid   = &Desc{Name: "kcl_lease_rows_invalid", Help: "Rows of the lease table that could not be read and are left alone.", Kind: KindGauge}
	AssignmentMode     = &Desc{Name: "kcl_assignment_mode", Help: "How leases are assigned: 0 natively, 1 natively during an upgrade from KCL 2.x, 2 by the leader of a KCL 3.x fleet.", Kind: KindGauge}
	Leader             = &Desc{Name: "kcl_leader", Help: "1 while this worker is the leader of a KCL 3.x fleet.", Kind: KindGauge}
	LeasesUnassigned   = &Desc{Name: "kcl_leases_unassigned", Help: "Leases that this worker, as the leader of a KCL 3.x fleet, can give to nobody.", Kind: KindGauge}
	ShardSyncErrors    = &Desc{Name: "kcl_shard_sync_errors_total", Help: "Shard synchronisations that failed, by stream.", Labels: []string{"stream"}}
	Streams            = &Desc{Name: "kcl_streams", Help: "Streams that an application with several streams reads.", Kind: KindGauge}
	FormerStreams      = &Desc{Name: "kcl_former_streams", Help: "Streams that are not read any more, whose leases are deleted once nobody has written to them for Config.FormerStreams.Wait.", Kind: KindGauge}
	HashRangeHoles     = &Desc{Name: "kcl_hash_range_holes", Help: "Ranges of hash keys that no lease of the stream has covered for two minutes: records there are read by nobody.", Kind: KindGauge, Labels: []string{"stream"}}
)

// All returns the description of every metric, in the order of this file.
func All() []*Desc {
	return []*Desc{
		Records, UserRecords, Bytes, Batches, BehindLatest, ProcessTime, ProcessErrors,
		AggregatesCorrupt, RecordsDropped, DecodeErrors,
		SubscriptionsOpened, SubscriptionsEnded, ReadRetries, RetrievalMode, ModeChanges, UnknownEvents, RetentionGaps,
		Checkpoints, CheckpointTime, Stalled,
		LeasesHeld, LeasesTaken, LeasesLost, LeaseRowsRecreated, LeaseRenewTime, LeaseStoreErrors, LeaseRowsInvalid, AssignmentMode, Leader, LeasesUnassigned, ShardSyncErrors, HashRangeHoles,
		Streams, FormerStreams,
	}
}
