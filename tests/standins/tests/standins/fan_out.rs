//! SubscribeToShard, through Amazon's SDK.

use std::time::{Duration, Instant};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::operation::subscribe_to_shard::{SubscribeToShardError, SubscribeToShardOutput};
use aws_sdk_kinesis::types::{
    ConsumerStatus, ShardIteratorType, StartingPosition, SubscribeToShardEvent, SubscribeToShardEventStream,
};
use snowmelt_standins::{FanOut, Service, Standins};

use crate::kinesis::{put, split, stream};
use crate::{kinesis_client, standins};

/// A registered consumer of a new stream.
async fn consumer(standins: &Standins) -> (Client, String, String) {
    let client = kinesis_client(standins.endpoint(Service::Kinesis).unwrap());
    let stream = stream(&client).await;
    let described = client.describe_stream_summary().stream_name(&stream).send().await.unwrap();
    let arn = described.stream_description_summary().unwrap().stream_arn().to_owned();
    let made = client.register_stream_consumer().stream_arn(arn).consumer_name("app").send().await.unwrap();
    let consumer = made.consumer().unwrap().consumer_arn().to_owned();
    let began = Instant::now();
    loop {
        let seen = client.describe_stream_consumer().consumer_arn(&consumer).send().await.unwrap();
        if *seen.consumer_description().unwrap().consumer_status() == ConsumerStatus::Active {
            return (client, stream, consumer);
        }
        assert!(began.elapsed() < Duration::from_secs(20), "the consumer does not become active");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

async fn subscribe(
    client: &Client,
    consumer: &str,
    kind: ShardIteratorType,
    sequence: Option<String>,
) -> Result<SubscribeToShardOutput, SubscribeToShardError> {
    let position = StartingPosition::builder().r#type(kind).set_sequence_number(sequence).build().unwrap();
    let asked = client.subscribe_to_shard().consumer_arn(consumer).shard_id("shardId-000000000000");
    asked.starting_position(position).send().await.map_err(|error| error.into_service_error())
}

/// The next event; none at the end, and the error's name where there is one.
async fn next(subscription: &mut SubscribeToShardOutput) -> Result<Option<SubscribeToShardEvent>, String> {
    match subscription.event_stream.recv().await {
        Ok(Some(SubscribeToShardEventStream::SubscribeToShardEvent(event))) => Ok(Some(event)),
        Ok(Some(other)) => Err(format!("{other:?}")),
        Ok(None) => Ok(None),
        Err(error) => Err(format!("{:?}", error.into_service_error())),
    }
}

fn texts(event: &SubscribeToShardEvent) -> Vec<String> {
    event.records().iter().map(|record| String::from_utf8(record.data().as_ref().to_vec()).unwrap()).collect()
}

#[tokio::test]
async fn a_subscription_streams_what_comes_and_ends_with_the_children() {
    let Some((standins, _turn)) = standins().await else { return };
    let (client, stream, consumer) = consumer(standins).await;
    put(&client, &stream, "a").await.unwrap();
    let mut subscription = subscribe(&client, &consumer, ShardIteratorType::TrimHorizon, None).await.unwrap();
    assert_eq!(texts(&next(&mut subscription).await.unwrap().unwrap()), ["a"]);
    let last = put(&client, &stream, "b").await.unwrap();
    split(&client, &stream).await;
    let mut read = Vec::new();
    let mut continuation = String::new();
    let children = loop {
        let event = next(&mut subscription).await.unwrap().expect("the end is told");
        read.extend(texts(&event));
        if !event.child_shards().is_empty() {
            assert_eq!(event.continuation_sequence_number(), "");
            break event.child_shards().len();
        }
        continuation = event.continuation_sequence_number().to_owned();
    };
    assert_eq!((read, children), (vec!["b".to_owned()], 2));
    assert_eq!(next(&mut subscription).await, Ok(None));
    assert!(continuation <= last, "{continuation} is not past {last}");
}

#[tokio::test]
async fn a_second_call_is_refused_at_first_and_takes_over_later() {
    let Some((standins, _turn)) = standins().await else { return };
    let faults = standins.faults(Service::Kinesis).unwrap();
    faults.set_fan_out(FanOut { takeover_after_ms: 700, event_ms: 100, ..FanOut::default() });
    let (client, stream, consumer) = consumer(standins).await;
    let mut first = subscribe(&client, &consumer, ShardIteratorType::Latest, None).await.unwrap();
    let event = next(&mut first).await.unwrap().unwrap();
    let from = event.continuation_sequence_number().to_owned();
    let refused = subscribe(&client, &consumer, ShardIteratorType::AfterSequenceNumber, Some(from.clone())).await;
    assert!(refused.unwrap_err().is_resource_in_use_exception());
    tokio::time::sleep(Duration::from_millis(800)).await;
    put(&client, &stream, "a").await.unwrap();
    let mut second = subscribe(&client, &consumer, ShardIteratorType::AfterSequenceNumber, Some(from)).await.unwrap();
    let error = loop {
        match next(&mut first).await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it ended without an error"),
            Err(error) => break error,
        }
    };
    assert!(error.contains("ResourceInUse"), "{error}");
    assert_eq!(texts(&next(&mut second).await.unwrap().unwrap()), ["a"]);
}

#[tokio::test]
async fn a_subscription_ends_after_its_life_and_goes_on_from_its_continuation() {
    let Some((standins, _turn)) = standins().await else { return };
    let faults = standins.faults(Service::Kinesis).unwrap();
    faults.set_fan_out(FanOut { takeover_after_ms: 0, event_ms: 100, life_ms: 600, half_open: false });
    let (client, stream, consumer) = consumer(standins).await;
    put(&client, &stream, "old").await.unwrap();
    let mut first = subscribe(&client, &consumer, ShardIteratorType::Latest, None).await.unwrap();
    let (began, mut from) = (Instant::now(), String::new());
    while let Some(event) = next(&mut first).await.unwrap() {
        assert!(texts(&event).is_empty());
        event.continuation_sequence_number().clone_into(&mut from);
    }
    assert!(began.elapsed() >= Duration::from_millis(500));
    put(&client, &stream, "new").await.unwrap();
    let mut second = subscribe(&client, &consumer, ShardIteratorType::AfterSequenceNumber, Some(from)).await.unwrap();
    assert_eq!(texts(&next(&mut second).await.unwrap().unwrap()), ["new"]);
}

#[tokio::test]
async fn a_half_open_subscription_is_silent() {
    let Some((standins, _turn)) = standins().await else { return };
    let faults = standins.faults(Service::Kinesis).unwrap();
    faults.set_fan_out(FanOut { event_ms: 50, half_open: true, ..FanOut::default() });
    let (client, stream, consumer) = consumer(standins).await;
    put(&client, &stream, "a").await.unwrap();
    let mut subscription = subscribe(&client, &consumer, ShardIteratorType::TrimHorizon, None).await.unwrap();
    let silent = tokio::time::timeout(Duration::from_millis(600), next(&mut subscription)).await;
    assert!(silent.is_err(), "{silent:?}");
    faults.set_fan_out(FanOut::default());
    assert_eq!(next(&mut subscription).await, Ok(None));
}

#[tokio::test]
async fn a_consumer_that_is_not_registered_is_refused() {
    let Some((standins, _turn)) = standins().await else { return };
    let (client, _, consumer) = consumer(standins).await;
    let other = consumer.replace("consumer/app", "consumer/other");
    let refused = subscribe(&client, &other, ShardIteratorType::Latest, None).await;
    assert!(refused.unwrap_err().is_resource_not_found_exception());
}
