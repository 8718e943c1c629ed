package settings

import (
	"math"
	"slices"
	"strings"
	"time"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/multilangd/internal/credentials"
)

// The values of retrievalMode.
const (
	modeDefault = "DEFAULT"
	modeFanOut  = "FANOUT"
	modePolling = "POLLING"
)

// Reasons that several keys share.
const (
	noThreads    = "there are no pools of threads"
	ownBackoff   = "failed calls are repeated with backoff and jitter"
	ownPace      = "polling finds its pace by itself, within the limits of the service"
	ownCadence   = "the periods follow failoverTimeMillis"
	ownReports   = "workers report their load each 20 s, in the form that the KCL reads"
	ownPlan      = "a leader here decides as docs/kcl3.md says"
	noSideTables = "side tables that exist are used, and none is made"
	noCloudWatch = "there are no CloudWatch metrics: --listen serves Prometheus"
	onDemand     = "a new lease table is on demand, as that of the Java daemon"
	sdkOptions   = "an option of the SDK for Java: the SDK for Go reads the AWS_ variables and the profile"
)

// keys is every key of the Java daemon, and those beyond it.
var keys = slices.Concat(daemonKeys, streamKeys, clientKeys, retrievalKeys, leaseKeys, loadKeys, tableKeys, otherKeys)

// daemonKeys are about the daemon and its children.
var daemonKeys = []key{
	{
		name: "executableName", preset: "required", effect: "command of a child, split at blanks, without a shell",
		value: text("a command", nil, func(d *draft, t string) { d.Executable = strings.Fields(t) }),
	},
	{
		name: "processingLanguage", effect: "shown in the user agent",
		value: value{form: "a text", read: func(d *draft, t string) (bool, error) { d.Language = t; return false, nil }},
	},
	{name: "maxActiveThreads", value: integer(math.MinInt32, math.MaxInt32, nil), reason: noThreads},
	{
		name: "timeoutInSeconds", preset: "none", effect: "a child that takes longer for an answer has failed", boxed: true,
		value: integer(1, 365*24*3600, func(d *draft, n int64) { d.Timeout = time.Duration(n) * time.Second }),
	},
	{
		name: "shutdownGraceMillis", preset: "30000; 0 in Java", boxed: true,
		effect: "longest time for a stop and for a hand-over; 0 kills the children at once at a stop",
		value:  millis(0, func(d *draft, t time.Duration) { d.ShutdownGrace = t }),
	},
	{
		name: "childFailure", preset: "restart; exit in Java",
		effect: "restart: the child alone starts again; exit: the daemon ends with status 1; not in Java",
		value:  choice(func(d *draft, w string) { d.ExitOnChildFailure = w == "exit" }, "restart", "exit"),
	},
}

// streamKeys are about the application, its streams and where it begins.
var streamKeys = []key{
	{
		name: "applicationName", preset: "required",
		effect: "name of the application, of its stream consumer and lease table",
		value:  text("a name", validName, func(d *draft, t string) { d.Scheduler.Application = t }),
	},
	{
		name: "streamName", preset: "a stream is required", effect: "stream to read",
		value: text("a name", validName, func(d *draft, t string) { d.streamName = t }),
	},
	{
		name: "streamArn", effect: "stream to read; replaces streamName",
		value: text("an ARN", validStreamARN, func(d *draft, t string) { d.streamARN = t }),
	},
	{
		name: "streamNames", effect: "several streams to read; replaces streamName; not in Java",
		value: list("names with commas between them", validName, func(d *draft, t []string) { d.streamNames = t }),
	},
	{
		name: "streamArns", effect: "several streams to read, also of other accounts; not in Java",
		value: list("ARNs with commas between them", validStreamARN, func(d *draft, t []string) { d.streamARNs = t }),
	},
	{
		name: "workerId", aliases: []string{"workerIdentifier"}, preset: "host name; a random UUID in Java",
		effect: "name in the lease table; a random suffix is added",
		value:  text("a text", validWorker, func(d *draft, t string) { d.Scheduler.WorkerID = t }),
	},
	{
		name: "initialPositionInStream", preset: "LATEST", effect: "where to begin without leases",
		value: choice(func(d *draft, w string) {
			d.position = map[string]kcl.PositionKind{"LATEST": kcl.Latest, "TRIM_HORIZON": kcl.TrimHorizon}[w]
		}, "LATEST", "TRIM_HORIZON"),
	},
	{
		name: "initialPositionInStreamExtended", effect: "begin at this time; replaces initialPositionInStream",
		value: epochSeconds(func(d *draft, t time.Time) { d.since = t }),
	},
}

// clientKeys are about the clients of AWS.
var clientKeys = []key{
	{
		name: providerKey, preset: "the default chain; required in Java", effect: "credentials of all clients",
		value: providers(func(d *draft, c credentials.Chain) { d.Kinesis.Credentials = c }),
	},
	{
		name: providerKey + "DynamoDB", preset: "as AwsCredentialsProvider", effect: "credentials for DynamoDB",
		value: providers(func(d *draft, c credentials.Chain) { d.DynamoDB.Credentials, d.dynamoDBCredentials = c, true }),
	},
	{name: providerKey + "CloudWatch", value: anyValue("providers"), reason: noCloudWatch},
	{
		name: "regionName", preset: "of the ARN, or of the AWS environment", effect: "region of all clients",
		value: text("a region", validRegion, func(d *draft, t string) { d.Region = t }),
	},
	{
		name: "kinesisEndpoint", aliases: []string{"kinesisClient.endpointOverride"}, effect: "endpoint of Kinesis",
		value: text("a URL", validURL, func(d *draft, t string) { d.Kinesis.Endpoint = t }),
	},
	{
		name: "dynamoDBEndpoint", aliases: []string{"dynamoDbClient.endpointOverride"}, effect: "endpoint of DynamoDB",
		value: text("a URL", validURL, func(d *draft, t string) { d.DynamoDB.Endpoint = t }),
	},
	{
		name: "kinesisClient.region", effect: "region of Kinesis",
		value: text("a region", validRegion, func(d *draft, t string) { d.Kinesis.Region = t }),
	},
	{
		name: "dynamoDbClient.region", effect: "region of DynamoDB",
		value: text("a region", validRegion, func(d *draft, t string) { d.DynamoDB.Region = t }),
	},
	{name: "kinesisClient." + anyName, value: anyValue("any"), reason: sdkOptions},
	{name: "dynamoDbClient." + anyName, value: anyValue("any"), reason: sdkOptions},
	{name: "cloudWatchClient." + anyName, value: anyValue("any"), reason: noCloudWatch},
}

// retrievalKeys are about reading records.
var retrievalKeys = []key{
	{
		name: "retrievalMode", preset: modeDefault, effect: "DEFAULT polls if a polling key is set, and fans out otherwise",
		value: choice(func(d *draft, w string) { d.mode = w }, modeDefault, modeFanOut, modePolling),
	},
	{
		name: "maxRecords", aliases: []string{"pollingConfig.maxRecords"}, polling: true, preset: "10000",
		effect: "most records of a batch of polling; an aggregate counts as one",
		value:  integer(1, 10000, func(d *draft, n int64) { d.MaxRecords = int32(n) }),
	},
	{
		name: "idleTimeBetweenReadsInMillis", polling: true, preset: "1500",
		aliases: []string{"pollingConfig.idleTimeBetweenReadsInMillis"},
		effect:  "time between two reads of a shard while no records come, at most a minute; 200 while they come",
		value: millis(time.Millisecond, func(d *draft, t time.Duration) {
			d.Scheduler.PollingIdleInterval = min(t, time.Minute)
		}),
	},
	{
		name: "millisBehindLatestThresholdForReducedTps", polling: true,
		value: millis(time.Millisecond, nil), reason: ownPace,
		aliases: []string{"pollingConfig.millisBehindLatestThresholdForReducedTps"},
	},
	{
		name: "retryGetRecordsInSeconds", polling: true, boxed: true,
		aliases: []string{"pollingConfig.retryGetRecordsInSeconds"},
		value:   integer(0, math.MaxInt32, nil), reason: ownBackoff,
	},
	{
		name: "maxGetRecordsThreadPool", polling: true, boxed: true,
		aliases: []string{"pollingConfig.maxGetRecordsThreadPool"},
		value:   integer(0, math.MaxInt32, nil), reason: noThreads,
	},
	{
		name: "fanoutConfig.consumerArn", effect: "stream consumer that exists; none is registered",
		value: text("an ARN", validConsumerARN, func(d *draft, t string) { d.consumerARN = t }),
	},
	{
		name: "fanoutConfig.consumerName", preset: "applicationName", effect: "name of the stream consumer",
		value: text("a name", validName, func(d *draft, t string) { d.consumerName = t }),
	},
	{name: "fanoutConfig.maxDescribeStreamSummaryRetries", value: integer(0, math.MaxInt32, nil), reason: ownBackoff},
	{name: "fanoutConfig.maxDescribeStreamConsumerRetries", value: integer(0, math.MaxInt32, nil), reason: ownBackoff},
	{name: "fanoutConfig.registerStreamConsumerRetries", value: integer(0, math.MaxInt32, nil), reason: ownBackoff},
	{name: "fanoutConfig.retryBackoffMillis", value: millis(0, nil), reason: ownBackoff},
	{
		name: "callProcessRecordsEvenForEmptyRecordList", value: boolean(nil),
		reason: "a child gets batches with records only",
	},
}
