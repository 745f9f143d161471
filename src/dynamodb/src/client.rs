//! Two clients: renewals have connections of their own, which no scan and no checkpoint can hold up.

use std::time::Duration;

use aws_config::timeout::TimeoutConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::config::retry::RetryConfig;

use crate::options::LeaseOptions;

/// Both clients. Clones share connections.
#[derive(Debug, Clone)]
pub struct Clients {
    /// For renewals.
    pub renewals: Client,
    /// For everything else.
    pub others: Client,
}

impl Clients {
    /// Clients of the service that `options` name; credentials come from the SDK's default chain. Nothing is sent yet.
    pub async fn open(options: &LeaseOptions) -> Self {
        Self::of(&aws_config::defaults(BehaviorVersion::latest()).load().await, options)
    }

    /// Clients with a configuration that is there already, but for what `options` name, attempts and time-outs.
    pub fn of(shared: &SdkConfig, options: &LeaseOptions) -> Self {
        Self {
            renewals: client(shared, options, options.failover / 4),
            others: client(shared, options, options.failover / 3),
        }
    }
}

/// A client with a pool of its own, as the SDK makes one for each.
fn client(shared: &SdkConfig, options: &LeaseOptions, attempt: Duration) -> Client {
    let timeouts = TimeoutConfig::builder().connect_timeout(attempt / 2).operation_attempt_timeout(attempt).build();
    // An attempt that takes longer has no time left for another one before a lease runs out. Attempts again are ours: only we know
    // what a write that may have landed means.
    let retries = RetryConfig::disabled();
    let mut config = aws_sdk_dynamodb::config::Builder::from(shared).timeout_config(timeouts).retry_config(retries);
    if let Some(endpoint) = &options.endpoint {
        config = config.endpoint_url(endpoint);
    }
    let region = options.region.clone().map(Region::new).or_else(|| shared.region().cloned());
    // A service of one's own has no regions, but requests are signed for one.
    let own = (options.endpoint.is_some() || shared.endpoint_url().is_some()).then(|| Region::new("us-east-1"));
    Client::from_conf(config.region(region.or(own)).build())
}
