//! Telling StatsD what was written, as each line of the original does (spec s3-loader 10).

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use snowmelt_objects::Rendered;
use snowmelt_objects::metrics::{Every, StatsdTarget, latency_collector_to_load};
use tokio::net::UdpSocket;
use tokio::sync::mpsc;
use tokio::time::timeout;

/// Batches that may wait to be told; more are not told, rather than waited for.
const QUEUE: usize = 1024;
/// How long finding the host and sending may take.
const SEND_TIMEOUT: Duration = Duration::from_secs(5);

/// What one batch came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Written {
    /// Events of each object.
    pub objects: Vec<u64>,
    /// Earliest collector time, where the purpose has one.
    pub earliest_collector_ms: Option<i64>,
    /// When the first record arrived in the stream.
    pub arrived_ms: i64,
}

/// Where written batches are told. Clones tell the same.
#[derive(Clone, Default)]
pub struct Report(Option<mpsc::Sender<(Written, i64)>>);

impl Report {
    /// Tells StatsD, in a task of its own that ends with the last clone. Within a tokio runtime.
    pub fn start(target: StatsdTarget) -> Self {
        let (sender, receiver) = mpsc::channel(QUEUE);
        tokio::spawn(tell_all(receiver, target));
        Self(Some(sender))
    }

    /// What there is to tell of a batch.
    pub(crate) fn of(rendered: &Rendered, arrived_ms: i64) -> Written {
        let objects = rendered.objects.iter().filter(|object| !object.is_index());
        Written {
            objects: objects.map(|object| object.events as u64).collect(),
            earliest_collector_ms: rendered.earliest_collector_ms,
            arrived_ms,
        }
    }

    pub(crate) fn tell(&self, written: Written, now_ms: i64) {
        if let Some(sender) = &self.0
            && sender.try_send((written, now_ms)).is_err()
        {
            tracing::debug!("metrics of a batch are left out: too many wait to be sent");
        }
    }
}

/// What one period of line 3.x came to.
#[derive(Default)]
struct Period {
    count: u64,
    latency_ms: Option<i64>,
    e2e_latency_ms: Option<i64>,
    collector_to_load_s: Option<u64>,
}

impl Period {
    fn add(&mut self, written: &Written, now_ms: i64) {
        self.count += written.objects.iter().sum::<u64>();
        self.latency_ms = self.latency_ms.max(Some(now_ms.saturating_sub(written.arrived_ms)));
        let e2e = written.earliest_collector_ms.map(|earliest| now_ms.saturating_sub(earliest));
        self.e2e_latency_ms = self.e2e_latency_ms.max(e2e);
        let load = latency_collector_to_load(written.earliest_collector_ms, now_ms);
        self.collector_to_load_s = self.collector_to_load_s.max(load);
    }

    fn datagrams(self, target: &StatsdTarget) -> Vec<String> {
        let millis = |latency: i64| u64::try_from(latency).unwrap_or(0);
        let mut datagrams = vec![target.format.counter("count", self.count)];
        let gauges = [
            ("latency_millis", self.latency_ms.map(millis)),
            ("e2e_latency_millis", self.e2e_latency_ms.map(millis)),
            ("latency_collector_to_load", self.collector_to_load_s),
        ];
        datagrams.extend(gauges.into_iter().filter_map(|(name, value)| Some(target.format.gauge(name, value?))));
        datagrams
    }
}

/// The datagrams of line 2.x for one batch: one a metric and object.
fn of_batch(written: &Written, now_ms: i64, target: &StatsdTarget) -> Vec<String> {
    let latency = latency_collector_to_load(written.earliest_collector_ms, now_ms);
    let mut datagrams = Vec::new();
    for events in &written.objects {
        datagrams.extend(latency.map(|seconds| target.format.gauge("latency_collector_to_load", seconds)));
        datagrams.push(target.format.counter("count", if target.counts_events { *events } else { 0 }));
    }
    datagrams
}

async fn tell_all(mut batches: mpsc::Receiver<(Written, i64)>, target: StatsdTarget) {
    let mut reachable = true;
    let mut open = true;
    while open {
        let datagrams = match target.every {
            Every::Object => match batches.recv().await {
                Some((written, now_ms)) => of_batch(&written, now_ms, &target),
                None => break,
            },
            Every::PeriodMs(millis) => {
                let mut period = Period::default();
                let over = tokio::time::sleep(Duration::from_millis(millis.max(1)));
                tokio::pin!(over);
                loop {
                    tokio::select! {
                        () = &mut over => break,
                        batch = batches.recv() => match batch {
                            Some((written, now_ms)) => period.add(&written, now_ms),
                            None => {
                                open = false;
                                break;
                            }
                        },
                    }
                }
                period.datagrams(&target)
            }
        };
        let sent = match timeout(SEND_TIMEOUT, send(&target, &datagrams)).await {
            Ok(sent) => sent,
            Err(_) => Err(std::io::ErrorKind::TimedOut.into()),
        };
        // Told once, not each time.
        match sent {
            Err(error) if reachable => {
                tracing::warn!(host = target.host, port = target.port, %error, "metrics cannot be sent to StatsD");
                reachable = false;
            }
            Err(_) => {}
            Ok(()) => reachable = true,
        }
    }
}

/// One packet a metric, as the original. The host is looked up each time, since it may move.
async fn send(target: &StatsdTarget, datagrams: &[String]) -> std::io::Result<()> {
    let mut found = tokio::net::lookup_host((target.host.as_str(), target.port)).await?;
    let to = found.next().ok_or(std::io::ErrorKind::NotFound)?;
    let any: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    for datagram in datagrams {
        socket.send_to(datagram.as_bytes(), to).await?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use snowmelt_objects::metrics::Statsd;

    fn written() -> Written {
        Written { objects: vec![3, 2], earliest_collector_ms: Some(1_000), arrived_ms: 4_000 }
    }

    async fn told(target: impl FnOnce(u16) -> StatsdTarget, datagrams: usize) -> Vec<String> {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let report = Report::start(target(socket.local_addr().unwrap().port()));
        report.tell(written(), 9_500);
        drop(report);
        let mut told = Vec::new();
        let mut buffer = [0; 512];
        for _ in 0..datagrams {
            let received = timeout(Duration::from_secs(5), socket.recv(&mut buffer)).await.unwrap().unwrap();
            told.push(String::from_utf8(buffer[..received].to_vec()).unwrap());
        }
        told
    }

    #[tokio::test]
    async fn line_2_tells_each_object_and_line_3_each_period() {
        let each = |counts_events| {
            move |port| StatsdTarget {
                host: "127.0.0.1".into(),
                port,
                every: Every::Object,
                counts_events,
                format: Statsd::v2(Some("a"), []),
            }
        };
        let object = |count| ["a.latency_collector_to_load:8|g|#".to_owned(), format!("a.count:{count}|c|#")];
        assert_eq!(told(each(true), 4).await, [object(3), object(2)].concat());
        assert_eq!(told(each(false), 4).await, [object(0), object(0)].concat());
        let period = |port| StatsdTarget {
            host: "127.0.0.1".into(),
            port,
            every: Every::PeriodMs(60_000),
            counts_events: true,
            format: Statsd::v3(None, [("e", "t")]),
        };
        let expected = [
            "snowplow.s3loader.count:5|c|#e:t",
            "snowplow.s3loader.latency_millis:5500|g|#e:t",
            "snowplow.s3loader.e2e_latency_millis:8500|g|#e:t",
            "snowplow.s3loader.latency_collector_to_load:8|g|#e:t",
        ];
        assert_eq!(told(period, 4).await, expected);
    }
}
