//! Registering a consumer (spec 11.1).

use std::time::Duration;

use aws_sdk_kinesis::types::ConsumerStatus;
use tokio::time::{Instant, sleep};

use crate::admin::persist;
use crate::failure::{Failure, Kind};
use crate::metrics::call;
use crate::streams::KinesisStreams;

const LEAST_WAIT: Duration = Duration::from_millis(200);
const MOST_WAIT: Duration = Duration::from_secs(1);

impl KinesisStreams {
    /// The ARN of an active consumer named `application`, which is registered if there is none. `gone`: an ARN that the service
    /// no longer knows. It is never deregistered: the others of the fleet use it.
    pub(crate) async fn consumer(
        &self,
        stream: &str,
        application: &str,
        gone: Option<&str>,
    ) -> Result<String, Failure> {
        // Held all the while: the readers of a stream's shards begin together, and one asking is enough.
        let mut known = self.consumers().lock().await;
        let key = (stream.to_owned(), application.to_owned());
        if let Some(arn) = known.get(&key).filter(|arn| gone != Some(arn.as_str())) {
            return Ok(arn.clone());
        }
        let arn = self.active_consumer(stream, application).await?;
        known.insert(key, arn.clone());
        Ok(arn)
    }

    async fn active_consumer(&self, stream: &str, application: &str) -> Result<String, Failure> {
        let stream_arn = self.summary(stream).await?.arn;
        let patience = self.options().active_timeout;
        let until = Instant::now() + patience;
        let mut wait = LEAST_WAIT;
        loop {
            let described = persist(false, || async {
                let request = self.client().describe_stream_consumer().stream_arn(&stream_arn);
                call!("DescribeStreamConsumer", request.consumer_name(application))
            });
            match described.await {
                Ok(answer) => {
                    let consumer = answer
                        .consumer_description
                        .ok_or_else(|| Failure::bad_answer("DescribeStreamConsumer gave no consumer"))?;
                    if consumer.consumer_status == ConsumerStatus::Active {
                        return Ok(consumer.consumer_arn);
                    }
                }
                Err(failure) if failure.kind == Kind::NotFound => {
                    let registered = persist(false, || async {
                        let request = self.client().register_stream_consumer().stream_arn(&stream_arn);
                        call!("RegisterStreamConsumer", request.consumer_name(application)).map(drop)
                    });
                    match registered.await {
                        // Another worker was quicker.
                        Err(failure) if failure.kind == Kind::InUse => {}
                        registered => registered?,
                    }
                }
                Err(failure) => return Err(failure),
            }
            if Instant::now() + wait > until {
                let reason = format!("consumer {application} is not active after {} s", patience.as_secs());
                return Err(Failure::timeout(reason));
            }
            sleep(wait.mul_f64(0.5 + fastrand::f64() / 2.0)).await;
            wait = (wait * 2).min(MOST_WAIT);
        }
    }
}
