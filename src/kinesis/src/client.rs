//! The SDK's client.

use aws_config::SdkConfig;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Builder, Region, StalledStreamProtectionConfig};

use crate::KinesisOptions;

/// What the environment says: region, credentials, proxies.
pub(crate) async fn environment(options: &KinesisOptions) -> SdkConfig {
    let mut loader = aws_config::defaults(BehaviorVersion::latest());
    if let Some(region) = &options.region {
        loader = loader.region(Region::new(region.clone()));
    }
    loader.load().await
}

/// A client: one attempt a call, each with its time-outs.
pub(crate) fn client(shared: &SdkConfig, options: &KinesisOptions) -> Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(options.connect_timeout)
        .operation_attempt_timeout(options.attempt_timeout)
        .build();
    let mut config = Builder::from(shared)
        .retry_config(RetryConfig::disabled())
        .timeout_config(timeouts)
        // A subscription is silent for seconds when its shard is; its reader watches it.
        .stalled_stream_protection(StalledStreamProtectionConfig::disabled());
    if let Some(region) = &options.region {
        config = config.region(Region::new(region.clone()));
    } else if shared.region().is_none() && options.endpoint.is_some() {
        // A service of one's own has no regions, but requests are signed for one.
        config = config.region(Region::new("us-east-1"));
    }
    if let Some(endpoint) = &options.endpoint {
        config = config.endpoint_url(endpoint);
    }
    Client::from_conf(config.build())
}
