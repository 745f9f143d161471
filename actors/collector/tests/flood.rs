//! Masses of clients against a collector in a process of its own, whose resident memory is measured.

#![expect(clippy::unwrap_used, reason = "these are tests, also outside the functions that are marked so")]

use std::{
    io::{BufRead, BufReader, ErrorKind, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    process::{Child, Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use async_trait::async_trait;
use snowmelt_collector::{CollectorConfig, Outgoing, Sink, SinkError, serve};
use snowmelt_streams::Producer;

/// The variable that makes this test program a server: the configuration as JSON.
const SERVER: &str = "SNOWMELT_FLOOD_SERVER";
const GOOD: &[u8] = b"GET /i?e=pv HTTP/1.1\r\nHost: a\r\n\r\n";

struct Nothing;

#[async_trait]
impl Sink for Nothing {
    async fn put(&self, _batch: Vec<Outgoing>, _: Option<&Producer>) -> Result<(), SinkError> {
        Ok(())
    }

    fn healthy(&self) -> bool {
        true
    }
}

/// Not a test of its own: the server of the others, which start this program again.
#[test]
fn server() {
    let Ok(config) = std::env::var(SERVER) else { return };
    let mut config: CollectorConfig = serde_json::from_str(&config).unwrap();
    config.workers = Some(1);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    println!("\nport {}", listener.local_addr().unwrap().port());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let sink = Arc::new(Nothing);
    let serving =
        serve(config, listener, Arc::clone(&sink) as _, sink, Arc::new(|| 1_775_210_400_123), std::future::pending());
    runtime.block_on(serving).unwrap();
}

struct Server {
    process: Child,
    port: u16,
}

impl Server {
    fn start(config: serde_json::Value) -> Self {
        // As many files as the system lets it have.
        let mut process = Command::new("sh")
            .args(["-c", "ulimit -n $(ulimit -Hn); exec \"$0\" --exact server --nocapture --test-threads 1"])
            .arg(std::env::current_exe().unwrap())
            .env(SERVER, config.to_string())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let port = lines
            .map(Result::unwrap)
            .find_map(|line| line.strip_prefix("port ").map(|port| port.parse().unwrap()))
            .expect("the server says its port");
        Self { process, port }
    }

    fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
        stream
    }

    /// Resident memory in bytes.
    fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id())).unwrap();
        let line = status.lines().find(|line| line.starts_with("VmRSS")).unwrap();
        line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() * 1024
    }

    /// How long a good request on a connection of its own takes.
    fn good_request(&self) -> Duration {
        let began = Instant::now();
        let mut stream = self.connect();
        stream.write_all(GOOD).unwrap();
        assert_eq!(status(&mut stream), Some(200));
        began.elapsed()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.process.kill().ok();
        self.process.wait().ok();
    }
}

/// The status of the next answer; none when the connection ends without one.
fn status(stream: &mut TcpStream) -> Option<u16> {
    let mut head = [0; 12];
    match stream.read_exact(&mut head) {
        Ok(()) => Some(std::str::from_utf8(&head[9..]).unwrap().parse().unwrap()),
        Err(error) if matches!(error.kind(), ErrorKind::UnexpectedEof | ErrorKind::ConnectionReset) => None,
        Err(error) => panic!("{error}"),
    }
}

/// Connections that can be had, up to 10,000: each takes a file here and one there.
fn many() -> usize {
    let limits = std::fs::read_to_string("/proc/self/limits").unwrap();
    let line = limits.lines().find(|line| line.starts_with("Max open files")).unwrap();
    let soft: usize = line.split_whitespace().nth(3).unwrap().parse().unwrap_or(usize::MAX);
    let many = 10_000.min(soft.saturating_sub(100));
    if many < 10_000 {
        println!("only {many} connections: this shell may open {soft} files (ulimit -n)");
    }
    many
}

#[test]
fn ten_thousand_idle_connections_leave_room_for_a_good_one() {
    let server = Server::start(serde_json::json!({
        // Longer than a busy machine takes for all of this: else those that say nothing are told so (408).
        "networking": {"maxConnections": 11_000, "responseHeaderTimeout": "10 minutes"}
    }));
    server.good_request();
    let (many, before) = (many(), server.resident());
    let mut idle: Vec<TcpStream> = (0..many).map(|_| server.connect()).collect();
    // Half of them have begun a request, or had one answered.
    for (index, stream) in idle.iter_mut().enumerate() {
        match index % 4 {
            0 => stream.write_all(b"GET /i HTTP/1.1\r\nHo").unwrap(),
            1 => {
                stream.write_all(GOOD).unwrap();
                assert_eq!(status(stream), Some(200));
            }
            _ => {}
        }
    }
    let took = server.good_request();
    let each = (server.resident() - before) / many as u64;
    println!("{many} idle connections: {each} bytes each, a good request takes {took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    assert!(each < 32 * 1024, "{each} bytes a connection");
    // And each of them is served when it makes up its mind.
    for (index, rest) in [(0, &b"st: a\r\n\r\n"[..]), (2, GOOD)] {
        idle[index].write_all(rest).unwrap();
        assert_eq!(status(&mut idle[index]), Some(200));
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "there is no event loop on this side")]
fn beyond_the_limit_connections_wait_for_their_turn() {
    let server = Server::start(serde_json::json!({"networking": {"maxConnections": 20}}));
    let mut idle: Vec<TcpStream> = (0..20).map(|_| server.connect()).collect();
    std::thread::sleep(Duration::from_millis(300));
    let mut late = server.connect();
    late.write_all(GOOD).unwrap();
    late.set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    let error = late.read(&mut [0; 1]).unwrap_err();
    assert!(matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{error}");
    // Those that are in are served.
    idle[7].write_all(GOOD).unwrap();
    assert_eq!(status(&mut idle[7]), Some(200));
    drop(idle.remove(0));
    late.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    assert_eq!(status(&mut late), Some(200));
}

#[test]
fn bodies_without_end_take_no_more_memory_than_the_limit() {
    let server = Server::start(serde_json::json!({}));
    server.good_request();
    let before = server.resident();
    let mut head = b"POST /a/b HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n".to_vec();
    head.extend_from_slice(b"fffffff\r\n");
    let mut clients: Vec<TcpStream> = (0..40).map(|_| server.connect()).collect();
    let piece = vec![b'x'; 64 * 1024];
    let mut highest = 0;
    for stream in &mut clients {
        stream.write_all(&head).unwrap();
    }
    // 10 MB each, side by side; the collector answers 413 after 2 MiB and closes.
    for _ in 0..160 {
        clients.retain_mut(|stream| stream.write_all(&piece).is_ok());
        highest = highest.max(server.resident());
    }
    println!("40 bodies of 10 MB side by side: {} MiB", (highest - before) >> 20);
    assert!(highest - before < 40 * 2 * 2_097_152 + (32 << 20), "{highest}");
    server.good_request();
}

#[test]
fn bombs_side_by_side_take_no_more_memory_than_the_limit() {
    let server = Server::start(serde_json::json!({}));
    server.good_request();
    let before = server.resident();
    let mut writer = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    writer.write_all(&vec![0; 200_000_000]).unwrap();
    let bomb = writer.finish().unwrap();
    let head =
        format!("POST /a/b HTTP/1.1\r\nHost: a\r\nContent-Encoding: gzip\r\nContent-Length: {}\r\n\r\n", bomb.len());
    let mut clients: Vec<TcpStream> = (0..40).map(|_| server.connect()).collect();
    for stream in &mut clients {
        stream.write_all(head.as_bytes()).unwrap();
        stream.write_all(&bomb).unwrap();
    }
    for stream in &mut clients {
        assert_eq!(status(stream), Some(413));
    }
    let grown = server.resident().saturating_sub(before);
    println!("40 bombs of 200 MB side by side: {} MiB", grown >> 20);
    assert!(grown < 40 * 3 * 2_097_152, "{grown}");
    server.good_request();
}
