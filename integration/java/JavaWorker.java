import java.lang.reflect.Field;
import java.lang.reflect.Method;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.TimeUnit;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.awssdk.services.kinesis.model.StreamDescriptionSummary;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.common.LeaseCleanupConfig;
import software.amazon.kinesis.common.StreamConfig;
import software.amazon.kinesis.common.StreamIdentifier;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.coordinator.WorkerStateChangeListener;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.leases.LeaseManagementConfig;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.MetricsLevel;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.FormerStreamsLeasesDeletionStrategy;
import software.amazon.kinesis.processor.MultiStreamTracker;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.ShardRecordProcessorFactory;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.processor.StreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.RetrievalConfig;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * A worker of the Java KCL, 2.x or 3.x, on local servers: the peer of the Go workers in
 * mixed_test.go. It prints one line for everything that happens to a shard, "TIME EVENT SHARD
 * SEQUENCE DATA" with the time in microseconds since 1970, and for each client version of 3.x that
 * it comes to. It ends in order on SIGTERM.
 *
 * <p>Settings come from the environment: STREAM, APPLICATION, WORKER, KINESIS_URL (h2c),
 * DYNAMODB_URL, RETRIEVAL (FANOUT or POLLING), FAILOVER_MILLIS, and for 3.x CLIENT_VERSION. With
 * STREAMS (names with commas between, instead of STREAM) it reads several streams, prints lease keys
 * for shards, and deletes the leases of other streams at once. FLIP_SECONDS, for 3.x, is for how
 * long a fleet that comes from 2.x must be ready before its leader goes over to 3.x (600).
 */
public final class JavaWorker {
  private JavaWorker() {}

  public static void main(String[] args) throws Exception {
    String application = setting("APPLICATION", null);
    long failover = Long.parseLong(setting("FAILOVER_MILLIS", "5000"));
    StaticCredentialsProvider credentials =
        StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test"));
    KinesisAsyncClient kinesis =
        KinesisAsyncClient.builder()
            .region(Region.US_EAST_1)
            .credentialsProvider(credentials)
            .endpointOverride(URI.create(setting("KINESIS_URL", null)))
            .httpClientBuilder(
                NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP2).maxConcurrency(1000))
            .build();
    DynamoDbAsyncClient dynamodb =
        DynamoDbAsyncClient.builder()
            .region(Region.US_EAST_1)
            .credentialsProvider(credentials)
            .endpointOverride(URI.create(setting("DYNAMODB_URL", null)))
            .build();
    CloudWatchAsyncClient cloudwatch = // never called: there are no metrics
        CloudWatchAsyncClient.builder()
            .region(Region.US_EAST_1)
            .credentialsProvider(credentials)
            .endpointOverride(URI.create("http://127.0.0.1:9"))
            .build();

    ConfigsBuilder configs =
        new ConfigsBuilder(
            tracker(kinesis),
            application,
            kinesis,
            dynamodb,
            cloudwatch,
            setting("WORKER", null),
            new Printers());
    LeaseManagementConfig leases =
        configs
            .leaseManagementConfig()
            .failoverTimeMillis(failover)
            .shardSyncIntervalMillis(1000)
            .maxLeasesToStealAtOneTime(4)
            .leasesRecoveryAuditorExecutionFrequencyMillis(5000);
    field(LeaseManagementConfig.class, "leaseCleanupConfig") // it has no setter
        .set(
            leases,
            LeaseCleanupConfig.builder()
                .leaseCleanupIntervalMillis(2000)
                .completedLeaseCleanupIntervalMillis(5000)
                .garbageLeaseCleanupIntervalMillis(60000)
                .build());
    RetrievalConfig retrieval = configs.retrievalConfig();
    if (setting("RETRIEVAL", "FANOUT").equals("POLLING")) {
      retrieval.retrievalSpecificConfig(
          new PollingConfig(setting("STREAM", null), kinesis).idleTimeBetweenReadsInMillis(500));
    }
    var coordinator = configs.coordinatorConfig().parentShardPollIntervalMillis(1000);
    String version = setting("CLIENT_VERSION", "");
    if (!version.isEmpty()) { // KCL 3.x, whose settings 2.x lacks
      Method get = LeaseManagementConfig.class.getMethod("workerUtilizationAwareAssignmentConfig");
      Object utilization = get.invoke(leases);
      set(utilization, "disableWorkerMetrics", true); // else it looks for an EC2 instance
      set(utilization, "varianceBalancingFrequency", 1);
      set(leases, "leaseAssignmentIntervalMillis", Long.valueOf(3000));
      set(leases, "dynamoDbLockBasedLeaderLeaseDurationInMillis", 20000L);
      set(leases, "dynamoDbLockBasedLeaderHeartbeatPeriodInMillis", 5000L);
      for (Class<?> type : coordinator.getClass().getDeclaredClasses()) {
        if (type.getSimpleName().equals("ClientVersionConfig")) {
          for (Object constant : type.getEnumConstants()) {
            if (constant.toString().equals(version)) {
              set(coordinator, "clientVersionConfig", constant);
            }
          }
        }
      }
    }
    coordinator.workerStateChangeListener(
        new WorkerStateChangeListener() {
          @Override
          public void onWorkerStateChange(WorkerState state) {
            print("state", state.toString(), "", "");
          }

          @Override
          public void onAllInitializationAttemptsFailed(Throwable e) {
            print("failed", String.valueOf(e), "", "");
          }
        });

    Scheduler scheduler =
        new Scheduler(
            configs.checkpointConfig(),
            coordinator,
            leases,
            configs.lifecycleConfig(),
            configs.metricsConfig()
                .metricsLevel(MetricsLevel.NONE)
                .metricsFactory(new NullMetricsFactory()),
            configs.processorConfig(),
            retrieval);
    if (!version.isEmpty()) {
      Object machine = field(Scheduler.class, "migrationStateMachine").get(scheduler);
      String flip = setting("FLIP_SECONDS", "");
      if (!flip.isEmpty()) { // no configuration has it
        field(machine.getClass(), "flipTo3XStabilizerTimeInSeconds").set(machine, Long.valueOf(flip));
      }
      Thread watch = new Thread(() -> watch(machine), "watch");
      watch.setDaemon(true);
      watch.start();
    }
    Thread run = new Thread(scheduler, "scheduler");
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  try {
                    boolean graceful =
                        scheduler.startGracefulShutdown().get(20, TimeUnit.SECONDS);
                    run.join(10000);
                    print("stopped", String.valueOf(graceful), "", "");
                  } catch (Exception e) {
                    print("stopped", String.valueOf(e), "", "");
                  }
                }));
    print("started", setting("WORKER", null), "", "");
    run.start();
    run.join();
  }

  /** Names the streams to read, from their beginning. */
  private static StreamTracker tracker(KinesisAsyncClient kinesis) {
    InitialPositionInStreamExtended position =
        InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);
    if (!severalStreams()) {
      return new SingleStreamTracker(setting("STREAM", null), position);
    }
    List<StreamConfig> streams = new ArrayList<>();
    for (String name : setting("STREAMS", null).split(",")) {
      StreamDescriptionSummary stream =
          kinesis
              .describeStreamSummary(request -> request.streamName(name))
              .join()
              .streamDescriptionSummary();
      String account = stream.streamARN().split(":")[4];
      long created = stream.streamCreationTimestamp().getEpochSecond();
      streams.add(
          new StreamConfig(
              StreamIdentifier.multiStreamInstance(account + ":" + name + ":" + created),
              position));
    }
    return new MultiStreamTracker() {
      @Override
      public List<StreamConfig> streamConfigList() {
        return new ArrayList<>(streams);
      }

      @Override
      public FormerStreamsLeasesDeletionStrategy formerStreamsLeasesDeletionStrategy() {
        return new FormerStreamsLeasesDeletionStrategy.AutoDetectionAndDeferredDeletionStrategy() {
          @Override
          public Duration waitPeriodToDeleteFormerStreams() {
            return Duration.ZERO;
          }
        };
      }
    };
  }

  private static boolean severalStreams() {
    return !setting("STREAMS", "").isEmpty();
  }

  private static String setting(String name, String otherwise) {
    String value = System.getenv(name);
    if (value == null || value.isEmpty()) {
      if (otherwise == null) {
        throw new IllegalArgumentException(name + " is not set");
      }
      return otherwise;
    }
    return value;
  }

  /** Calls the setter of that name that takes one value of that kind. */
  private static void set(Object config, String name, Object value) throws Exception {
    for (Method method : config.getClass().getMethods()) {
      if (method.getName().equals(name) && method.getParameterCount() == 1) {
        method.invoke(config, value);
        return;
      }
    }
    throw new NoSuchMethodException(name + " of " + config.getClass());
  }

  /** Prints how far this worker has come from 2.x to 3.x. */
  private static void watch(Object machine) {
    String last = "";
    while (true) {
      try {
        Thread.sleep(50);
        Method get = machine.getClass().getMethod("getCurrentClientVersion");
        String version = String.valueOf(get.invoke(machine));
        if (!version.equals(last)) {
          print("mode", "", "", version);
          last = version;
        }
      } catch (ReflectiveOperationException e) {
        // It has not begun.
      } catch (InterruptedException e) {
        return;
      }
    }
  }

  private static Field field(Class<?> type, String name) throws Exception {
    Field field = type.getDeclaredField(name);
    field.setAccessible(true);
    return field;
  }

  private static void print(String event, String shard, String sequence, String data) {
    long micros = ChronoUnit.MICROS.between(Instant.EPOCH, Instant.now());
    String line = micros + "\t" + event + "\t" + shard + "\t" + sequence + "\t" + data;
    System.out.println(line.replace('\n', ' '));
  }

  /** Makes a printer for each shard. */
  private static final class Printers implements ShardRecordProcessorFactory {
    @Override
    public ShardRecordProcessor shardRecordProcessor() {
      return new Printer("");
    }

    @Override
    public ShardRecordProcessor shardRecordProcessor(StreamIdentifier stream) {
      return new Printer(severalStreams() ? stream.serialize() + ":" : "");
    }
  }

  /** Prints each record and checkpoints after each batch. */
  private static final class Printer implements ShardRecordProcessor {
    private final String prefix;
    private String shard;
    private String last = "";

    Printer(String prefix) {
      this.prefix = prefix;
    }

    @Override
    public void initialize(InitializationInput in) {
      shard = prefix + in.shardId();
      print("initialize", shard, in.extendedSequenceNumber().sequenceNumber(), "");
    }

    @Override
    public void processRecords(ProcessRecordsInput in) {
      for (KinesisClientRecord record : in.records()) {
        last = record.sequenceNumber();
        String data = StandardCharsets.UTF_8.decode(record.data()).toString();
        print("record", shard, last, data.trim());
      }
      if (!in.records().isEmpty()) {
        checkpoint(in.checkpointer(), last);
      }
    }

    @Override
    public void leaseLost(LeaseLostInput in) {
      print("lost", shard, "", "");
    }

    @Override
    public void shardEnded(ShardEndedInput in) {
      checkpoint(in.checkpointer(), "");
      print("ended", shard, "", "");
    }

    @Override
    public void shutdownRequested(ShutdownRequestedInput in) {
      print("requested", shard, last, "");
      checkpoint(in.checkpointer(), last);
    }

    /** Checkpoints where the checkpointer stands, and says so. */
    private void checkpoint(RecordProcessorCheckpointer checkpointer, String sequence) {
      try {
        checkpointer.checkpoint();
        print("checkpoint", shard, sequence, "");
      } catch (ShutdownException e) {
        print("refused", shard, sequence, String.valueOf(e.getMessage()));
      } catch (Exception e) {
        print("refused", shard, sequence, String.valueOf(e));
      }
    }
  }
}
