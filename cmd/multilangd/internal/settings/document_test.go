package settings

import (
	"flag"
	"os"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

var update = flag.Bool("update", false, "write the table of keys into docs/multilang.md")

const (
	document = "../../../../docs/multilang.md"
	begin    = "<!-- The table of keys: go test ./cmd/multilangd/internal/settings -run Document -update -->\n\n"
	end      = "\n<!-- The end of the table of keys. -->\n"
)

// TestDocument: docs/multilang.md has the table of keys.
func TestDocument(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(document)
	require.NoError(t, err)
	before, rest, ok := strings.Cut(string(text), begin)
	require.True(t, ok, "the beginning of the table")
	table, after, ok := strings.Cut(rest, end)
	require.True(t, ok, "the end of the table")
	if *update {
		require.NoError(t, os.WriteFile(document, []byte(before+begin+Document()+end+after), 0o600))
		return
	}
	require.Equal(t, Document(), table, "write the table with -update")
}

// TestKeysOfTheJavaDaemon: the table knows every property of MultiLangDaemonConfiguration of KCL
// 2.7 to 3.5 and of its nested configurations.
func TestKeysOfTheJavaDaemon(t *testing.T) {
	t.Parallel()
	for _, name := range strings.Fields(`
		executableName processingLanguage maxActiveThreads applicationName streamName streamArn tableName workerId
		workerIdentifier AwsCredentialsProvider AWSCredentialsProvider awsCredentialsProvider
		AwsCredentialsProviderDynamoDB AwsCredentialsProviderCloudWatch regionName kinesisEndpoint dynamoDBEndpoint
		kinesisClient.endpointOverride dynamoDbClient.httpClientBuilder cloudWatchClient.region
		initialPositionInStream initialPositionInStreamExtended retrievalMode maxRecords
		idleTimeBetweenReadsInMillis millisBehindLatestThresholdForReducedTps retryGetRecordsInSeconds
		maxGetRecordsThreadPool fanoutConfig.consumerArn fanoutConfig.consumerName
		fanoutConfig.maxDescribeStreamSummaryRetries fanoutConfig.maxDescribeStreamConsumerRetries
		fanoutConfig.registerStreamConsumerRetries fanoutConfig.retryBackoffMillis failoverTimeMillis
		leaseAssignmentIntervalMillis enablePriorityLeaseAssignment leaseTableDeletionProtectionEnabled
		leaseTablePitrEnabled shardSyncIntervalMillis cleanupLeasesUponShardCompletion ignoreUnexpectedChildShards
		maxLeasesForWorker maxLeasesToStealAtOneTime initialLeaseTableReadCapacity initialLeaseTableWriteCapacity
		leaseTableScanTotalSegments maxLeaseRenewalThreads listShardsBackoffTimeInMillis maxListShardsRetryAttempts
		isGracefulLeaseHandoffEnabled gracefulLeaseHandoffTimeoutMillis inMemoryWorkerMetricsCaptureFrequencyMillis
		workerMetricsReporterFreqInMillis noOfPersistedMetricsPerWorkerMetrics disableWorkerMetrics
		maxThroughputPerHostKBps dampeningPercentage reBalanceThresholdPercentage allowThroughputOvershoot
		varianceBalancingFrequency workerMetricsEMAAlpha staleWorkerMetricsEntryCleanupDuration
		workerMetricsTableName workerMetricsBillingMode workerMetricsReadCapacity workerMetricsWriteCapacity
		workerMetricsPointInTimeRecoveryEnabled workerMetricsDeletionProtectionEnabled workerMetricsTags
		coordinatorStateTableName coordinatorStateBillingMode coordinatorStateReadCapacity
		coordinatorStateWriteCapacity coordinatorStatePointInTimeRecoveryEnabled
		coordinatorStateDeletionProtectionEnabled coordinatorStateTags callProcessRecordsEvenForEmptyRecordList
		parentShardPollIntervalMillis shardPrioritization skipShardSyncAtWorkerInitializationIfLeasesExist
		schedulerInitializationBackoffTimeMillis clientVersionConfig migrateAllEntitiesToLeaseTable
		tableMigrationCompleteBakeTimeSeconds taskBackoffTimeMillis logWarningForTaskAfterMillis
		metricsBufferTimeMillis metricsMaxQueueSize metricsLevel metricsEnabledDimensions
		validateSequenceNumberBeforeCheckpointing shutdownGraceMillis timeoutInSeconds`) {
		_, ok := find(name)
		require.True(t, ok, name)
	}
}
