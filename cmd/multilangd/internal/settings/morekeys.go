package settings

import (
	"errors"
	"math"
	"regexp"
	"strconv"
	"time"
)

// leaseKeys are about leases, shard synchronisation and hand-overs.
var leaseKeys = []key{
	{
		name: "tableName", preset: "applicationName", effect: "name of the lease table",
		value: text("a name", validTable, func(d *draft, t string) { d.Table.Table = t }),
	},
	{
		name: "failoverTimeMillis", preset: "10000", effect: "how long a lease may go unrenewed; the same in all workers",
		value: millis(time.Second, func(d *draft, t time.Duration) { d.Scheduler.FailoverTime = t }),
	},
	{name: "leaseAssignmentIntervalMillis", value: millis(time.Millisecond, nil), reason: ownCadence},
	{
		name: "enablePriorityLeaseAssignment", value: boolean(nil), boxed: true,
		reason: "expired leases are always taken before others are moved",
	},
	{
		name: "leaseTableDeletionProtectionEnabled", preset: "false", boxed: true,
		effect: "protects a new lease table from deletion",
		value:  boolean(func(d *draft, b bool) { d.Table.DeletionProtection = b }),
	},
	{
		name: "leaseTablePitrEnabled", preset: "false", boxed: true,
		effect: "switches continuous backups of the lease table on",
		value:  boolean(func(d *draft, b bool) { d.Table.PointInTimeRecovery = b }),
	},
	{
		name: "shardSyncIntervalMillis", preset: "60000", effect: "time between two comparisons of leases and shards",
		value: millis(time.Second, func(d *draft, t time.Duration) { d.Scheduler.ShardSyncInterval = t }),
	},
	{
		name: "cleanupLeasesUponShardCompletion", value: boolean(nil),
		reason: "a finished lease goes when its children have been read from",
	},
	{
		name: "ignoreUnexpectedChildShards", value: boolean(nil),
		reason: "a child shard is read when its parents have been read, whatever the list says",
	},
	{
		name: "maxLeasesForWorker", preset: "no limit", effect: "most leases of this worker, and so most children",
		value: integer(1, math.MaxInt32, func(d *draft, n int64) { d.Scheduler.MaxLeasesForWorker = int(n) }),
	},
	{
		name: "maxLeasesToStealAtOneTime", value: integer(1, math.MaxInt32, nil),
		reason: "leases are handed over, a whole share at once",
	},
	{name: "initialLeaseTableReadCapacity", value: integer(1, math.MaxInt32, nil), reason: onDemand},
	{name: "initialLeaseTableWriteCapacity", value: integer(1, math.MaxInt32, nil), reason: onDemand},
	{
		name: "leaseTableScanTotalSegments", preset: "by the size of the table",
		effect: "segments of a listing of the lease table",
		value:  integer(1, 1000, func(d *draft, n int64) { d.Table.ScanSegments = int(n) }),
	},
	{name: "maxLeaseRenewalThreads", value: integer(1, math.MaxInt32, nil), reason: noThreads},
	{name: "listShardsBackoffTimeInMillis", value: millis(time.Millisecond, nil), reason: ownBackoff},
	{name: "maxListShardsRetryAttempts", value: integer(1, math.MaxInt32, nil), reason: ownBackoff},
	{
		name: "isGracefulLeaseHandoffEnabled", aliases: []string{"gracefulLeaseHandoffConfig.isGracefulLeaseHandoffEnabled"},
		value: boolean(nil), boxed: true, reason: "a lease is always handed over gracefully",
	},
	{
		name:    "gracefulLeaseHandoffTimeoutMillis",
		aliases: []string{"gracefulLeaseHandoffConfig.gracefulLeaseHandoffTimeoutMillis"},
		preset:  "30000", boxed: true,
		effect: "longest time for a hand-over if shutdownGraceMillis is 0; else that one counts",
		value:  millis(time.Millisecond, func(d *draft, t time.Duration) { d.handOver = t }),
	},
}

// loadKeys are about how a leader shares the leases out by load.
var loadKeys = []key{
	{
		name: "disableWorkerMetrics", preset: "false", boxed: true, effect: "the worker does not report its use of the CPU",
		value: boolean(func(d *draft, b bool) { d.Scheduler.DisableWorkerMetrics = b }),
	},
	{
		name: "maxThroughputPerHostKBps", preset: "no limit", effect: "a leader gives a worker no more than that",
		value: number(func(d *draft, n float64) { d.Scheduler.MaxThroughputKBps = n }),
	},
	{name: "inMemoryWorkerMetricsCaptureFrequencyMillis", value: millis(time.Millisecond, nil), reason: ownReports},
	{name: "workerMetricsReporterFreqInMillis", value: millis(time.Millisecond, nil), reason: ownReports},
	{name: "noOfPersistedMetricsPerWorkerMetrics", value: integer(1, math.MaxInt32, nil), reason: ownReports},
	{name: "dampeningPercentage", value: integer(1, 100, nil), reason: ownPlan},
	{name: "reBalanceThresholdPercentage", value: integer(1, 100, nil), reason: ownPlan},
	{name: "allowThroughputOvershoot", value: boolean(nil), boxed: true, reason: ownPlan},
	{name: "varianceBalancingFrequency", value: integer(1, math.MaxInt32, nil), reason: ownPlan},
	{name: "workerMetricsEMAAlpha", value: number(nil), reason: ownPlan},
	{
		name: "staleWorkerMetricsEntryCleanupDuration", value: text("a duration such as PT24H", validDuration, nil),
		reason: "the leader deletes old reports",
	},
}

// tableKeys are about the side tables of KCL 3.0 to 3.4.
var tableKeys = []key{
	{
		name: "coordinatorStateTableName", preset: "tableName with -CoordinatorState",
		effect: "name of the first side table",
		value:  text("a name", validTable, func(d *draft, t string) { d.Table.CoordinatorTable = t }),
	},
	{
		name: "workerMetricsTableName", preset: "tableName with -WorkerMetricStats",
		effect: "name of the second side table",
		value:  text("a name", validTable, func(d *draft, t string) { d.Table.WorkerMetricsTable = t }),
	},
	{name: "coordinatorStateBillingMode", value: choice(nil, "PAY_PER_REQUEST", "PROVISIONED"), reason: noSideTables},
	{name: "coordinatorStateReadCapacity", value: integer(0, math.MaxInt32, nil), reason: noSideTables},
	{name: "coordinatorStateWriteCapacity", value: integer(0, math.MaxInt32, nil), reason: noSideTables},
	{name: "coordinatorStatePointInTimeRecoveryEnabled", value: boolean(nil), boxed: true, reason: noSideTables},
	{name: "coordinatorStateDeletionProtectionEnabled", value: boolean(nil), boxed: true, reason: noSideTables},
	{name: "coordinatorStateTags", value: anyValue("k=v,k2=v2"), reason: noSideTables},
	{name: "workerMetricsBillingMode", value: choice(nil, "PAY_PER_REQUEST", "PROVISIONED"), reason: noSideTables},
	{name: "workerMetricsReadCapacity", value: integer(0, math.MaxInt32, nil), reason: noSideTables},
	{name: "workerMetricsWriteCapacity", value: integer(0, math.MaxInt32, nil), reason: noSideTables},
	{name: "workerMetricsPointInTimeRecoveryEnabled", value: boolean(nil), boxed: true, reason: noSideTables},
	{name: "workerMetricsDeletionProtectionEnabled", value: boolean(nil), boxed: true, reason: noSideTables},
	{name: "workerMetricsTags", value: anyValue("k=v,k2=v2"), reason: noSideTables},
	{
		name: "migrateAllEntitiesToLeaseTable", preset: "false",
		effect: "moves the contents of the side tables to the lease table",
		value:  boolean(func(d *draft, b bool) { d.Table.MigrateToLeaseTable = b }),
	},
	{
		name: "tableMigrationCompleteBakeTimeSeconds", value: integer(1, math.MaxInt32, nil),
		reason: "the side tables are given up after a day without writes",
	},
}

// otherKeys are about the start, the processors and the metrics of the Java worker.
var otherKeys = []key{
	{
		name: "clientVersionConfig", preset: "the table decides",
		effect: "each value: the worker does what the lease table says, beside KCL 2.x and 3.x",
		value: choice(nil, "CLIENT_VERSION_CONFIG_3X", "CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X",
			"CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X_PHASE1"),
	},
	{
		name: "parentShardPollIntervalMillis", value: millis(time.Millisecond, nil),
		reason: "children start as soon as their parents have ended",
	},
	{name: "shardPrioritization", value: anyValue("a Java class"), reason: "a child shard always waits for its parents"},
	{
		name: "skipShardSyncAtWorkerInitializationIfLeasesExist", value: boolean(nil),
		reason: "the first synchronisation is one list of the shards",
	},
	{name: "schedulerInitializationBackoffTimeMillis", value: millis(time.Millisecond, nil), reason: ownBackoff},
	{name: "taskBackoffTimeMillis", value: millis(time.Millisecond, nil), reason: ownBackoff},
	{
		name: "logWarningForTaskAfterMillis", value: millis(0, nil), boxed: true,
		reason: "a shard without progress for two minutes is logged, and makes /health red",
	},
	{name: "metricsBufferTimeMillis", value: millis(time.Millisecond, nil), reason: noCloudWatch},
	{name: "metricsMaxQueueSize", value: integer(1, math.MaxInt32, nil), reason: noCloudWatch},
	{name: "metricsLevel", value: choice(nil, "NONE", "SUMMARY", "DETAILED"), reason: noCloudWatch},
	{name: "metricsEnabledDimensions", value: anyValue("names with commas between them"), reason: noCloudWatch},
	{
		name: "validateSequenceNumberBeforeCheckpointing", value: boolean(nil),
		reason: "a checkpoint is always compared with the records that were delivered",
	},
}

// epochSeconds is a time in seconds since 1970.
func epochSeconds(set func(d *draft, t time.Time)) value {
	const latest = 253402300799 // the end of the year 9999
	return value{form: "seconds since 1970", read: func(d *draft, text string) (bool, error) {
		n, err := strconv.ParseInt(text, 10, 64)
		if err != nil || n < 0 || n > latest {
			return false, errors.New("is not a time: use seconds since 1970, such as 1700000000")
		}
		set(d, time.Unix(n, 0).UTC())
		return false, nil
	}}
}

var tablePattern = regexp.MustCompile(`^[a-zA-Z0-9_.-]{3,255}$`)

func validTable(text string) error {
	if !tablePattern.MatchString(text) {
		return errors.New("is not the name of a table in DynamoDB: " +
			"use 3 to 255 letters, digits, underscores, dots and hyphens")
	}
	return nil
}

var durationPattern = regexp.MustCompile(
	`^[-+]?[pP](-?\d+[dD])?([tT](-?\d+[hH])?(-?\d+[mM])?(-?\d+(\.\d{1,9})?[sS])?)?$`)

func validDuration(text string) error {
	if !durationPattern.MatchString(text) || len(text) < 3 {
		return errors.New("is not a duration of ISO 8601: use one such as PT24H")
	}
	return nil
}
