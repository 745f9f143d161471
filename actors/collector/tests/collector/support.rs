//! A collector on a free port with sinks in memory, and a client that sends the bytes it is told.

use std::{
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use snowmelt_collector::{CollectorConfig, CollectorError, Outgoing, Sink, SinkError, serve};
use snowmelt_streams::Producer;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::oneshot,
    task::JoinHandle,
};

/// The time every test collector believes it is.
pub const NOW_MS: i64 = 1_775_210_400_123;

/// A sink that keeps what it gets, unless told to fail or to hang.
#[derive(Default)]
pub struct MemorySink {
    records: Mutex<Vec<Outgoing>>,
    pub failing: AtomicBool,
    pub hanging: AtomicBool,
    pub unhealthy: AtomicBool,
}

impl MemorySink {
    /// What has come, in order; forgets it.
    pub fn take(&self) -> Vec<Outgoing> {
        std::mem::take(&mut self.records.lock().unwrap())
    }
}

#[async_trait]
impl Sink for MemorySink {
    async fn put(&self, batch: Vec<Outgoing>, _: Option<&Producer>) -> Result<(), SinkError> {
        if self.hanging.load(Ordering::Relaxed) {
            std::future::pending::<()>().await;
        }
        if self.failing.load(Ordering::Relaxed) {
            return Err(SinkError::Unavailable { reason: "switched off".to_owned() });
        }
        self.records.lock().unwrap().extend(batch);
        Ok(())
    }

    fn healthy(&self) -> bool {
        !self.unhealthy.load(Ordering::Relaxed)
    }
}

/// A running collector.
pub struct Collector {
    pub address: SocketAddr,
    pub good: Arc<MemorySink>,
    pub bad: Arc<MemorySink>,
    shutdown: oneshot::Sender<()>,
    server: JoinHandle<Result<(), CollectorError>>,
}

impl Collector {
    pub fn start(config: CollectorConfig) -> Self {
        let (good, bad) = (Arc::new(MemorySink::default()), Arc::new(MemorySink::default()));
        let fronts: [Arc<dyn Sink>; 2] = [good.clone(), bad.clone()];
        Self::start_behind(config, good, bad, fronts)
    }

    /// Starts one that gives its records to `fronts`, a good and a bad one, which hand them on to the sinks.
    pub fn start_behind(
        mut config: CollectorConfig,
        good: Arc<MemorySink>,
        bad: Arc<MemorySink>,
        [good_front, bad_front]: [Arc<dyn Sink>; 2],
    ) -> Self {
        config.workers = Some(1);
        config.pre_termination_period = Duration::ZERO;
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let (shutdown, stop) = oneshot::channel::<()>();
        let server = tokio::spawn(serve(config, listener, good_front, bad_front, Arc::new(|| NOW_MS), async {
            stop.await.ok();
        }));
        Self { address, good, bad, shutdown, server }
    }

    pub async fn stop(self) -> Result<(), CollectorError> {
        self.shutdown.send(()).ok();
        self.server.await.expect("serve does not panic")
    }

    pub async fn connect(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), buffer: Vec::new() }
    }

    /// Sends one request on a connection of its own.
    pub async fn request(&self, bytes: &[u8]) -> Response {
        let mut client = self.connect().await;
        client.send(bytes).await;
        client.receive(bytes.starts_with(b"HEAD ")).await.expect("there is an answer")
    }

    pub async fn get(&self, target: &str) -> Response {
        self.request(format!("GET {target} HTTP/1.1\r\nHost: c.acme.example\r\n\r\n").as_bytes()).await
    }

    pub async fn post(&self, target: &str, body: &[u8]) -> Response {
        let mut request =
            format!("POST {target} HTTP/1.1\r\nHost: c.acme.example\r\nContent-Length: {}\r\n\r\n", body.len())
                .into_bytes();
        request.extend_from_slice(body);
        self.request(&request).await
    }
}

/// A connection.
pub struct Client {
    pub stream: TcpStream,
    buffer: Vec<u8>,
}

impl Client {
    /// Sends; a peer that has closed meanwhile is no failure.
    pub async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.ok();
    }

    /// Reads one answer; none when the connection is closed before it is complete.
    pub async fn receive(&mut self, head_only: bool) -> Option<Response> {
        loop {
            if let Some((response, used)) = Response::parse(&self.buffer, head_only) {
                self.buffer.drain(..used);
                return Some(response);
            }
            let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read_buf(&mut self.buffer)).await;
            match read.expect("the collector answers in time") {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }

    /// Whether the collector closes the connection without a further byte.
    pub async fn closed(&mut self) -> bool {
        let read = tokio::time::timeout(Duration::from_secs(20), self.stream.read_buf(&mut self.buffer)).await;
        matches!(read, Ok(Ok(0) | Err(_)))
    }
}

/// An answer.
#[derive(Debug)]
pub struct Response {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Response {
    fn parse(bytes: &[u8], head_only: bool) -> Option<(Self, usize)> {
        let end = bytes.windows(4).position(|window| window == b"\r\n\r\n")? + 4;
        let head = std::str::from_utf8(&bytes[..end - 4]).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap_or((line.trim_end_matches(':'), "")))
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect();
        let mut response = Self { status, headers, body: Vec::new() };
        let length: usize = match (head_only, response.header("Content-Length")) {
            (false, Some(length)) => length.parse().unwrap(),
            _ => 0,
        };
        response.body = bytes.get(end..end + length)?.to_vec();
        Some((response, end + length))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        self.all(name).next()
    }

    pub fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        self.headers.iter().filter(move |(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.as_str())
    }
}

/// A file of ../shared, or none with a printed line where the folder is missing.
pub fn shared(path: &str) -> Option<Vec<u8>> {
    let folder = std::env::var_os("SNOWMELT_SHARED").map(PathBuf::from).or_else(|| {
        let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
        Some(manifest.ancestors().find(|folder| folder.join("Cargo.lock").is_file())?.join("../shared"))
    })?;
    if !folder.is_dir() {
        println!("skipped: ../shared is missing");
        return None;
    }
    Some(std::fs::read(folder.join(path)).unwrap())
}
