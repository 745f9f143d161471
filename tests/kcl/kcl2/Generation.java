import java.util.Map;
import software.amazon.kinesis.coordinator.CoordinatorConfig;
import software.amazon.kinesis.leases.LeaseManagementConfig;

/** What KCL 2 needs besides: nothing. */
final class Generation {
  private Generation() {}

  static void configure(CoordinatorConfig coordinator, LeaseManagementConfig leases, Map<String, String> settings) {}
}
