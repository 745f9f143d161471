//! Streams and leases of AWS, as a plan wants them.

use std::sync::Arc;
use std::time::Duration;

use snowmelt_dynamodb::{DynamoLeases, LeaseOptions};
use snowmelt_kinesis::{KinesisOptions, KinesisStreams, Order, Reading};
use snowmelt_leases::fleet::Beside;
use snowmelt_streams::{StreamError, Streams};

use crate::definition::Plan;
use crate::definition::model::{self, Aws};
use crate::trouble::{Outcome, Trouble};

/// How long all streams together may take to answer at the start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Connects to Kinesis. Nothing is sent yet.
pub async fn streams(aws: &Aws) -> KinesisStreams {
    let reading = match aws.reading {
        model::Reading::Poll { .. } => Reading::Poll,
        model::Reading::FanOut { fall_back } => Reading::FanOut { fall_back },
    };
    let mut options = KinesisOptions {
        region: aws.region.clone(),
        endpoint: aws.kinesis_endpoint.clone(),
        reading,
        order: if aws.keep_order { Order::PerKey } else { Order::None },
        ..KinesisOptions::default()
    };
    if let model::Reading::Poll { every } = aws.reading {
        options.idle = every;
    }
    KinesisStreams::open(options).await
}

/// Connects to DynamoDB. Nothing is sent yet.
pub async fn leases(aws: &Aws) -> Outcome<DynamoLeases> {
    let defaults = LeaseOptions::default();
    let opened = DynamoLeases::open(LeaseOptions {
        region: aws.region.clone(),
        endpoint: aws.dynamodb_endpoint.clone(),
        failover: aws.lease,
        max_leases: aws.max_leases.unwrap_or(defaults.max_leases),
        steal_at_once: aws.steal_at_once.unwrap_or(defaults.steal_at_once),
        beside_leader: match aws.live_fleet {
            model::LiveFleet::Wait => Beside::Wait,
            model::LiveFleet::Share => Beside::Share,
        },
        ..defaults
    });
    opened.await.map_err(|error| Trouble::caused("leases", error))
}

/// This worker's name: two processes with one name would take each other's leases for their own.
pub fn worker(aws: &Aws, host: &str) -> String {
    aws.worker.clone().unwrap_or_else(|| format!("{host}-{:08x}", fastrand::u32(..)))
}

/// Whether every stream of the plan is there; which are missing is told with what to do.
pub async fn look(plan: &Plan, streams: &Arc<dyn Streams>) -> Outcome {
    let looking = async {
        let mut missing = Vec::new();
        for (name, _) in &plan.streams {
            match streams.describe(name).await {
                Ok(_) => {}
                Err(StreamError::StreamNotFound { .. }) => missing.push(name.as_str()),
                Err(error) => return Err(Trouble::caused(&format!("stream {name}"), error)),
            }
        }
        Ok(missing)
    };
    let missing = match tokio::time::timeout(PATIENCE, looking).await {
        Ok(missing) => missing?,
        Err(_) => return Err(Trouble::Machine(format!("Kinesis did not answer within {} s", PATIENCE.as_secs()))),
    };
    if missing.is_empty() {
        return Ok(());
    }
    Err(Trouble::Machine(format!(
        "streams that do not exist: {}; `snowmelt setup` with the same files makes them",
        missing.join(", ")
    )))
}
