package scheduler

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"net/url"
	"os"
	"reflect"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/kinesis"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/internal/chance"
	"github.com/kinesis-go/kcl/internal/usercode"
	"github.com/kinesis-go/kcl/leases"
	"github.com/kinesis-go/kcl/metrics"
)

// Defaults of [Config].
const (
	DefaultFailoverTime      = 10 * time.Second
	DefaultShutdownTimeout   = 25 * time.Second
	DefaultShardSyncInterval = time.Minute
	DefaultStallTimeout      = 2 * time.Minute
	DefaultFallbackAfter     = time.Minute

	DefaultPollingMemory     = 256 << 20
	DefaultStreamRefresh     = time.Minute
	DefaultFormerStreamsWait = time.Hour
)

// Bounds of [Config].
const (
	minFailoverTime      = time.Second
	minShardSyncInterval = time.Second
	minStallTimeout      = 10 * time.Second
	minFallbackAfter     = 10 * time.Second
	minStreamRefresh     = time.Second
	minFormerStreamsWait = time.Minute
)

// RetrievalMode is the way to read records.
type RetrievalMode int

// The modes of retrieval.
const (
	// EFO is enhanced fan-out (FANOUT in the KCL). The application has its own stream consumer.
	// SubscribeToShard pushes records, 2 MB/s per shard.
	EFO RetrievalMode = iota
	// Polling calls GetRecords (POLLING in the KCL). All polling applications together share 2 MB/s
	// per shard.
	Polling
)

// String returns the KCL's name: FANOUT or POLLING.
func (m RetrievalMode) String() string {
	switch m {
	case EFO:
		return "FANOUT"
	case Polling:
		return "POLLING"
	}
	return fmt.Sprintf("RetrievalMode(%d)", int(m))
}

// MarshalText implements [encoding.TextMarshaler] with [RetrievalMode.String].
func (m RetrievalMode) MarshalText() ([]byte, error) { return []byte(m.String()), nil }

// Config configures a [Scheduler]. Application, Streams (or StreamTracker), Kinesis and Leases are
// required; the zero value of every other field is a working default.
type Config struct {
	// Application names the group of workers that share the work. Enhanced fan-out registers a stream
	// consumer under this name, so it must be a valid consumer name: 1 to 128 letters, digits,
	// underscores, dots and hyphens (applicationName in the KCL). Required.
	Application string

	// WorkerID names this process in the lease table. Run appends a random suffix, so that two
	// processes with the same configuration have different ids. Defaults to the host's name.
	WorkerID string

	// Streams are the streams to read, at least one. With one stream the lease keys are plain shard
	// ids; with several they are account:stream:epoch:shardId, as in the KCL. An application cannot
	// change between the two forms on one lease table. Required, unless StreamTracker is set.
	Streams []StreamConfig

	// StreamTracker names the streams to read while the worker runs (MultiStreamTracker in the KCL).
	// It replaces Streams; see [StreamTracker]. The lease keys always have the form for several
	// streams. Defaults to nil: the worker reads Streams.
	StreamTracker StreamTracker

	// StreamRefreshInterval is the time between two calls of StreamTracker, plus or minus a fifth.
	// With several Streams it is the time between two searches for a deleted stream. Defaults to 1m
	// (DefaultStreamRefresh); at least 1s.
	StreamRefreshInterval time.Duration

	// FormerStreams says when the leases of a stream are deleted that the application no longer reads.
	// Defaults to never. Has no effect with one stream and no StreamTracker.
	FormerStreams FormerStreams

	// Kinesis calls the service. The library uses its region and credentials unchanged. Required.
	Kinesis *kinesis.Client

	// Leases is the lease table that all workers of the application share: leases/dynamodb,
	// leases/redis, or leases/memory inside one process. Required.
	Leases leases.Store

	// RetrievalMode is EFO (the default) or Polling.
	RetrievalMode RetrievalMode

	// Fallback says how to read a shard that enhanced fan-out cannot read for a reason that polling
	// avoids. Such reasons are: no stream consumer can be registered, a permission is missing, another
	// application holds the shard, or subscriptions bring nothing. FallbackPolling (the default) polls
	// the shard from exactly where fan-out stopped. The change happens after FallbackAfter of
	// failures, or at once if the error is permanent. Fan-out is tried again after 5 minutes. Each
	// later wait is twice as long, up to an hour. While polling fails too, fan-out is tried each
	// FallbackAfter. ShardStatus.Mode, kcl_retrieval_mode and the log show the change. FallbackOff
	// returns an error instead. Fallback has no effect with Polling.
	Fallback Fallback

	// FallbackAfter is how long fan-out must fail without a break before a shard is polled. Polling
	// must fail as long before fan-out is tried early. The registration of the stream consumer may
	// take as long. Defaults to 1m (DefaultFallbackAfter); at least 10s.
	FallbackAfter time.Duration

	// Aggregates says how records are delivered that the Kinesis Producer Library aggregated. Defaults
	// to SplitAggregates, which delivers every user record.
	Aggregates Aggregates

	// PollingMemory bounds, in bytes, the records that polling has read and the processors have not
	// processed. It is an approximate bound for all shards together: see polling.Memory. At the bound,
	// shards wait for each other. Defaults to 256 MiB (DefaultPollingMemory).
	PollingMemory int64

	// PollingIdleInterval is the time between two reads of a shard by polling while no records come
	// (idleTimeBetweenReadsInMillis in the KCL). Records bring the reads closer together, down to
	// 200ms. Longer costs less CPU time and more latency. Must not be negative; at most 1m. Defaults
	// to 1s (polling.DefaultIdleInterval).
	PollingIdleInterval time.Duration

	// Decoder decodes the data of records: data of a schema registry (glueSchemaRegistryDeserializer
	// in the KCL), or compressed data. A kcl.Splitter splits a record into several. Defaults to nil:
	// nothing is decoded.
	Decoder kcl.Decoder

	// Assignment says who decides which worker reads which shard. Defaults to leases.AssignmentAuto:
	// the lease table decides. The default suits workers of this library, alone or beside workers of
	// any Java KCL. Run returns leases.ErrMixedAssignment if the setting contradicts the assignment of
	// other workers of the table.
	Assignment leases.Assignment

	// FailoverTime is how long a lease may stay unrenewed before other workers take it
	// (failoverTimeMillis in the KCL). It must be the same in all workers of an application. Leases
	// are renewed each third of it. The lease table is listed each fifth of it, but at most each 2s or
	// each half of it. A longer FailoverTime makes fewer calls and costs less. The table must list
	// within half of FailoverTime, and write within a third; otherwise Healthy returns an error.
	// Defaults to 10s (DefaultFailoverTime); at least 1s.
	FailoverTime time.Duration

	// AssignmentStrategy says how a leader assigns the leases on a table of KCL 3.x
	// (leaseAssignmentStrategy in the KCL). leases.AssignByUtilization (the default) evens out CPU or
	// throughput. leases.AssignByLeaseCount evens out the number of leases. The leader's setting
	// counts, so it should be the same in all workers. It has no effect where workers take leases by
	// themselves, see Balance.
	AssignmentStrategy leases.AssignmentStrategy

	// MaxThroughputKBps is a throughput in KB (1024 bytes) a second (maxThroughputPerHostKBps in the
	// KCL). A leader assigns no more leases to a worker whose leases deliver as much. Delivery itself
	// is not limited. The leader's setting counts, as for AssignmentStrategy. Defaults to 0, no limit.
	MaxThroughputKBps float64

	// DisableWorkerMetrics stops this worker's reports of its CPU use on a table of KCL 3.x
	// (disableWorkerMetrics in the KCL). On Linux a worker reports the used part of its control
	// group's CPU limit, or of the machine's CPU if there is no limit. The leader rates a worker
	// without reports by the throughput of its leases. Workers on other systems never report. Defaults
	// to false.
	DisableWorkerMetrics bool

	// MaxLeasesForWorker is how many leases this worker takes at most. If all workers together may
	// take too few leases, some shards stay unread, and Healthy reports them. Defaults to 0, no limit.
	MaxLeasesForWorker int

	// Balance says what the workers of an application even out. leases.BalanceLeaseCount (the default)
	// evens out the number of leases. leases.BalanceThroughput suits streams with shards of very
	// different throughput. Balance must be the same in all workers. It has no effect while a leader
	// assigns the leases.
	Balance leases.Balance

	// ShutdownTimeout is how long a processor may take to finish after Run's context ends or its lease
	// is handed over. After it, the processor's context is cancelled with kcl.ErrShutdownTimeout. Run
	// returns at most a second later. The supervisor of the process must wait longer. Kubernetes kills
	// the process after terminationGracePeriodSeconds (30, which include a preStop hook), and Amazon
	// ECS after stopTimeout (30). Defaults to 25s (DefaultShutdownTimeout), which fits.
	ShutdownTimeout time.Duration

	// CheckpointInterval is the least time between two checkpoints that the library makes by itself.
	// The library makes one after a batch was processed without error, and one at a stop. With
	// CheckpointInterval, a nil from ProcessRecords means that all work on the records is done.
	// Defaults to 0: only the processor makes checkpoints, and may still work on records after
	// ProcessRecords has returned nil. Must not be negative.
	CheckpointInterval time.Duration

	// StopAtTip ends Run with nil once the fleet has processed all records that had arrived when Run
	// began, by the service's clock. It is for backfills and tests. Records that arrive about ten
	// seconds later may be processed too. Run also ends on a stream that is written all the time. A
	// shard that has been read so far gets a last call of ShutdownRequested, and its lease is
	// released. Workers without StopAtTip may take it and read on. Run waits for the shards of other
	// workers: they need StopAtTip too, or the shards must end. Run never ends where a leader assigns
	// leases (KCL 3.x). Run never ends beside workers of the Java KCL, which do not record how far
	// they have read. Each minute a log names the missing part. StopAtTip excludes StreamTracker.
	// Defaults to false.
	StopAtTip bool

	// ShardSyncInterval is the time between two comparisons of the lease table with the streams'
	// shards, plus or minus a fifth. Children of an ended shard do not wait for the comparison.
	// Defaults to 1m (DefaultShardSyncInterval); at least 1s.
	ShardSyncInterval time.Duration

	// StallTimeout is how long a shard with data may make no progress before Healthy reports it.
	// Healthy also reports a processor that takes longer for a batch. Defaults to 2m
	// (DefaultStallTimeout); at least 10s.
	StallTimeout time.Duration

	// H2C makes enhanced fan-out speak HTTP/2 with prior knowledge to an http endpoint. A local server
	// must support that. Defaults to false: HTTP/1.1, with one connection per shard. H2C has no effect
	// on https endpoints, or if the user has set the HTTP client of Kinesis.
	H2C bool

	// Logger receives the log of the library, and of a lease store without its own logger. The library
	// never logs the content of records. Defaults to slog.Default().
	Logger *slog.Logger

	// Metrics receives the library's metrics. Defaults to nil: no metrics.
	Metrics *metrics.Metrics
}

// StreamConfig says which stream to read and from where.
type StreamConfig struct {
	// Name of the stream. Name or ARN is required; when both are given they must agree.
	Name string
	// ARN of the stream; required for a stream of another account. The lease keys contain the ARN's
	// account, and all calls name the stream by its ARN.
	ARN string

	// CreationEpoch is the epoch in the stream's lease keys, account:name:epoch:shardId. Must not be
	// negative. It has no effect in an application with one stream. Defaults to 0: the creation time
	// of the stream in seconds. Set it on a table of a Java KCL application whose StreamIdentifiers
	// have another epoch. With CreationEpoch a stream that was deleted and created again is an error.
	CreationEpoch int64

	// ConsumerName is the name under which enhanced fan-out registers with the stream. Defaults to
	// Config.Application.
	ConsumerName string
	// ConsumerARN is the ARN of an existing stream consumer. With it the library registers none.
	ConsumerARN string

	// InitialPosition is where reading starts if the lease table has no leases for the stream. New
	// leases keep it until their first checkpoint. Another InitialPosition in a later process changes
	// nothing. If each process computes a time, as time.Now(), the time of the first process counts.
	// Defaults to kcl.TrimHorizon (the KCL's default is LATEST).
	InitialPosition kcl.InitialPosition
}

// Validate returns all problems of c in one error. Each problem names the field, the value and the
// remedy. Run calls Validate.
func (c Config) Validate() error {
	var errs []error
	bad := func(format string, args ...any) {
		errs = append(errs, fmt.Errorf("scheduler: Config."+format, args...))
	}

	switch {
	case c.Application == "":
		bad("Application is missing: name the group of workers that share the work")
	case !kcl.ValidStreamName(c.Application):
		bad("Application is %q: use 1 to 128 letters, digits, underscores, dots and hyphens", c.Application)
	}
	if strings.ContainsAny(c.WorkerID, "\n\r\t") {
		bad("WorkerID is %q: leave out control characters", c.WorkerID)
	}
	c.validateKinesis(bad)
	if c.Leases == nil {
		bad("Leases is missing: give a lease store, such as dynamodb.New(...) or memory.New()")
	} else if v, ok := c.Leases.(interface{ Validate() error }); ok {
		if err := usercode.Call(v.Validate); err != nil {
			bad("Leases: %w", err)
		}
	}
	if c.RetrievalMode != EFO && c.RetrievalMode != Polling {
		bad("RetrievalMode is %d: use scheduler.EFO or scheduler.Polling", int(c.RetrievalMode))
	}
	if c.Fallback != FallbackPolling && c.Fallback != FallbackOff {
		bad("Fallback is %d: use scheduler.FallbackPolling or scheduler.FallbackOff", int(c.Fallback))
	}
	if c.Aggregates < SplitAggregates || c.Aggregates > KeepAggregates {
		bad("Aggregates is %d: use scheduler.SplitAggregates, SplitAggregatesInRange or KeepAggregates", int(c.Aggregates))
	}
	if c.PollingMemory < 0 {
		bad("PollingMemory is %d: use a number of bytes, or 0 for the default", c.PollingMemory)
	}
	if c.PollingIdleInterval < 0 || c.PollingIdleInterval > time.Minute {
		bad("PollingIdleInterval is %s: use at most 1m, or 0 for the default", c.PollingIdleInterval)
	}
	if c.Balance != leases.BalanceLeaseCount && c.Balance != leases.BalanceThroughput {
		bad("Balance is %d: use leases.BalanceLeaseCount or leases.BalanceThroughput", int(c.Balance))
	}
	switch _, shared := c.Leases.(leases.SharedStore); {
	case c.Assignment < leases.AssignmentAuto || c.Assignment > leases.AssignmentKCL3:
		bad("Assignment is %d: use leases.AssignmentAuto, AssignmentNative or leases.AssignmentKCL3", int(c.Assignment))
	case c.Assignment == leases.AssignmentKCL3 && c.Leases != nil && !shared:
		bad("Assignment is %s, which only leases/dynamodb can do: give such a store, or leave Assignment out", c.Assignment)
	}
	if c.AssignmentStrategy != leases.AssignByUtilization && c.AssignmentStrategy != leases.AssignByLeaseCount {
		bad("AssignmentStrategy is %d: use AssignByUtilization or leases.AssignByLeaseCount", int(c.AssignmentStrategy))
	}
	if !(c.MaxThroughputKBps >= 0) || math.IsInf(c.MaxThroughputKBps, 0) { // also for NaN
		bad("MaxThroughputKBps is %v: use a positive number, or 0 for no limit", c.MaxThroughputKBps)
	}
	if c.MaxLeasesForWorker < 0 {
		bad("MaxLeasesForWorker is %d: use a positive number, or 0 for no limit", c.MaxLeasesForWorker)
	}
	atLeast := func(field string, d, least time.Duration) {
		if d != 0 && d < least {
			bad("%s is %s: use at least %s, or 0 for the default", field, d, least)
		}
	}
	atLeast("FailoverTime", c.FailoverTime, minFailoverTime)
	atLeast("ShardSyncInterval", c.ShardSyncInterval, minShardSyncInterval)
	atLeast("StallTimeout", c.StallTimeout, minStallTimeout)
	atLeast("FallbackAfter", c.FallbackAfter, minFallbackAfter)
	atLeast("StreamRefreshInterval", c.StreamRefreshInterval, minStreamRefresh)
	atLeast("FormerStreams.Wait", c.FormerStreams.Wait, minFormerStreamsWait)
	atLeast("ShutdownTimeout", c.ShutdownTimeout, time.Millisecond)
	if c.CheckpointInterval < 0 {
		bad("CheckpointInterval is %s: use a positive duration, or 0 for no checkpoints by time", c.CheckpointInterval)
	}
	if err := c.FormerStreams.validate(); err != nil {
		errs = append(errs, err)
	}
	if c.StopAtTip && c.StreamTracker != nil {
		bad("StopAtTip and StreamTracker are both set: a tracker has no last stream: leave one of them out")
	}
	if c.StopAtTip && c.Assignment == leases.AssignmentKCL3 {
		bad("StopAtTip is set and Assignment is %s: use AssignmentAuto or AssignmentNative", c.Assignment)
	}
	switch {
	case c.StreamTracker != nil && len(c.Streams) > 0:
		bad("Streams and StreamTracker are both set: leave one of them out")
	case c.StreamTracker == nil && len(c.Streams) == 0:
		bad("Streams is empty: name at least one stream, or set StreamTracker")
	default:
		errs = append(errs, c.validateStreams("Config.Streams", c.Streams)...)
	}
	return errors.Join(errs...)
}

func (c Config) validateKinesis(bad func(format string, args ...any)) {
	if c.Kinesis == nil {
		bad("Kinesis is missing: give kinesis.NewFromConfig(...)")
		return
	}
	o := c.Kinesis.Options()
	if err := validEndpoint(o.BaseEndpoint); err != nil {
		bad("Kinesis has BaseEndpoint %q: %w", aws.ToString(o.BaseEndpoint), err)
	}
	own := reflect.TypeOf(o.EndpointResolverV2) != reflect.TypeOf(kinesis.NewDefaultEndpointResolverV2())
	if o.Region == "" && o.BaseEndpoint == nil && !own {
		bad("Kinesis has no Region: set AWS_REGION, or give config.WithRegion(...) to config.LoadDefaultConfig")
	}
}

// validEndpoint returns an error if an endpoint is not an http or https URL. nil stands for the
// SDK's endpoint.
func validEndpoint(endpoint *string) error {
	if endpoint == nil {
		return nil
	}
	u, err := url.Parse(*endpoint)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" {
		return errors.New("give a URL with http:// or https:// and a host, or leave it out for AWS")
	}
	return nil
}

// validateStreams checks a list of streams. listName is for errors.
func (c Config) validateStreams(listName string, streams []StreamConfig) []error {
	var errs []error
	region := ""
	if c.Kinesis != nil {
		region = c.Kinesis.Options().Region
	}
	first := map[string]int{} // the first index of each ARN and each name
	for i, s := range streams {
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("scheduler: %s[%d]."+format, append([]any{listName, i}, args...)...))
		}
		if s.Name == "" && s.ARN == "" {
			bad("Name is missing: give Name or ARN")
		}
		if s.Name != "" && !kcl.ValidStreamName(s.Name) {
			bad("Name is %q: use 1 to 128 letters, digits, underscores, dots and hyphens", s.Name)
		}
		name := s.Name
		if s.ARN != "" {
			id, err := kcl.ParseStreamARN(s.ARN)
			switch {
			case err != nil:
				bad("ARN: %w", err)
			case s.Name != "" && s.Name != id.Name:
				bad("ARN is %q, which is not the stream of Name %q: leave one of them out", s.ARN, s.Name)
			default:
				name = id.Name
				if r := strings.Split(s.ARN, ":")[3]; region != "" && r != region {
					bad("ARN is in region %s, but Config.Kinesis calls %s: make the client for the stream's region", r, region)
				}
			}
		}
		// Streams of several accounts may have the same name.
		for _, key := range []string{s.ARN, name} {
			if key == "" {
				continue
			}
			at, ok := first[key]
			if !ok {
				first[key] = i
			} else if s.ARN == "" || streams[at].ARN == "" || s.ARN == streams[at].ARN {
				bad("Name %q is that of %s[%d] too: name a stream once, and streams of several accounts by ARN", name, listName, at)
				break
			}
		}
		if s.CreationEpoch < 0 {
			bad("CreationEpoch is %d: use the number in the lease keys, or 0 for the creation time", s.CreationEpoch)
		}
		if s.ConsumerName != "" && !kcl.ValidStreamName(s.ConsumerName) {
			bad("ConsumerName is %q: use 1 to 128 letters, digits, underscores, dots and hyphens", s.ConsumerName)
		}
		if s.ConsumerARN != "" {
			arn, consumer, err := kcl.ParseConsumerARN(s.ConsumerARN)
			switch {
			case err != nil:
				bad("ConsumerARN: %w", err)
			case s.ARN != "" && arn != s.ARN:
				bad("ConsumerARN is %q, a consumer of another stream than ARN %q", s.ConsumerARN, s.ARN)
			case s.ConsumerName != "" && consumer != s.ConsumerName:
				bad("ConsumerARN is %q, not the consumer of ConsumerName %q: leave one of them out", s.ConsumerARN, s.ConsumerName)
			}
			if c.RetrievalMode == Polling {
				bad("ConsumerARN is set, but Config.RetrievalMode is Polling, which uses no consumer: leave it out")
			}
		}
		if err := s.InitialPosition.Validate(); err != nil {
			bad("%w", err)
		}
	}
	return errs
}

// multi tells whether lease keys have the form for several streams.
func (c Config) multi() bool { return c.StreamTracker != nil || len(c.Streams) > 1 }

// withDefaults returns a copy of c with its defaults, and with a random suffix on the worker id.
func (c Config) withDefaults() Config {
	if c.WorkerID == "" {
		c.WorkerID = "worker"
		if host, err := os.Hostname(); err == nil && host != "" {
			c.WorkerID = host
		}
	}
	c.WorkerID += ":" + strings.ToLower(chance.Text("worker", c.WorkerID)[:10])
	c.FailoverTime = cmp.Or(c.FailoverTime, DefaultFailoverTime)
	c.ShutdownTimeout = cmp.Or(c.ShutdownTimeout, DefaultShutdownTimeout)
	c.ShardSyncInterval = cmp.Or(c.ShardSyncInterval, DefaultShardSyncInterval)
	c.StallTimeout = cmp.Or(c.StallTimeout, DefaultStallTimeout)
	c.PollingMemory = cmp.Or(c.PollingMemory, DefaultPollingMemory)
	c.FallbackAfter = cmp.Or(c.FallbackAfter, DefaultFallbackAfter)
	c.StreamRefreshInterval = cmp.Or(c.StreamRefreshInterval, DefaultStreamRefresh)
	c.FormerStreams.Wait = cmp.Or(c.FormerStreams.Wait, DefaultFormerStreamsWait)
	c.Logger = cmp.Or(c.Logger, slog.Default())
	return c
}
