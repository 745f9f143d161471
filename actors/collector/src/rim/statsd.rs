//! Metrics for StatsD, in DogStatsD's form and with the original's names (6.7).
//!
//! The original sends a packet or more a request; ours counts, and sends once a `period`: counts are exact, of the latencies of
//! a series at most [`SAMPLES`] go out, the newest, with the rate that says how many they stand for. Checks of `/health` and
//! `/sink-health` are no requests here (the original counts them as 404).

use std::{
    fmt::Write,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicI64, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use tokio::{net::UdpSocket, sync::oneshot, task::JoinHandle, time::timeout};

use crate::{CollectorConfig, config::Statsd as StatsdConfig};

/// Latencies kept of one series and period.
const SAMPLES: usize = 64;
/// What fits one packet on every network.
const PACKET_BYTES: usize = 1432;
/// How long finding the host and sending may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);
const METHODS: [&str; 5] = ["GET", "POST", "HEAD", "OPTIONS", "other"];

/// One method and status of a period.
struct Series {
    status: u16,
    count: AtomicU64,
    /// The newest latencies in microseconds; the next goes to `count % SAMPLES`.
    micros: [AtomicU32; SAMPLES],
}

/// What is counted between two sendings.
pub(super) struct Requests {
    active: AtomicI64,
    canceled: AtomicU64,
    /// A row a method.
    series: Vec<Vec<Series>>,
}

impl Requests {
    /// `statuses` are those that answers can have.
    fn new(statuses: &[u16]) -> Self {
        let series = |status: &u16| Series {
            status: *status,
            count: AtomicU64::new(0),
            micros: std::array::from_fn(|_| AtomicU32::new(0)),
        };
        let row = || statuses.iter().map(series).collect();
        Self { active: AtomicI64::new(0), canceled: AtomicU64::new(0), series: METHODS.iter().map(|_| row()).collect() }
    }

    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>, method: &str) -> Timer {
        self.active.fetch_add(1, Ordering::Relaxed);
        let method = METHODS.iter().position(|known| *known == method).unwrap_or(METHODS.len() - 1);
        Timer { requests: Arc::clone(self), method, began: Instant::now(), open: true }
    }

    fn count(&self, method: usize, status: u16, took: Duration) {
        let row = &self.series[method];
        // An unknown status does not occur; it would be told as the last one, 500.
        let Some(series) = row.iter().find(|series| series.status == status).or(row.last()) else { return };
        let index = series.count.fetch_add(1, Ordering::Relaxed) as usize % SAMPLES;
        let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX);
        series.micros[index].store(micros, Ordering::Relaxed);
    }

    /// The lines of the period that ends, and the start of the next.
    fn lines(&self, prefix: &str, tags: &str) -> Vec<String> {
        let mut lines = Vec::new();
        let mut line = |name: &str, value: &dyn std::fmt::Display, kind: &str, own: &str| {
            let mut line = format!("{prefix}.{name}:{value}|{kind}");
            let separator = if own.is_empty() || tags.is_empty() { "" } else { "," };
            if !own.is_empty() || !tags.is_empty() {
                write!(line, "|#{own}{separator}{tags}").expect("writing to a String cannot fail");
            }
            lines.push(line);
        };
        line("active_requests", &self.active.load(Ordering::Relaxed), "g", "");
        for (method, row) in METHODS.iter().zip(&self.series) {
            for series in row {
                let count = series.count.swap(0, Ordering::Relaxed);
                if count == 0 {
                    continue;
                }
                let status = series.status;
                let by_method = format!("method:{method}");
                let by_status = format!("{by_method},status_bucket:{}xx,status_code:{status}", status / 100);
                line("requests_count", &count, "c", &by_status);
                let sampled = (count as usize).min(SAMPLES);
                let kind = if sampled as u64 == count {
                    "d".to_owned()
                } else {
                    format!("d|@{}", sampled as f64 / count as f64)
                };
                for micros in &series.micros[..sampled] {
                    let millis = f64::from(micros.load(Ordering::Relaxed)) / 1000.0;
                    line("requests_latency", &millis, &kind, &by_status);
                    line("headers_time", &millis, &kind, &by_method);
                }
            }
        }
        let canceled = self.canceled.swap(0, Ordering::Relaxed);
        if canceled > 0 {
            line("abnormal_count", &canceled, "c", "termination_type:canceled");
        }
        lines
    }
}

/// One request; dropped before its end it counts as canceled.
pub(super) struct Timer {
    requests: Arc<Requests>,
    method: usize,
    began: Instant,
    open: bool,
}

impl Timer {
    /// The answer is ready.
    pub(super) fn finish(mut self, status: u16) {
        self.open = false;
        self.requests.count(self.method, status, self.began.elapsed());
    }

    /// This is no request to be counted.
    pub(super) fn forget(mut self) {
        self.open = false;
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.requests.active.fetch_sub(1, Ordering::Relaxed);
        if self.open {
            self.requests.canceled.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Counts requests and sends the counts.
pub(super) struct Statsd {
    requests: Arc<Requests>,
    stop: oneshot::Sender<()>,
    sender: JoinHandle<()>,
}

impl Statsd {
    /// Starts sending on the current tokio runtime; none when the configuration wants none.
    pub(super) fn start(config: &CollectorConfig) -> Option<Self> {
        let statsd = &config.monitoring.metrics.statsd;
        if !statsd.enabled {
            return None;
        }
        let requests =
            Arc::new(Requests::new(&[200, 302, 400, 404, 408, 413, 503, config.root_response.status_code, 500]));
        let (stop, stopped) = oneshot::channel();
        let sender = tokio::spawn(send_all(Arc::clone(&requests), statsd.clone(), stopped));
        Some(Self { requests, stop, sender })
    }

    pub(super) fn requests(&self) -> Arc<Requests> {
        Arc::clone(&self.requests)
    }

    /// Sends what was counted since the last time, and ends.
    pub(super) async fn close(self) {
        // One that is gone has nothing to send.
        if self.stop.send(()).is_ok()
            && let Err(error) = self.sender.await
        {
            tracing::error!(%error, "the sender of StatsD metrics failed");
        }
    }
}

async fn send_all(requests: Arc<Requests>, config: StatsdConfig, mut stopped: oneshot::Receiver<()>) {
    let tags: Vec<String> = config.tags.iter().map(|(key, value)| format!("{key}:{value}")).collect();
    let tags = tags.join(",");
    let mut reachable = true;
    let mut stopping = false;
    while !stopping {
        tokio::select! {
            () = tokio::time::sleep(config.period) => {}
            _ = &mut stopped => stopping = true,
        }
        let lines = requests.lines(&config.prefix, &tags);
        let sent = match timeout(SEND_TIMEOUT, send(&config.hostname, config.port, &lines)).await {
            Ok(sent) => sent,
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        };
        // Told once, not each period.
        match sent {
            Err(error) if reachable => {
                tracing::warn!(host = config.hostname, port = config.port, %error, "metrics cannot be sent to StatsD");
                reachable = false;
            }
            Err(_) => {}
            Ok(()) => reachable = true,
        }
    }
}

/// Sends lines in as few packets as possible. The host is looked up each time, since it may move.
async fn send(host: &str, port: u16, lines: &[String]) -> std::io::Result<()> {
    let mut found = tokio::net::lookup_host((host, port)).await?;
    let to = found.next().ok_or(std::io::ErrorKind::NotFound)?;
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    for packet in packets(lines) {
        socket.send_to(packet.as_bytes(), to).await?;
    }
    Ok(())
}

fn packets(lines: &[String]) -> Vec<String> {
    let mut packets: Vec<String> = Vec::new();
    for line in lines {
        match packets.last_mut() {
            Some(packet) if packet.len() + 1 + line.len() <= PACKET_BYTES => {
                packet.push('\n');
                packet.push_str(line);
            }
            _ => packets.push(line.clone()),
        }
    }
    packets
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_has_its_counts_and_latencies_with_the_originals_tags() {
        let requests = Arc::new(Requests::new(&[200, 404, 500]));
        requests.begin("POST").finish(200);
        requests.begin("POST").finish(200);
        requests.begin("BREW").finish(404);
        requests.begin("GET").forget();
        drop(requests.begin("GET"));
        let _active = requests.begin("GET");
        let lines = requests.lines("snowplow.collector", "env:prod");
        let with = |start: &str| lines.iter().filter(|line| line.starts_with(start)).count();
        assert_eq!(lines[0], "snowplow.collector.active_requests:1|g|#env:prod");
        let count = "snowplow.collector.requests_count:2|c|#method:POST,status_bucket:2xx,status_code:200,env:prod";
        assert!(lines.iter().any(|line| line == count), "{lines:?}");
        assert_eq!(with("snowplow.collector.requests_count:1|c|#method:other,status_bucket:4xx"), 1);
        assert_eq!(with("snowplow.collector.requests_latency:"), 3);
        assert_eq!(with("snowplow.collector.headers_time:"), 3);
        assert_eq!(with("snowplow.collector.abnormal_count:1|c|#termination_type:canceled,env:prod"), 1);
        assert_eq!(requests.lines("p", ""), ["p.active_requests:1|g"], "the next period begins at nothing");
    }

    #[test]
    fn of_many_latencies_a_sample_goes_out_with_its_rate() {
        let requests = Arc::new(Requests::new(&[200, 500]));
        for _ in 0..4 * SAMPLES {
            requests.begin("GET").finish(200);
        }
        let lines = requests.lines("p", "");
        let latencies: Vec<&String> = lines.iter().filter(|line| line.starts_with("p.requests_latency")).collect();
        assert_eq!(latencies.len(), SAMPLES);
        assert!(latencies.iter().all(|line| line.contains("|d|@0.25|#method:GET,")), "{latencies:?}");
        let packets = packets(&lines);
        assert!(packets.iter().all(|packet| packet.len() <= PACKET_BYTES));
        assert_eq!(packets.join("\n"), lines.join("\n"));
    }
}
