package settings

import (
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/kinesis-go/kcl"
	"github.com/kinesis-go/kcl/cmd/multilangd/internal/properties"
	"github.com/kinesis-go/kcl/scheduler"
)

// least is the least valid file.
const least = "executableName = python3 app.py\napplicationName = app\nstreamName = orders\n"

const (
	arnOrders = "arn:aws:kinesis:eu-west-1:123456789012:stream/orders"
	arnBills  = "arn:aws:kinesis:eu-west-1:123456789013:stream/bills"
)

func parse(t *testing.T, text string) *properties.File {
	t.Helper()
	file, err := properties.Parse("app.properties", []byte(text))
	require.NoError(t, err)
	return file
}

// read reads a file without mistakes.
func read(t *testing.T, text string) (Config, Report) {
	t.Helper()
	cfg, report, err := Read(parse(t, text))
	require.NoError(t, err)
	return cfg, report
}

// TestDefaults: the defaults are those of the Java daemon, except for the grace of a stop and the
// worker's name.
func TestDefaults(t *testing.T) {
	t.Parallel()
	cfg, report := read(t, least)
	require.Empty(t, report)
	want := Config{Executable: []string{"python3", "app.py"}, ShutdownGrace: 30 * time.Second}
	want.Scheduler.Application = "app"
	want.Scheduler.Streams = []scheduler.StreamConfig{
		{Name: "orders", InitialPosition: kcl.InitialPosition{Kind: kcl.Latest}},
	}
	want.Scheduler.ShutdownTimeout, want.Scheduler.PollingIdleInterval = 30*time.Second, 1500*time.Millisecond
	want.Table.Table = "app"
	require.Equal(t, want, cfg)
}

// TestAppliedKeys sets each key that has an effect to a value that is not its default. No key with
// an effect is left out.
func TestAppliedKeys(t *testing.T) {
	t.Parallel()
	at := time.Unix(1700000000, 0).UTC()
	tested := map[string]bool{"applicationName": true, "streamName": true, "executableName": true} // in least
	for line, get := range map[string]struct {
		want any
		get  func(c Config) any
	}{
		"executableName=  a\tb  c ":  {[]string{"a", "b", "c"}, func(c Config) any { return c.Executable }},
		"processingLanguage=java/17": {"java/17", func(c Config) any { return c.Language }},
		"timeoutInSeconds=90":        {90 * time.Second, func(c Config) any { return c.Timeout }},
		"shutdownGraceMillis=5000":   {5 * time.Second, func(c Config) any { return c.Scheduler.ShutdownTimeout }},
		"childFailure=exit":          {true, func(c Config) any { return c.ExitOnChildFailure }},
		"streamArn=" + arnOrders:     {arnOrders, func(c Config) any { return c.Scheduler.Streams[0].ARN }},
		"streamName=\nstreamNames=a, b,": {
			[]string{"a", "b"}, func(c Config) any { return []string{c.Scheduler.Streams[0].Name, c.Scheduler.Streams[1].Name} },
		},
		"workerId=w1":         {"w1", func(c Config) any { return c.Scheduler.WorkerID }},
		"workerIdentifier=w1": {"w1", func(c Config) any { return c.Scheduler.WorkerID }},
		"initialPositionInStream=trim_horizon": {
			kcl.InitialPosition{Kind: kcl.TrimHorizon}, func(c Config) any { return c.Scheduler.Streams[0].InitialPosition },
		},
		"initialPositionInStreamExtended=1700000000": {
			kcl.InitialPosition{Kind: kcl.AtTimestamp, Timestamp: at},
			func(c Config) any { return c.Scheduler.Streams[0].InitialPosition },
		},
		"AWSCredentialsProvider=AnonymousCredentialsProvider": {
			"AnonymousCredentialsProvider", func(c Config) any { return c.DynamoDB.Credentials.String() },
		},
		"awscredentialsproviderDynamoDB=AnonymousCredentialsProvider": {
			"DefaultCredentialsProvider AnonymousCredentialsProvider",
			func(c Config) any { return c.Kinesis.Credentials.String() + " " + c.DynamoDB.Credentials.String() },
		},
		"regionName=eu-west-1":            {"eu-west-1", func(c Config) any { return c.Region }},
		"kinesisEndpoint=http://h:1":      {"http://h:1", func(c Config) any { return c.Kinesis.Endpoint }},
		"dynamoDBEndpoint=https://h":      {"https://h", func(c Config) any { return c.DynamoDB.Endpoint }},
		"kinesisClient.region=eu-west-1":  {"eu-west-1", func(c Config) any { return c.Kinesis.Region }},
		"dynamoDbClient.region=eu-west-1": {"eu-west-1", func(c Config) any { return c.DynamoDB.Region }},
		"retrievalMode=polling":           {scheduler.Polling, func(c Config) any { return c.Scheduler.RetrievalMode }},
		"fanoutConfig.consumerArn=" + arnOrders + "/consumer/a:1": {
			arnOrders + "/consumer/a:1", func(c Config) any { return c.Scheduler.Streams[0].ConsumerARN },
		},
		"idleTimeBetweenReadsInMillis=250": {
			250 * time.Millisecond, func(c Config) any { return c.Scheduler.PollingIdleInterval },
		},
		"pollingConfig.idleTimeBetweenReadsInMillis=3600000": {
			time.Minute, func(c Config) any { return c.Scheduler.PollingIdleInterval },
		},
		"maxRecords=55":               {int32(55), func(c Config) any { return c.MaxRecords }},
		"fanoutConfig.consumerName=a": {"a", func(c Config) any { return c.Scheduler.Streams[0].ConsumerName }},
		"tableName=leases":            {"leases", func(c Config) any { return c.Table.Table }},
		"failoverTimeMillis=20000":    {20 * time.Second, func(c Config) any { return c.Scheduler.FailoverTime }},
		"leaseTableDeletionProtectionEnabled=Yes": {
			true, func(c Config) any { return c.Table.DeletionProtection },
		},
		"leaseTablePitrEnabled=true":    {true, func(c Config) any { return c.Table.PointInTimeRecovery }},
		"shardSyncIntervalMillis=30000": {30 * time.Second, func(c Config) any { return c.Scheduler.ShardSyncInterval }},
		"maxLeasesForWorker=7":          {7, func(c Config) any { return c.Scheduler.MaxLeasesForWorker }},
		"leaseTableScanTotalSegments=4": {4, func(c Config) any { return c.Table.ScanSegments }},
		"shutdownGraceMillis=0\ngracefulLeaseHandoffTimeoutMillis=7000": {
			[]time.Duration{0, 7 * time.Second},
			func(c Config) any { return []time.Duration{c.ShutdownGrace, c.Scheduler.ShutdownTimeout} },
		},
		"disableWorkerMetrics=on":          {true, func(c Config) any { return c.Scheduler.DisableWorkerMetrics }},
		"maxThroughputPerHostKBps=1500.5":  {1500.5, func(c Config) any { return c.Scheduler.MaxThroughputKBps }},
		"coordinatorStateTableName=states": {"states", func(c Config) any { return c.Table.CoordinatorTable }},
		"workerMetricsTableName=reports":   {"reports", func(c Config) any { return c.Table.WorkerMetricsTable }},
		"migrateAllEntitiesToLeaseTable=true": {
			true, func(c Config) any { return c.Table.MigrateToLeaseTable },
		},
		"clientVersionConfig=CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X": {
			"auto", func(c Config) any { return c.Scheduler.Assignment.String() },
		},
	} {
		base := least
		if rest, ok := strings.CutPrefix(line, "streamName=\n"); ok {
			base, line = strings.Replace(least, "streamName = orders\n", "", 1), rest
		}
		for _, l := range strings.Split(line, "\n") {
			name, _, _ := strings.Cut(l, "=")
			k, ok := find(name)
			require.True(t, ok, name)
			tested[k.name] = true
		}
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			cfg, report := read(t, base+line)
			require.Equal(t, get.want, get.get(cfg))
			for _, w := range report.Warnings {
				require.Contains(t, w, "is given again", "the only warning")
			}
			require.Empty(t, report.WithoutEffect)
		})
	}
	tested["streamArns"] = true // see TestStreams
	for _, k := range keys {
		require.Equal(t, k.reason == "", tested[k.name], k.name)
		require.NotEqual(t, k.reason == "", k.effect == "", "%s has one of effect and reason", k.name)
	}
}

// TestKeysWithoutEffect: each key without effect is named with its reason, and changes nothing.
func TestKeysWithoutEffect(t *testing.T) {
	t.Parallel()
	good := map[string]string{
		"coordinatorStateBillingMode": "PROVISIONED", "workerMetricsBillingMode": "PAY_PER_REQUEST",
		"metricsLevel": "NONE", "staleWorkerMetricsEntryCleanupDuration": "PT24H",
	}
	plain, _ := read(t, least)
	for _, k := range keys {
		if k.reason == "" {
			continue
		}
		t.Run(k.name, func(t *testing.T) {
			t.Parallel()
			value := good[k.name]
			if value == "" {
				value = "1"
			}
			name := strings.TrimSuffix(k.name, anyName) + strings.Repeat("x", strings.Count(k.name, anyName))
			cfg, report := read(t, least+name+"="+value)
			require.Equal(t, []WithoutEffect{{name, k.reason}}, report.WithoutEffect)
			require.Empty(t, report.Warnings)
			if k.polling {
				require.Equal(t, scheduler.Polling, cfg.Scheduler.RetrievalMode)
				cfg.Scheduler.RetrievalMode = scheduler.EFO
			}
			require.Equal(t, plain, cfg)
		})
	}
}

// TestBadValues: the error has the file, the line, the key, the value and the remedy.
func TestBadValues(t *testing.T) {
	t.Parallel()
	for line, want := range map[string]string{
		"executableName=":                    "executableName: has no value: give a command",
		"timeoutInSeconds=0":                 "timeoutInSeconds = 0: is out of bounds: use a number from 1 to 31536000",
		"timeoutInSeconds=1.5":               "timeoutInSeconds = 1.5: is not a whole number: use a number from 1",
		"shutdownGraceMillis=-1":             "shutdownGraceMillis = -1: is out of bounds: use a number from 0",
		"childFailure=ignore":                "childFailure = ignore: is not known: use one of restart, exit",
		"applicationName=my app":             "applicationName = my app: is not a name: use 1 to 128 letters",
		"applicationName=a":                  "applicationName = a: is the name of the lease table too, and is not the",
		"tableName=my/table":                 "tableName = my/table: is not the name of a table in DynamoDB: use 3 to 255",
		"tableName=":                         "tableName: has no value",
		`workerId=a\tb`:                      `workerId = "a\tb": has a control character: leave it out`,
		"streamName=a/b":                     "streamName = a/b: is not a name",
		"streamArn=orders":                   "streamArn = orders: ",
		"initialPositionInStream=NOW":        "initialPositionInStream = NOW: is not known: use one of LATEST, TRIM_HORIZON",
		"initialPositionInStreamExtended=x":  "initialPositionInStreamExtended = x: is not a time: use seconds since 1970",
		"AwsCredentialsProvider=Nonsense|s3": `AwsCredentialsProvider: unknown provider "Nonsense": use one of AWSStatic`,
		"regionName=us_east":                 "regionName = us_east: is not a region: use one such as us-east-1",
		"kinesisEndpoint=localhost:4567":     "kinesisEndpoint = localhost:4567: is not a URL: use one such as http://",
		"retrievalMode=PUSH":                 "retrievalMode = PUSH: is not known: use one of DEFAULT, FANOUT, POLLING",
		"maxRecords=10001":                   "maxRecords = 10001: is out of bounds: use a number from 1 to 10000",
		"fanoutConfig.consumerArn=x":         "fanoutConfig.consumerArn = x: ",
		"failoverTimeMillis=999":             "failoverTimeMillis = 999: is out of bounds: use a number from 1000",
		"failoverTimeMillis=10s":             "failoverTimeMillis = 10s: is not a whole number",
		"leaseTablePitrEnabled=maybe":        "leaseTablePitrEnabled = maybe: is neither true nor false",
		"leaseTableScanTotalSegments=1001":   "leaseTableScanTotalSegments = 1001: is out of bounds",
		"maxThroughputPerHostKBps=NaN":       "maxThroughputPerHostKBps = NaN: is not a number from 0",
		"metricsLevel=ALL":                   "metricsLevel = ALL: is not known: use one of NONE, SUMMARY, DETAILED",
		"workerMetricsEMAAlpha=-1":           "workerMetricsEMAAlpha = -1: is not a number from 0",
		"coordinatorStateTableName=app":      "coordinatorStateTableName = app: is the lease table: name another table",
		"workerMetricsTableName=app":         "workerMetricsTableName = app: is the lease table: name another table",
		"clientVersionConfig=3X":             "clientVersionConfig = 3X: is not known: use one of CLIENT_VERSION_CONFIG_3X, ",
		"staleWorkerMetricsEntryCleanupDuration=1d": "staleWorkerMetricsEntryCleanupDuration = 1d: is not a duration of " +
			"ISO 8601: use one such as PT24H",
	} {
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			_, _, err := Read(parse(t, least+line))
			require.ErrorContains(t, err, "app.properties:4: "+want)
			require.NotContains(t, err.Error(), "\n", "one error")
			require.NotContains(t, err.Error(), "s3", "no secret")
		})
	}
}

func TestAllMistakesAtOnce(t *testing.T) {
	t.Parallel()
	_, _, err := Read(parse(t, "failoverTimeMillis=1\nmetricsLevel=x\nregionName=?\n"))
	require.ErrorContains(t, err, "app.properties:1: failoverTimeMillis = 1: ")
	require.ErrorContains(t, err, "app.properties:2: metricsLevel = x: ")
	require.ErrorContains(t, err, "app.properties:3: regionName = ?: ")
	require.ErrorContains(t, err, "app.properties: executableName is missing: give the command")
	require.ErrorContains(t, err, "app.properties: applicationName is missing: ")
	require.ErrorContains(t, err, "app.properties: streamName is missing: name the stream")
}

// TestZeroIsUnset: 0 and false of Java's primitive types are keys that are not given.
func TestZeroIsUnset(t *testing.T) {
	t.Parallel()
	plain, _ := read(t, least)
	for _, line := range []string{
		"failoverTimeMillis=0", "shardSyncIntervalMillis=0", "maxLeasesForWorker=0", "leaseTableScanTotalSegments=0",
		"maxThroughputPerHostKBps=0.0", "migrateAllEntitiesToLeaseTable=false",
	} {
		cfg, report := read(t, least+line)
		require.Equal(t, plain, cfg, line)
		name, _, _ := strings.Cut(line, "=")
		require.Equal(t, []WithoutEffect{{name, zeroReason}}, report.WithoutEffect)
	}
	cfg, report := read(t, least+"leaseTablePitrEnabled=false\nshutdownGraceMillis=0")
	require.Empty(t, report.WithoutEffect, "these count")
	require.Zero(t, cfg.ShutdownGrace)
	require.Equal(t, 30*time.Second, cfg.Scheduler.ShutdownTimeout, "of a hand-over")
}

// TestRetrievalMode: DEFAULT polls if a polling key is set to anything but 0.
func TestRetrievalMode(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]scheduler.RetrievalMode{
		"":                                      scheduler.EFO,
		"retrievalMode=DEFAULT":                 scheduler.EFO,
		"retrievalMode=FANOUT\nmaxRecords=5":    scheduler.EFO,
		"retrievalMode=Polling":                 scheduler.Polling,
		"maxRecords=5":                          scheduler.Polling,
		"maxRecords=0":                          scheduler.EFO,
		"idleTimeBetweenReadsInMillis=0":        scheduler.EFO,
		"retryGetRecordsInSeconds=0":            scheduler.Polling, // an Integer in Java
		"pollingConfig.maxRecords=5":            scheduler.Polling,
		"retrievalMode=DEFAULT\nmaxRecords=100": scheduler.Polling,
	} {
		cfg, _ := read(t, least+text)
		require.Equal(t, want, cfg.Scheduler.RetrievalMode, text)
	}
	_, _, err := Read(parse(t, least+"maxRecords=5\nfanoutConfig.consumerArn="+arnOrders+"/consumer/a:1"))
	require.ErrorContains(t, err, "app.properties:5: fanoutConfig.consumerArn = ")
	require.ErrorContains(t, err, "polling uses no stream consumer: set retrievalMode = FANOUT")
}

func TestStreams(t *testing.T) {
	t.Parallel()
	const none = "executableName=a\napplicationName=app\n"
	cfg, report := read(t, none+"streamName=orders\nstreamArn="+arnOrders)
	require.Equal(t, []scheduler.StreamConfig{
		{ARN: arnOrders, InitialPosition: kcl.InitialPosition{Kind: kcl.Latest}},
	}, cfg.Scheduler.Streams)
	require.Equal(t, "eu-west-1", cfg.Region)
	require.Empty(t, report.WithoutEffect)

	_, report = read(t, none+"streamName=other\nstreamArn="+arnOrders)
	require.Equal(t, []WithoutEffect{{"streamName", "streamArn replaces it"}}, report.WithoutEffect)

	cfg, _ = read(t, none+"streamNames=x\nstreamArns="+arnOrders+","+arnBills+"\ninitialPositionInStream=TRIM_HORIZON")
	require.Len(t, cfg.Scheduler.Streams, 3)
	require.Equal(t, scheduler.StreamConfig{ARN: arnBills}, cfg.Scheduler.Streams[2])

	const (
		oneARN     = "streamArn=" + arnOrders
		a1Consumer = "fanoutConfig.consumerArn=" + arnOrders + "/consumer/a:1"
	)
	for text, want := range map[string]string{
		"streamName=a\nstreamNames=b":                 "app.properties:3: streamName: streamNames or streamArns is given too",
		"streamNames=a,a":                             "app.properties:3: streamNames = a,a: names a twice",
		"streamNames=a,b/c":                           "app.properties:3: streamNames = a,b/c: b/c is not a name",
		"streamNames=,":                               "app.properties:3: streamNames = ,: has no value",
		oneARN + "\nregionName=us-east-1":             "is in region eu-west-1, and the client is in us-east-1: set",
		"streamNames=orders\nstreamArns=" + arnOrders: "is the stream orders of streamNames: name it once",
		"streamArn=" + arnBills + "\n" + a1Consumer: "fanoutConfig.consumerArn = " + arnOrders + "/consumer/a:1: " +
			"is a consumer of another stream than " + arnBills,
		"streamName=bills\n" + a1Consumer:                       "is a consumer of another stream than bills",
		oneARN + "\nfanoutConfig.consumerName=b\n" + a1Consumer: "is not the consumer b of fanoutConfig.consumerName",
		"streamNames=a,b\n" + a1Consumer:                        "a consumer belongs to one stream",
	} {
		_, _, err := Read(parse(t, none+text))
		require.ErrorContains(t, err, want)
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	_, report := read(t, least+"failOverTimeMilis=3\nsomething.else=1\nworkerId=a\nworkerIdentifier=b\nstreamName=x")
	require.Equal(t, []string{
		"app.properties:8: streamName is given again: line 3 has no effect",
		"app.properties:4: unknown key failOverTimeMilis has no effect: did you mean failoverTimeMillis?",
		"app.properties:5: unknown key something.else has no effect",
		"app.properties:7: workerIdentifier is another name of workerId in line 6, which it replaces",
	}, report.Warnings)

	_, report = read(t, least+"initialPositionInStream=LATEST\ninitialPositionInStreamExtended=5")
	require.Equal(t, []WithoutEffect{
		{"initialPositionInStream", "initialPositionInStreamExtended replaces it"},
	}, report.WithoutEffect)
}

func TestNearest(t *testing.T) {
	t.Parallel()
	for unknown, want := range map[string]string{
		"StreamName": "streamName", "streamname": "streamName", "application": "applicationName",
		"applicationname": "applicationName",
		"executable":      "executableName", "maxrecord": "maxRecords", "x": "", "RetrievalMode": "retrievalMode",
		"consumerName": "fanoutConfig.consumerName", "name": "",
	} {
		require.Equal(t, want, nearest(unknown), unknown)
	}
	require.Equal(t, 3, distance("kitten", "sitting"))
}
