//! SubscribeToShard, which no emulator serves as the service does: it streams events, ends with the shard's children, refuses a second
//! call within 5 s and takes over after that.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use actix_web::HttpResponse;
use actix_web::web::Bytes;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};

use crate::answers;
use crate::emulator::signed;
use crate::frames;
use crate::plan::FanOut;
use crate::proxy::Shared;

/// Records of one event.
const EVENT_RECORDS: u64 = 1000;
/// Between two looks of a silent subscription whether it is still silent.
const LOOK: Duration = Duration::from_millis(100);

/// Who reads which shard: (consumer, shard) to the number of the last call and when it was.
#[derive(Debug, Default)]
pub(crate) struct Subscriptions(Mutex<HashMap<(String, String), (u64, Instant)>>);

impl Subscriptions {
    /// The number of a new subscription, or none when the last call is too young.
    fn begin(&self, consumer: &str, shard: &str, takeover_after: Duration) -> Option<u64> {
        let mut held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let entry = held.entry((consumer.to_owned(), shard.to_owned()));
        let generation = match &entry {
            std::collections::hash_map::Entry::Occupied(last) if last.get().1.elapsed() < takeover_after => {
                return None;
            }
            std::collections::hash_map::Entry::Occupied(last) => last.get().0 + 1,
            std::collections::hash_map::Entry::Vacant(_) => 0,
        };
        entry.insert_entry((generation, Instant::now()));
        Some(generation)
    }

    fn is_current(&self, consumer: &str, shard: &str, generation: u64) -> bool {
        let held = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(&(consumer.to_owned(), shard.to_owned())).is_some_and(|last| last.0 == generation)
    }
}

/// A running subscription.
struct Subscription {
    shared: Arc<Shared>,
    consumer: String,
    shard: String,
    generation: u64,
    began: Instant,
    iterator: String,
    /// From where the caller goes on after the last event.
    continuation: String,
    state: State,
}

#[derive(PartialEq)]
enum State {
    /// Nothing was sent yet.
    Fresh,
    Open,
    /// Silent until the plan says otherwise.
    HalfOpen,
    Ended,
}

/// What a call needs of its request.
struct Asked {
    consumer: String,
    stream: String,
    shard: String,
    position: Value,
}

/// Answers a call of SubscribeToShard.
pub(crate) async fn subscribe(shared: Arc<Shared>, body: &[u8]) -> HttpResponse {
    let Some(asked) = asked(body) else {
        return answers::error(
            false,
            400,
            "ValidationException",
            "ConsumerARN, ShardId and StartingPosition are needed",
        );
    };
    let consumer = json!({ "ConsumerARN": asked.consumer });
    if let Err(refused) = shared.ask("DescribeStreamConsumer", &consumer).await {
        return refused.answer();
    }
    let (iterator, continuation) = match shared.place(&asked).await {
        Ok(place) => place,
        Err(refused) => return refused.answer(),
    };
    let takeover_after = Duration::from_millis(shared.faults.fan_out().takeover_after_ms);
    let Some(generation) = shared.subscriptions.begin(&asked.consumer, &asked.shard, takeover_after) else {
        let message =
            format!("Another active subscription exists for this consumer: {} {}", asked.consumer, asked.shard);
        return answers::error(false, 400, "ResourceInUseException", &message);
    };
    let Asked { consumer, shard, .. } = asked;
    let began = Instant::now();
    let subscription =
        Subscription { shared, consumer, shard, generation, began, iterator, continuation, state: State::Fresh };
    let accepted = stream::iter([frames::accepted().map_err(io::Error::other)]);
    let events = stream::unfold(subscription, |mut subscription| async move {
        let frame = subscription.next().await?;
        Some((frame, subscription))
    });
    HttpResponse::Ok().content_type("application/vnd.amazon.eventstream").streaming(accepted.chain(events))
}

fn asked(body: &[u8]) -> Option<Asked> {
    let mut body: Value = serde_json::from_slice(body).ok()?;
    let consumer = body.get("ConsumerARN")?.as_str()?.to_owned();
    let shard = body.get("ShardId")?.as_str()?.to_owned();
    let stream = consumer.split_once(":stream/")?.1.split('/').next()?.to_owned();
    Some(Asked { stream, consumer, shard, position: body.get_mut("StartingPosition")?.take() })
}

impl Subscription {
    /// The next frame, once there is one; none at the end.
    async fn next(&mut self) -> Option<io::Result<Bytes>> {
        loop {
            let settings = self.shared.faults.fan_out();
            if self.state == State::Ended || self.began.elapsed() >= Duration::from_millis(settings.life_ms) {
                return None;
            }
            if !self.shared.subscriptions.is_current(&self.consumer, &self.shard, self.generation) {
                self.state = State::Ended;
                let message = json!({ "message": "Another subscription has taken over" });
                return Some(frames::exception("ResourceInUseException", &message).map_err(io::Error::other));
            }
            match (settings.half_open, &self.state) {
                (true, _) => {
                    self.state = State::HalfOpen;
                    tokio::time::sleep(LOOK).await;
                }
                (false, State::HalfOpen) => return None,
                (false, _) => {
                    if let Some(frame) = self.step(settings).await {
                        return Some(frame);
                    }
                }
            }
        }
    }

    /// Reads on; gives an event, or nothing when the wait for one has to look around again.
    async fn step(&mut self, settings: FanOut) -> Option<io::Result<Bytes>> {
        let asked = json!({ "ShardIterator": self.iterator, "Limit": EVENT_RECORDS });
        let mut answer = match self.shared.ask("GetRecords", &asked).await {
            Ok(answer) => answer,
            Err(refused) => {
                self.state = State::Ended;
                let message = json!({ "message": refused.message });
                return Some(frames::exception("InternalFailureException", &message).map_err(io::Error::other));
            }
        };
        let records = answer.get_mut("Records").map(Value::take).unwrap_or_else(|| json!([]));
        let is_empty = records.as_array().is_none_or(Vec::is_empty);
        if let Some(last) = records.as_array().and_then(|records| records.last()?.get("SequenceNumber")?.as_str()) {
            last.clone_into(&mut self.continuation);
        }
        let behind = answer.get("MillisBehindLatest").cloned().unwrap_or_else(|| json!(0));
        let mut event = json!({ "Records": records, "MillisBehindLatest": behind });
        match answer.get("NextShardIterator").and_then(Value::as_str) {
            Some(next) => {
                next.clone_into(&mut self.iterator);
                event["ContinuationSequenceNumber"] = json!(self.continuation);
                // The first event comes at once, so that the caller sees that it is in.
                if is_empty && self.state == State::Open && !self.quiet(settings).await {
                    return None;
                }
                self.state = State::Open;
            }
            None => {
                self.state = State::Ended;
                event["ChildShards"] = answer.get_mut("ChildShards").map(Value::take).unwrap_or_else(|| json!([]));
            }
        }
        Some(frames::event(&event).map_err(io::Error::other))
    }

    /// Waits for the time between two empty events; false when something has changed meanwhile that ends the subscription.
    async fn quiet(&self, settings: FanOut) -> bool {
        let until = Instant::now() + Duration::from_millis(settings.event_ms);
        while Instant::now() < until {
            let is_current = self.shared.subscriptions.is_current(&self.consumer, &self.shard, self.generation);
            if !is_current || self.shared.faults.fan_out() != settings {
                return false;
            }
            tokio::time::sleep(LOOK.min(until.saturating_duration_since(Instant::now()))).await;
        }
        true
    }
}

/// What the emulator refused.
struct Refused {
    status: u16,
    name: String,
    message: String,
}

impl Refused {
    fn answer(&self) -> HttpResponse {
        answers::error(false, self.status, &self.name, &self.message)
    }
}

impl Shared {
    /// Where a subscription begins: an iterator, and the sequence number to go on from if nothing comes.
    async fn place(&self, asked: &Asked) -> Result<(String, String), Refused> {
        let kind = asked.position.get("Type").and_then(Value::as_str).unwrap_or("LATEST");
        let mut request = json!({ "StreamName": asked.stream, "ShardId": asked.shard, "ShardIteratorType": kind });
        if let Some(sequence) = asked.position.get("SequenceNumber") {
            request["StartingSequenceNumber"] = sequence.clone();
        }
        if let Some(timestamp) = asked.position.get("Timestamp") {
            request["Timestamp"] = timestamp.clone();
        }
        // Taken before the shard is looked through: what comes meanwhile is read, not passed over.
        let iterator = self.iterator(&request).await?;
        let continuation = match asked.position.get("SequenceNumber").and_then(Value::as_str) {
            Some(sequence) => sequence.to_owned(),
            None => self.last(asked, kind != "LATEST").await?,
        };
        Ok((iterator, continuation))
    }

    async fn iterator(&self, request: &Value) -> Result<String, Refused> {
        let answer = self.ask("GetShardIterator", request).await?;
        Ok(answer.get("ShardIterator").and_then(Value::as_str).unwrap_or_default().to_owned())
    }

    /// The sequence number of a shard's last record, or with which the shard starts.
    async fn last(&self, asked: &Asked, is_start: bool) -> Result<String, Refused> {
        let shards = self.ask("ListShards", &json!({ "StreamName": asked.stream })).await?;
        let shard = shards["Shards"]
            .as_array()
            .and_then(|shards| shards.iter().find(|shard| shard["ShardId"] == asked.shard.as_str()));
        let start = shard.and_then(|shard| shard["SequenceNumberRange"]["StartingSequenceNumber"].as_str());
        let mut last = start.unwrap_or_default().to_owned();
        if is_start {
            return Ok(last);
        }
        let request =
            json!({ "StreamName": asked.stream, "ShardId": asked.shard, "ShardIteratorType": "TRIM_HORIZON" });
        let mut iterator = self.iterator(&request).await?;
        loop {
            let mut answer = self.ask("GetRecords", &json!({ "ShardIterator": iterator })).await?;
            let record =
                answer["Records"].as_array().and_then(|records| records.last()?.get("SequenceNumber")?.as_str());
            match record {
                Some(sequence) => sequence.clone_into(&mut last),
                None => return Ok(last),
            }
            match answer["NextShardIterator"].take() {
                Value::String(next) => iterator = next,
                _ => return Ok(last),
            }
        }
    }

    /// Asks the emulator of Kinesis, by the plan's leave or not.
    async fn ask(&self, operation: &str, body: &Value) -> Result<Value, Refused> {
        let unreachable =
            |error: reqwest::Error| Refused { status: 502, name: "BadGateway".to_owned(), message: error.to_string() };
        let target = format!("Kinesis_20131202.{operation}");
        let asked = signed(self.client.post(&self.upstream), &target).body(body.to_string());
        let answer = asked.send().await.map_err(unreachable)?;
        let status = answer.status().as_u16();
        let body: Value = serde_json::from_slice(&answer.bytes().await.map_err(unreachable)?).unwrap_or_default();
        if status == 200 {
            return Ok(body);
        }
        let name = body["__type"].as_str().and_then(|name| name.rsplit('#').next()).unwrap_or("InternalFailure");
        let message = body["message"].as_str().unwrap_or_default();
        Err(Refused { status, name: name.to_owned(), message: message.to_owned() })
    }
}
