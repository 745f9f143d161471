import java.util.Map;
import software.amazon.kinesis.coordinator.CoordinatorConfig;
import software.amazon.kinesis.coordinator.CoordinatorConfig.ClientVersionConfig;
import software.amazon.kinesis.leases.LeaseManagementConfig;

/** What KCL 3 needs besides: which client it is, and a leader that is found within a test's time. */
final class Generation {
  private Generation() {}

  static void configure(CoordinatorConfig coordinator, LeaseManagementConfig leases, Map<String, String> settings) {
    boolean isNative = settings.getOrDefault("mode", "2x").equals("3x");
    coordinator.clientVersionConfig(
        isNative
            ? ClientVersionConfig.CLIENT_VERSION_CONFIG_3X
            : ClientVersionConfig.CLIENT_VERSION_CONFIG_COMPATIBLE_WITH_2X);
    // A laptop's CPU says nothing about a fleet; empty rows are written all the same, as Snowplow's loaders do it.
    leases.workerUtilizationAwareAssignmentConfig().disableWorkerMetrics(true).workerMetricsReporterFreqInMillis(2_000);
    leases.dynamoDbLockBasedLeaderLeaseDurationInMillis(10_000).dynamoDbLockBasedLeaderHeartbeatPeriodInMillis(2_000);
  }
}
