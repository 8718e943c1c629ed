package scheduler

import (
	"cmp"
	"crypto/rand"
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

// RetrievalMode is how records are read.
type RetrievalMode int

// The modes of retrieval.
const (
	// EFO is enhanced fan-out: a stream consumer of its own, records pushed over
	// SubscribeToShard, 2 MB/s per shard (FANOUT in the KCL).
	EFO RetrievalMode = iota
	// Polling is GetRecords, which shares 2 MB/s per shard with every other
	// polling application (POLLING in the KCL).
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

// Config says what a [Scheduler] does. Application, Streams (or StreamTracker), Kinesis and Leases
// are required; the zero value of every other field is a working default.
type Config struct {
	// Application names the group of workers that share the work. It is the name under which enhanced
	// fan-out registers, so it must be a valid consumer name: 1 to 128 letters, digits, underscores,
	// dots and hyphens (applicationName in the KCL). Required.
	Application string

	// WorkerID names this process in the lease table. Run appends a random suffix, so that two
	// processes configured alike are never taken for one. Defaults to the host's name.
	WorkerID string

	// Streams are the streams to read, at least one. With one stream the lease keys are plain shard
	// ids; with several they are account:stream:epoch:shardId, as in the KCL. An application cannot
	// change from the one form to the other on one lease table. Required, unless StreamTracker is set.
	Streams []StreamConfig

	// StreamTracker names the streams to read in place of Streams, while the worker runs; see
	// [StreamTracker]. The lease keys are those of several streams, however many it names
	// (MultiStreamTracker in the KCL). Defaults to nil: the streams are those of Streams.
	StreamTracker StreamTracker

	// StreamRefreshInterval is how often StreamTracker is asked, give or take a
	// fifth. With several Streams it is how often one that was deleted is looked
	// for again. Defaults to 1m (DefaultStreamRefresh); at least 1s.
	StreamRefreshInterval time.Duration

	// FormerStreams says what becomes of the leases of streams that the application does not read any
	// more. Defaults to keeping them. Has no effect with one stream and no StreamTracker.
	FormerStreams FormerStreams

	// Kinesis calls the service. Its region and credentials are used as they are. Required.
	Kinesis *kinesis.Client

	// Leases is the lease table that all workers of the application share:
	// leases/dynamodb, leases/redis, or leases/memory inside one process. Required.
	Leases leases.Store

	// RetrievalMode is EFO (the default) or Polling.
	RetrievalMode RetrievalMode

	// Fallback says what becomes of a shard that enhanced fan-out cannot read for a reason that
	// polling avoids: no stream consumer can be registered, a permission is missing, another
	// application holds the shard, or subscriptions bring nothing. FallbackPolling (the default) polls
	// it, from exactly where fan-out stopped, once that has lasted for FallbackAfter, or at once when
	// it cannot pass by itself; and tries fan-out again after 5 minutes, then twice as late each time,
	// up to an hour, and each FallbackAfter while polling fails as well. ShardStatus.Mode,
	// kcl_retrieval_mode and the log say so. FallbackOff makes it an error. Has no effect with
	// Polling.
	Fallback Fallback

	// FallbackAfter is how long fan-out must fail without a break before a shard is polled instead,
	// how long polling must before fan-out is tried out of its turn, and how long the registration of
	// the stream consumer may take. Defaults to 1m (DefaultFallbackAfter); at least 10s.
	FallbackAfter time.Duration

	// Aggregates says what becomes of records that the Kinesis Producer Library
	// aggregated. Defaults to SplitAggregates, which delivers every user record.
	Aggregates Aggregates

	// PollingMemory is about how many bytes polling may take for what it has read and the processors
	// have not yet dealt with, in all shards together: see polling.Memory. Shards wait for each other
	// rather than exceed it. Defaults to 256 MiB (DefaultPollingMemory).
	PollingMemory int64

	// Decoder decodes the records' data: what a schema registry wants
	// (glueSchemaRegistryDeserializer in the KCL), compressed data, or, with a
	// kcl.Splitter, records that hold several. Defaults to nil: nothing is decoded.
	Decoder kcl.Decoder

	// Assignment says who decides which worker reads which shard. Defaults to leases.AssignmentAuto:
	// as the lease table says, which suits workers of this library alone and beside those of every
	// Java KCL. Run returns leases.ErrMixedAssignment when other workers use the table in a way that
	// does not go together with the setting.
	Assignment leases.Assignment

	// FailoverTime is how long a lease may go unrenewed before others take it (failoverTimeMillis in
	// the KCL). It must be the same in all workers of an application. Leases are renewed each third of
	// it, and the lease table is listed each fifth, but not more often than each 2s or each half of
	// it: who can wait longer pays less. A table that is too slow for it turns Healthy red: it must be
	// listed in half of FailoverTime, and answer a write in a third. Defaults to 10s
	// (DefaultFailoverTime); at least 1s.
	FailoverTime time.Duration

	// AssignmentStrategy says by what a leader shares the leases out, on a table of
	// KCL 3.x: leases.AssignByUtilization (the default), which evens out CPU or
	// throughput, or leases.AssignByLeaseCount (leaseAssignmentStrategy in the KCL).
	// The leader's setting counts, so it should be the same in all workers. It has no
	// effect where workers take leases by themselves, see Balance.
	AssignmentStrategy leases.AssignmentStrategy

	// MaxThroughputKBps is how much the leases of one worker may deliver, in KB of 1024 bytes a
	// second, before a leader gives it no more (maxThroughputPerHostKBps in the KCL). It bounds no
	// delivery, and is the leader's setting like AssignmentStrategy. Defaults to 0, no limit.
	MaxThroughputKBps float64

	// DisableWorkerMetrics keeps this worker from telling the leader of a table of KCL 3.x how much of
	// its CPU is used: of what its control group is allowed on Linux, where that is limited, else of
	// the machine's. It is judged by the throughput of its leases then, as on other systems
	// (disableWorkerMetrics in the KCL). Defaults to false.
	DisableWorkerMetrics bool

	// MaxLeasesForWorker is how many leases this worker takes at most. With too few workers for that,
	// shards stay unread, and Healthy says so. Defaults to 0, no limit.
	MaxLeasesForWorker int

	// Balance says what is evened out between the workers of an application: leases.BalanceLeaseCount
	// (the default), or leases.BalanceThroughput for streams some of whose shards carry much more than
	// others. It must be the same in all workers, and has no effect while a leader assigns the leases.
	Balance leases.Balance

	// ShutdownTimeout is how long processors may take to finish, when Run's context ends or a lease is
	// handed over; then their context is cancelled with kcl.ErrShutdownTimeout. Run returns a second
	// later at most. Whoever ends the process must wait for longer: Kubernetes kills it after
	// terminationGracePeriodSeconds (30, which include a preStop hook), and Amazon ECS after
	// stopTimeout (30). Defaults to 25s (DefaultShutdownTimeout), which fits.
	ShutdownTimeout time.Duration

	// CheckpointInterval makes the library checkpoint by itself: after a batch was processed without
	// error, when that much time has passed since the last checkpoint, and once more at a stop.
	// Defaults to 0, which leaves checkpoints to the processor: ProcessRecords returning nil then
	// promises nothing about work that the processor has handed on. Must not be negative.
	CheckpointInterval time.Duration

	// StopAtTip ends Run with nil once the fleet has processed all records that had arrived when Run
	// began, by the service's clock: for backfills and tests. What arrives later may be processed too,
	// for ten seconds or so. A stream that is written all the time is no obstacle. A shard that has
	// been read so far is released, with a last call of ShutdownRequested, and others that want to
	// read on may take it. Run waits for the shards of other workers, which need StopAtTip too, or the
	// end of their shards. It never ends where a leader assigns leases (KCL 3.x), nor beside workers
	// of the Java KCL, which do not say how far they have read: that is logged each minute. Not with
	// StreamTracker. Defaults to false.
	StopAtTip bool

	// ShardSyncInterval is how often the lease table is compared with the
	// streams' shards, give or take a fifth. Children of a shard that has ended
	// do not wait for it. Defaults to 1m (DefaultShardSyncInterval); at least 1s.
	ShardSyncInterval time.Duration

	// StallTimeout is how long a shard with data may make no progress before
	// Healthy reports it. A processor that takes longer for a batch is
	// reported. Defaults to 2m (DefaultStallTimeout); at least 10s.
	StallTimeout time.Duration

	// H2C makes enhanced fan-out speak HTTP/2 with prior knowledge to an http endpoint, such as a
	// local server that can. Defaults to false: HTTP/1.1 there, one connection per shard. https
	// endpoints, and clients with an HTTP client of the user's own, are not affected.
	H2C bool

	// Logger takes the log of the library, and of a lease store that has no logger of its own. The
	// content of records is never logged. Defaults to slog.Default().
	Logger *slog.Logger

	// Metrics takes the library's numbers. Defaults to nil: none.
	Metrics *metrics.Metrics
}

// StreamConfig says which stream to read and from where.
type StreamConfig struct {
	// Name of the stream. Name or ARN is required; when both are given they must agree.
	Name string
	// ARN of the stream; needed for a stream of another account. Its account is
	// the one in the lease keys, and all calls name the stream by it.
	ARN string

	// CreationEpoch is the number in the stream's lease keys, account:name:epoch, in an application
	// with several streams: positive, and without effect with one. Defaults to 0, the time when the
	// stream was created, in seconds. Set it on a table of the Java KCL whose application gives its
	// StreamIdentifiers another number; a stream that is created again is refused then.
	CreationEpoch int64

	// ConsumerName is the name under which enhanced fan-out registers with the
	// stream. Defaults to Config.Application.
	ConsumerName string
	// ConsumerARN is a consumer that exists already: nothing is registered then.
	ConsumerARN string

	// InitialPosition is where reading starts when the lease table has no leases for the stream. They
	// keep it until there is a checkpoint: a later process that is configured otherwise changes
	// nothing, and a time in each process (time.Now()) is that of the first one. Defaults to
	// kcl.TrimHorizon (the KCL's default is LATEST).
	InitialPosition kcl.InitialPosition
}

// Validate reports every problem of c at once, each naming the field, the
// value and the remedy. Run calls it.
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

// validEndpoint tells whether an endpoint is a URL that can be called; nil is the SDK's own.
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

// validateStreams checks a list of streams; where names it.
func (c Config) validateStreams(where string, streams []StreamConfig) []error {
	var errs []error
	region := ""
	if c.Kinesis != nil {
		region = c.Kinesis.Options().Region
	}
	first := map[string]int{} // by ARN, and by name when a stream is not named by ARN
	for i, s := range streams {
		bad := func(format string, args ...any) {
			errs = append(errs, fmt.Errorf("scheduler: %s[%d]."+format, append([]any{where, i}, args...)...))
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
				bad("Name %q is that of %s[%d] too: name each stream once, and streams of several accounts by ARN", name, where, at)
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

// multi tells whether the lease keys are those of an application with several streams.
func (c Config) multi() bool { return c.StreamTracker != nil || len(c.Streams) > 1 }

// withDefaults returns a copy of c with the defaults filled in and the random
// suffix on the worker id.
func (c Config) withDefaults() Config {
	if c.WorkerID == "" {
		c.WorkerID = "worker"
		if host, err := os.Hostname(); err == nil && host != "" {
			c.WorkerID = host
		}
	}
	c.WorkerID += ":" + strings.ToLower(rand.Text()[:10])
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
