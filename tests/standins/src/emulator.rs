//! An emulator as a process of its own: started on a free port, waited for, ended with us.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use crate::StandinError;

/// How long an emulator may take until it answers: kinesis-mock takes 2 to 6 s on a free machine.
const START: Duration = Duration::from_secs(90);
/// Between two looks whether it does.
const LOOK: Duration = Duration::from_millis(100);

/// Runs a program, and ends it when our end of its input closes: whatever becomes of us, no emulator is left behind.
const LEASH: &str = r#"exec 3<&0
"$@" 3<&- </dev/null &
child=$!
{ read -r _ <&3; kill -9 $child; } 2>/dev/null &
exec 3<&-
wait $child"#;

/// What is stood in for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Service {
    /// Amazon Kinesis Data Streams, by kinesis-mock.
    Kinesis,
    /// Amazon DynamoDB, by DynamoDB Local.
    DynamoDb,
    /// Amazon S3, and SQS at the same endpoint, by moto.
    S3,
}

impl Service {
    /// Its name in messages and files.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Kinesis => "kinesis",
            Self::DynamoDb => "dynamodb",
            Self::S3 => "s3",
        }
    }
}

/// A running emulator. Ends when dropped.
#[derive(Debug)]
pub(crate) struct Emulator {
    service: Service,
    process: Child,
    log: PathBuf,
    /// Where it answers, on the loopback interface.
    pub url: String,
}

impl Emulator {
    /// Starts it and waits until it answers.
    pub async fn start(service: Service, tools: &Path, logs: &Path) -> Result<Self, StandinError> {
        let port = free_port()?;
        let mut program = command(service, tools, port)?;
        let log = logs.join(format!("{}.log", service.name()));
        let failed = |source| StandinError::Start { service, source };
        let out = File::create(&log).map_err(failed)?;
        program.stdin(Stdio::piped()).stdout(out.try_clone().map_err(failed)?).stderr(out);
        let process = program.spawn().map_err(failed)?;
        let mut emulator = Self { service, process, log, url: format!("http://127.0.0.1:{port}") };
        emulator.wait().await?;
        Ok(emulator)
    }

    async fn wait(&mut self) -> Result<(), StandinError> {
        let began = Instant::now();
        let client = reqwest::Client::new();
        while began.elapsed() < START {
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(StandinError::Ended {
                    service: self.service,
                    status: status.to_string(),
                    log: self.tail(),
                });
            }
            if probe(&client, self.service, &self.url).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            tokio::time::sleep(LOOK).await;
        }
        Err(StandinError::Silent { service: self.service, within: START, log: self.tail() })
    }

    /// The last lines that it printed.
    fn tail(&self) -> String {
        let log = std::fs::read(&self.log).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // The leash's other end is in the process's input.
        drop(self.process.stdin.take());
        if let Err(error) = self.process.wait() {
            eprintln!("{}: its emulator did not end: {error}", self.service.name());
        }
    }
}

/// A port that nobody listens on at this moment.
fn free_port() -> Result<u16, StandinError> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(StandinError::Listen)?;
    Ok(listener.local_addr().map_err(StandinError::Listen)?.port())
}

fn command(service: Service, tools: &Path, port: u16) -> Result<Command, StandinError> {
    let port_text = port.to_string();
    let mut leash = Command::new("/bin/sh");
    leash.args(["-c", LEASH, "leash"]);
    let needed = match service {
        Service::Kinesis => {
            let folder = tools.join("node/node_modules/kinesis-local");
            let main = folder.join("main.js");
            leash.arg("node").arg(&main);
            leash.env("KINESIS_MOCK_PLAIN_PORT", &port_text).env("KINESIS_MOCK_TLS_PORT", free_port()?.to_string());
            leash.env("KINESIS_MOCK_CERT_PATH", folder.join("server.json")).env("SHARD_LIMIT", "1000");
            // Long enough to be seen as CREATING and UPDATING, short enough for a test.
            for state in ["CREATE_STREAM", "DELETE_STREAM", "SPLIT_SHARD", "MERGE_SHARDS", "UPDATE_SHARD_COUNT"] {
                leash.env(format!("{state}_DURATION"), "200ms");
            }
            for state in ["REGISTER_STREAM_CONSUMER", "DEREGISTER_STREAM_CONSUMER"] {
                leash.env(format!("{state}_DURATION"), "200ms");
            }
            leash.env("LOG_LEVEL", "ERROR");
            main
        }
        Service::DynamoDb => {
            let lib = tools.join("dynamodb-local/lib");
            leash
                .arg("java")
                .arg(format!("-Djava.library.path={}", lib.display()))
                .args(["-Xmx256m", "-XX:+UseSerialGC"]);
            leash.arg("-cp").arg(lib.join("*")).arg("com.amazonaws.services.dynamodbv2.local.main.ServerRunner");
            leash.args(["-inMemory", "-sharedDb", "-disableTelemetry", "-port", &port_text]);
            lib
        }
        Service::S3 => {
            let python = tools.join("python/bin/python");
            let server = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tools/aws_server.py");
            leash.arg(&python).arg(server).arg(&port_text);
            python
        }
    };
    match needed.try_exists() {
        Ok(true) => Ok(leash),
        Ok(false) => Err(StandinError::Missing { service, path: needed }),
        Err(source) => Err(StandinError::Start { service, source }),
    }
}

/// The cheapest request that an emulator answers with success once it works.
fn probe(client: &reqwest::Client, service: Service, url: &str) -> reqwest::RequestBuilder {
    let target = match service {
        Service::Kinesis => "Kinesis_20131202.ListStreams",
        Service::DynamoDb => "DynamoDB_20120810.ListTables",
        Service::S3 => return client.get(url).timeout(Duration::from_secs(5)),
    };
    signed(client.post(url), target).body("{}").timeout(Duration::from_secs(5))
}

/// What a request needs to be let in: emulators look whether it is signed, not how.
pub(crate) fn signed(request: reqwest::RequestBuilder, target: &str) -> reqwest::RequestBuilder {
    let credential =
        "AWS4-HMAC-SHA256 Credential=test/20260101/us-east-1/kinesis/aws4_request, SignedHeaders=host, Signature=0";
    request
        .header("X-Amz-Target", target)
        .header("X-Amz-Date", "20260101T000000Z")
        .header("Authorization", credential)
        .header("Content-Type", "application/x-amz-json-1.1")
}
