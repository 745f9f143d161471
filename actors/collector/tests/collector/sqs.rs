//! The overflow over the real client, against moto (see `tests/tools/aws_server.py`).

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader},
    path::PathBuf,
    process::{Child, Command, Stdio},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use aws_sdk_sqs::{
    Client, Config,
    config::{BehaviorVersion, Credentials, Region, retry::RetryConfig},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use snowmelt_collector::{CollectorConfig, Outgoing, Overflow, Sink, SqsQueue, overflow::Queue};

use super::support::MemorySink;

/// An emulator of SQS on a port of its own.
struct Emulator {
    process: Child,
    client: Client,
}

impl Emulator {
    /// Starts one; none with a printed line where the tools are not installed.
    fn start() -> Option<Self> {
        let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..");
        let tools = std::env::var_os("SNOWMELT_TOOLS").map_or_else(|| root.join(".tools"), PathBuf::from);
        let python = tools.join("python/bin/python");
        if !tools.join("python/bin/moto_server").try_exists().unwrap() {
            assert!(std::env::var_os("CI").is_none(), "CI has installed the tools");
            println!("skipped: there is no moto in {}; bash tests/run.sh installs it", tools.display());
            return None;
        }
        let mut process = Command::new(python)
            .arg(root.join("tests/tools/aws_server.py"))
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let mut port = String::new();
        BufReader::new(process.stdout.take().unwrap()).read_line(&mut port).unwrap();
        let config = Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::new("us-east-1"))
            .endpoint_url(format!("http://127.0.0.1:{}", port.trim()))
            .credentials_provider(Credentials::new("test", "test", None, None, "test"))
            .retry_config(RetryConfig::disabled())
            .build();
        Some(Self { process, client: Client::from_conf(config) })
    }

    async fn create(&self, name: &str) -> String {
        self.client.create_queue().queue_name(name).send().await.unwrap().queue_url.unwrap()
    }

    /// Takes all messages: partition keys and data.
    async fn drain(&self, url: &str) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        loop {
            let receive = self.client.receive_message().queue_url(url).max_number_of_messages(10);
            let got = receive.message_attribute_names("All").send().await.unwrap();
            if got.messages().is_empty() {
                return found;
            }
            for message in got.messages() {
                let key = message.message_attributes().unwrap()["kinesisKey"].clone();
                assert_eq!(key.data_type(), "String");
                let data = STANDARD.decode(message.body().unwrap()).unwrap();
                found.insert(key.string_value().unwrap().to_owned(), data);
                let delete = self.client.delete_message().queue_url(url);
                delete.receipt_handle(message.receipt_handle().unwrap()).send().await.unwrap();
            }
        }
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_go_to_the_queue_with_their_key_by_its_name_and_by_its_url() {
    let Some(emulator) = Emulator::start() else { return };
    let url = emulator.create("overflow-good").await;
    let config = CollectorConfig::default();
    for queue in ["overflow-good", url.as_str()] {
        let stream = Arc::new(MemorySink::default());
        stream.failing.store(true, Ordering::Relaxed);
        let mut sink = config.streams.good.clone();
        sink.backoff_policy.max_retries = 0;
        let queue = Arc::new(SqsQueue::with_client(queue, emulator.client.clone()));
        queue.find().await.unwrap();
        let front = Overflow::new("good", &config, &sink, stream, queue);
        // Bytes that are no text, and one record of the greatest size that the queue is given.
        let mut records: Vec<Outgoing> =
            (0..24).map(|index| Outgoing::new(format!("key-{index}"), vec![index, 0, 0xff])).collect();
        records.push(Outgoing::new("key-largest", vec![0xfe; sink.sqs_max_bytes]));
        front.put(records.clone(), None).await.unwrap();
        let found = emulator.drain(&url).await;
        let expected: BTreeMap<String, Vec<u8>> =
            records.into_iter().map(|record| (record.partition_key, record.data.to_vec())).collect();
        assert_eq!(found, expected);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_not_there_is_told_and_found_once_it_is() {
    let Some(emulator) = Emulator::start() else { return };
    let mut sink = CollectorConfig::default().streams.good;
    sink.backoff_policy.max_retries = 0;
    sink.startup_check_interval = Duration::from_millis(100);
    let queue = Arc::new(SqsQueue::with_client("later", emulator.client.clone()));
    let error = queue.find().await.unwrap_err().to_string();
    assert!(error.starts_with("queue later: ") && error.contains("NonExistentQueue"), "{error}");

    let stream = Arc::new(MemorySink::default());
    stream.failing.store(true, Ordering::Relaxed);
    let front = Overflow::new("good", &CollectorConfig::default(), &sink, stream, queue);
    assert!(front.put(vec![Outgoing::new("key", "data")], None).await.is_err());
    assert!(!front.healthy());
    let url = emulator.create("later").await;
    let found = async {
        while !front.healthy() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(20), found).await.unwrap();
    front.put(vec![Outgoing::new("key", "data")], None).await.unwrap();
    assert_eq!(emulator.drain(&url).await.len(), 1);
}
