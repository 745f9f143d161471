//! A service of our own that answers as a test says: what no emulator does.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_smithy_types::event_stream::{Header, HeaderValue, Message};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep};

/// One call as it came in.
#[derive(Debug, Clone)]
pub struct Call {
    pub action: String,
    pub body: Value,
    pub at: Instant,
}

impl Call {
    pub fn text(&self, field: &str) -> &str {
        self.body[field].as_str().unwrap_or_default()
    }
}

/// What is answered.
pub enum Answer {
    Json(Value),
    /// An error of the service.
    Error(&'static str),
    Status(u16, &'static str),
    /// Half an answer, then the connection is cut.
    Cut,
    /// Later.
    Slow(Duration, Value),
    Events(Vec<Frame>),
}

/// What is sent on a subscription.
pub enum Frame {
    Event(Value),
    Exception(&'static str),
    Pause(Duration),
    /// Nothing more comes, and it does not end.
    Silence,
}

pub struct Canned {
    pub endpoint: String,
    calls: Arc<Mutex<Vec<Call>>>,
    /// Subscriptions whose other side is gone.
    gone: Arc<Mutex<usize>>,
}

impl Canned {
    /// `answer` is given the call and how many of its action came before.
    pub async fn start(answer: impl Fn(&Call, usize) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let calls = Arc::new(Mutex::new(Vec::new()));
        let gone = Arc::new(Mutex::new(0));
        let answer: Answering = Arc::new(answer);
        let (of_server, of_gone) = (Arc::clone(&calls), Arc::clone(&gone));
        tokio::spawn(async move {
            while let Ok((connection, _)) = listener.accept().await {
                let (calls, gone, answer) = (Arc::clone(&of_server), Arc::clone(&of_gone), Arc::clone(&answer));
                tokio::spawn(async move { serve(connection, calls, gone, answer).await });
            }
        });
        Self { endpoint, calls, gone }
    }

    pub fn calls(&self, action: &str) -> Vec<Call> {
        self.calls.lock().unwrap().iter().filter(|call| call.action == action).cloned().collect()
    }

    pub fn gone(&self) -> usize {
        *self.gone.lock().unwrap()
    }
}

type Answering = Arc<dyn Fn(&Call, usize) -> Answer + Send + Sync>;

async fn serve(
    mut connection: TcpStream,
    calls: Arc<Mutex<Vec<Call>>>,
    gone: Arc<Mutex<usize>>,
    answer: Answering,
) -> Option<()> {
    let mut buffer = Vec::new();
    loop {
        let call = read_call(&mut connection, &mut buffer).await?;
        let answer = {
            let mut calls = calls.lock().unwrap();
            let before = calls.iter().filter(|earlier: &&Call| earlier.action == call.action).count();
            calls.push(call.clone());
            answer(&call, before)
        };
        match answer {
            Answer::Json(value) => respond(&mut connection, 200, &value.to_string()).await?,
            Answer::Slow(wait, value) => {
                sleep(wait).await;
                respond(&mut connection, 200, &value.to_string()).await?;
            }
            Answer::Error(code) => {
                let body = json!({"__type": code, "message": "as the test says"});
                respond(&mut connection, 400, &body.to_string()).await?;
            }
            Answer::Status(status, body) => respond(&mut connection, status, body).await?,
            Answer::Cut => {
                let head =
                    "HTTP/1.1 200 OK\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: 9999\r\n\r\n{\"Rec";
                connection.write_all(head.as_bytes()).await.ok()?;
                return None;
            }
            Answer::Events(frames) => {
                let streaming = stream(&mut connection, frames).await;
                if streaming.is_none() {
                    *gone.lock().unwrap() += 1;
                    return None;
                }
            }
        }
    }
}

async fn read_call(connection: &mut TcpStream, buffer: &mut Vec<u8>) -> Option<Call> {
    loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = String::from_utf8_lossy(&buffer[..end]).into_owned();
            let header = |name: &str| {
                let mut lines = head.lines().filter_map(|line| line.split_once(": "));
                lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.to_owned())
            };
            let length: usize = header("content-length").map_or(0, |length| length.parse().unwrap());
            if buffer.len() >= end + 4 + length {
                let body = serde_json::from_slice(&buffer[end + 4..end + 4 + length]).unwrap_or(Value::Null);
                let action = header("x-amz-target")?.rsplit('.').next()?.to_owned();
                buffer.drain(..end + 4 + length);
                return Some(Call { action, body, at: Instant::now() });
            }
        }
        if connection.read_buf(buffer).await.ok()? == 0 {
            return None;
        }
    }
}

async fn respond(connection: &mut TcpStream, status: u16, body: &str) -> Option<()> {
    let head = format!(
        "HTTP/1.1 {status} X\r\ncontent-type: application/x-amz-json-1.1\r\ncontent-length: {}\r\n\r\n",
        body.len()
    );
    connection.write_all(&[head.as_bytes(), body.as_bytes()].concat()).await.ok()
}

/// None when the other side went away before all was sent.
async fn stream(connection: &mut TcpStream, frames: Vec<Frame>) -> Option<()> {
    let head =
        "HTTP/1.1 200 OK\r\ncontent-type: application/vnd.amazon.eventstream\r\ntransfer-encoding: chunked\r\n\r\n";
    connection.write_all(head.as_bytes()).await.ok()?;
    for frame in frames {
        let (kind, name, payload) = match frame {
            Frame::Event(event) => ("event", "SubscribeToShardEvent", event),
            Frame::Exception(code) => ("exception", code, json!({"message": "as the test says"})),
            Frame::Pause(wait) => {
                is_there(connection, wait).await?;
                continue;
            }
            Frame::Silence => {
                is_there(connection, Duration::from_secs(3600)).await?;
                continue;
            }
        };
        let text = |text: &str| HeaderValue::String(text.to_owned().into());
        let message = Message::new(payload.to_string().into_bytes())
            .add_header(Header::new(":message-type", text(kind)))
            .add_header(Header::new(format!(":{kind}-type"), text(name)))
            .add_header(Header::new(":content-type", text("application/json")));
        let mut bytes = Vec::new();
        aws_smithy_eventstream::frame::write_message_to(&message, &mut bytes).unwrap();
        let chunk = [format!("{:x}\r\n", bytes.len()).as_bytes(), &bytes, b"\r\n"].concat();
        connection.write_all(&chunk).await.ok()?;
    }
    connection.write_all(b"0\r\n\r\n").await.ok()
}

/// Waits, unless the other side goes away.
async fn is_there(connection: &mut TcpStream, wait: Duration) -> Option<()> {
    let mut byte = [0];
    tokio::select! {
        () = sleep(wait) => Some(()),
        read = connection.read(&mut byte) => read.ok().filter(|read| *read > 0).map(|_| ()),
    }
}

/// A record as the service gives it.
pub fn record(sequence: u64, data: &str) -> Value {
    json!({
        "SequenceNumber": sequence.to_string(), "PartitionKey": "key", "ApproximateArrivalTimestamp": 1_700_000_000.5,
        "Data": base64_simd::STANDARD.encode_to_string(data.as_bytes()),
    })
}

/// An answer of GetRecords.
pub fn records(records: Vec<Value>, next: Option<&str>, lag_ms: u64) -> Answer {
    let mut answer = json!({"Records": records, "MillisBehindLatest": lag_ms});
    if let Some(next) = next {
        answer["NextShardIterator"] = next.into();
    }
    Answer::Json(answer)
}

pub fn children() -> Value {
    let range = json!({"StartingHashKey": "0", "EndingHashKey": "9"});
    json!([{"ShardId": "shardId-000000000001", "ParentShards": ["shardId-000000000000"], "HashKeyRange": range}])
}

/// ListShards of shard 0, if it is there, and DescribeStreamSummary of a day's retention; iterators by their type and number.
pub fn usual(call: &Call, shard: Option<bool>) -> Answer {
    match call.action.as_str() {
        "GetShardIterator" => {
            let iterator = format!("{}/{}", call.text("ShardIteratorType"), call.text("StartingSequenceNumber"));
            Answer::Json(json!({"ShardIterator": iterator}))
        }
        "ListShards" => {
            let shard = shard.map(|closed| {
                let mut range = json!({"StartingSequenceNumber": "1"});
                if closed {
                    range["EndingSequenceNumber"] = "9".into();
                }
                json!({
                    "ShardId": "shardId-000000000000", "SequenceNumberRange": range,
                    "HashKeyRange": {"StartingHashKey": "0", "EndingHashKey": u128::MAX.to_string()},
                })
            });
            Answer::Json(json!({"Shards": shard.into_iter().collect::<Vec<_>>()}))
        }
        "DescribeStreamSummary" => Answer::Json(json!({"StreamDescriptionSummary": {
            "StreamName": "s", "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s", "StreamStatus": "ACTIVE",
            "RetentionPeriodHours": 24, "StreamCreationTimestamp": 1.0, "EnhancedMonitoring": [], "OpenShardCount": 1,
            "MaxRecordSizeInKiB": 2048,
        }})),
        "DescribeStreamConsumer" => Answer::Json(json!({"ConsumerDescription": {
            "ConsumerName": "app", "ConsumerARN": "arn:consumer", "ConsumerStatus": "ACTIVE", "ConsumerCreationTimestamp": 1.0,
            "StreamARN": "arn:aws:kinesis:us-east-1:000000000000:stream/s",
        }})),
        other => panic!("the test says nothing about {other}"),
    }
}
