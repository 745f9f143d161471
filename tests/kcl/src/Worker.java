import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.http.Protocol;
import software.amazon.awssdk.http.nio.netty.NettyNioAsyncHttpClient;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.common.StreamIdentifier;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.exceptions.KinesisClientLibException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.MetricsLevel;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * A worker of the Kinesis Client Library for tests: reads a stream by polling, prints a line of JSON for each record and each event of
 * a shard, and checkpoints. A record is printed before its checkpoint, so what is checkpointed was seen. SIGTERM ends it gracefully.
 *
 * <p>Arguments are key=value: app, stream, worker, kinesis and dynamodb (endpoints); failover_ms (10000), checkpoint_ms (1000; 0 is
 * after each batch), idle_ms (250), steal (1), position (TRIM_HORIZON), mode (2x or 3x; of KCL 3 only).
 */
public final class Worker {
  static final Map<String, String> SETTINGS = new HashMap<>();

  public static void main(String[] arguments) throws Exception {
    for (String argument : arguments) {
      String[] pair = argument.split("=", 2);
      SETTINGS.put(pair[0], pair[1]);
    }
    // CBOR would keep the tests' proxy from seeing and changing what is said.
    System.setProperty("aws.cborEnabled", "false");
    var credentials = StaticCredentialsProvider.create(AwsBasicCredentials.create("test", "test"));
    var http = NettyNioAsyncHttpClient.builder().protocol(Protocol.HTTP1_1).maxConcurrency(64);
    var kinesis =
        KinesisAsyncClient.builder()
            .httpClientBuilder(http)
            .endpointOverride(URI.create(setting("kinesis")))
            .region(Region.US_EAST_1)
            .credentialsProvider(credentials)
            .build();
    var dynamo =
        DynamoDbAsyncClient.builder()
            .endpointOverride(URI.create(setting("dynamodb")))
            .region(Region.US_EAST_1)
            .credentialsProvider(credentials)
            .build();
    // Never called: metrics are off.
    var cloudWatch =
        CloudWatchAsyncClient.builder()
            .endpointOverride(URI.create("http://127.0.0.1:9"))
            .region(Region.US_EAST_1)
            .credentialsProvider(credentials)
            .build();
    var position =
        InitialPositionInStreamExtended.newInitialPosition(
            InitialPositionInStream.valueOf(SETTINGS.getOrDefault("position", "TRIM_HORIZON")));
    var configs =
        new ConfigsBuilder(
            new SingleStreamTracker(StreamIdentifier.singleStreamInstance(setting("stream")), position),
            setting("app"), kinesis, dynamo, cloudWatch, setting("worker"), Shard::new);
    var leases =
        configs
            .leaseManagementConfig()
            .failoverTimeMillis(number("failover_ms", 10_000))
            .maxLeasesToStealAtOneTime((int) number("steal", 1))
            .initialPositionInStream(position)
            .shardSyncIntervalMillis(2_000);
    var coordinator = configs.coordinatorConfig().parentShardPollIntervalMillis(500);
    Generation.configure(coordinator, leases, SETTINGS);
    var polling =
        new PollingConfig(setting("stream"), kinesis)
            .idleTimeBetweenReadsInMillis(number("idle_ms", 250))
            .usePollingConfigIdleTimeValue(true)
            .kinesisRequestTimeout(Duration.ofSeconds(10));
    var scheduler =
        new Scheduler(
            configs.checkpointConfig(),
            coordinator,
            leases,
            configs.lifecycleConfig().taskBackoffTimeMillis(200),
            configs.metricsConfig().metricsLevel(MetricsLevel.NONE).metricsFactory(new NullMetricsFactory()),
            configs.processorConfig(),
            configs.retrievalConfig().retrievalSpecificConfig(polling));
    Runtime.getRuntime()
        .addShutdownHook(
            new Thread(
                () -> {
                  try {
                    scheduler.startGracefulShutdown().get(20, TimeUnit.SECONDS);
                    say("stopped", "");
                  } catch (Exception e) {
                    say("not_stopped", field("reason", e.toString()));
                  }
                }));
    say("started", field("worker", setting("worker")));
    scheduler.run();
  }

  static String setting(String key) {
    String value = SETTINGS.get(key);
    if (value == null) {
      throw new IllegalArgumentException("missing: " + key + "=");
    }
    return value;
  }

  static long number(String key, long usual) {
    return SETTINGS.containsKey(key) ? Long.parseLong(SETTINGS.get(key)) : usual;
  }

  /** Prints a line at once. */
  static void say(String event, String fields) {
    say(List.of(line(event, fields)));
  }

  static synchronized void say(List<String> lines) {
    byte[] text = (String.join("\n", lines) + "\n").getBytes(StandardCharsets.UTF_8);
    System.out.write(text, 0, text.length);
    System.out.flush();
  }

  static String line(String event, String fields) {
    return "{\"event\":\"" + event + "\",\"at\":" + System.currentTimeMillis() + fields + "}";
  }

  static String field(String name, String value) {
    StringBuilder escaped = new StringBuilder();
    for (char c : value.toCharArray()) {
      if (c == '"' || c == '\\') {
        escaped.append('\\').append(c);
      } else if (c < ' ') {
        escaped.append(String.format("\\u%04x", (int) c));
      } else {
        escaped.append(c);
      }
    }
    return ",\"" + name + "\":\"" + escaped + "\"";
  }

  /** One shard, as long as this worker holds its lease. */
  private static final class Shard implements ShardRecordProcessor {
    private String shard;
    private String unstored;
    private long storedAt = System.nanoTime();

    @Override
    public void initialize(InitializationInput input) {
      shard = input.shardId();
      say("taken", field("shard", shard) + field("sequence", input.extendedSequenceNumber().sequenceNumber()));
    }

    @Override
    public void processRecords(ProcessRecordsInput input) {
      if (!input.records().isEmpty()) {
        say(input.records().stream().map(this::line).toList());
        unstored = input.records().get(input.records().size() - 1).sequenceNumber();
      }
      if (unstored != null && System.nanoTime() - storedAt >= number("checkpoint_ms", 1000) * 1_000_000) {
        store(input.checkpointer());
      }
    }

    private String line(KinesisClientRecord record) {
      byte[] data = new byte[record.data().remaining()];
      record.data().duplicate().get(data);
      return Worker.line(
          "record",
          field("shard", shard)
              + field("sequence", record.sequenceNumber())
              + ",\"sub\":" + record.subSequenceNumber()
              + field("key", record.partitionKey() == null ? "" : record.partitionKey())
              + field("data", Base64.getEncoder().encodeToString(data)));
    }

    private void store(RecordProcessorCheckpointer checkpointer) {
      storedAt = System.nanoTime();
      String sequence = unstored;
      try {
        checkpointer.checkpoint();
        unstored = null;
        say("checkpoint", field("shard", shard) + field("sequence", String.valueOf(sequence)));
      } catch (KinesisClientLibException e) {
        // The next batch tries again; a lost lease will be told.
        say("not_stored", field("shard", shard) + field("reason", e.toString()));
      }
    }

    @Override
    public void leaseLost(LeaseLostInput input) {
      // A shard that waited for its parents is lost before it was begun.
      if (shard != null) {
        say("lost", field("shard", shard));
      }
    }

    @Override
    public void shardEnded(ShardEndedInput input) {
      store(input.checkpointer());
      say("ended", field("shard", shard));
    }

    @Override
    public void shutdownRequested(ShutdownRequestedInput input) {
      store(input.checkpointer());
      say("shutdown", field("shard", shard));
    }
  }
}
