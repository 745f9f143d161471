//! Clients that send at a steady rate, each in its own order, and behave as trackers do: what is refused is sent again.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::{Read, client};

/// How long a client waits until it sends again what was refused; less than `Retry-After` says, so that tests end.
const SEND_AGAIN: Duration = Duration::from_millis(200);
/// What stands before a request's number in its body.
const MARK: &[u8] = b"ordinal=";

/// Clients that are sending.
pub struct Clients {
    stop: watch::Sender<bool>,
    sending: Vec<JoinHandle<Result<Client>>>,
    counts: Arc<Counts>,
}

/// What all clients have seen so far.
#[derive(Debug, Default)]
pub struct Counts {
    /// Requests that were answered with 200.
    pub accepted: AtomicU64,
    /// Requests that were answered with 503.
    pub refused: AtomicU64,
}

/// What one client has sent.
struct Client {
    key: String,
    /// How often each of its requests, by number, was refused before it was accepted.
    refusals: Vec<u32>,
    /// The one that was not accepted when the client was told to stop.
    open: bool,
    took: Vec<Duration>,
}

/// What the clients have sent.
pub struct Sent {
    clients: Vec<Client>,
}

impl Clients {
    /// Starts `count` clients with an address and so a partition key each (`useIpAddressAsPartitionKey`), that together send
    /// `per_second` requests with bodies of `bytes`.
    pub fn start(collector_url: &str, count: usize, per_second: usize, bytes: usize) -> Result<Self> {
        let (stop, _) = watch::channel(false);
        let counts = Arc::<Counts>::default();
        let http = client()?;
        let every = Duration::from_secs_f64(count as f64 / per_second as f64);
        let sending = (0..count).map(|number| {
            let key = format!("10.0.{}.{}", number / 250, number % 250 + 1);
            let url = format!("{collector_url}/com.acme/v1");
            let (http, stop, counts) = (http.clone(), stop.subscribe(), Arc::clone(&counts));
            // Not all at the same moment.
            let first = every.mul_f64(number as f64 / count as f64);
            tokio::spawn(send(http, url, key, bytes, first, every, stop, counts))
        });
        Ok(Self { sending: sending.collect(), stop, counts })
    }

    /// What they have seen so far.
    pub fn counts(&self) -> &Counts {
        &self.counts
    }

    /// Stops them; each finishes the request that is under way.
    pub async fn stop(self) -> Result<Sent> {
        self.stop.send_replace(true);
        let mut clients = Vec::new();
        for sending in self.sending {
            clients.push(sending.await??);
        }
        Ok(Sent { clients })
    }
}

#[expect(clippy::too_many_arguments, reason = "one caller, which names each of them")]
async fn send(
    http: reqwest::Client,
    url: String,
    key: String,
    bytes: usize,
    first: Duration,
    every: Duration,
    stop: watch::Receiver<bool>,
    counts: Arc<Counts>,
) -> Result<Client> {
    let mut sent = Client { key, refusals: Vec::new(), open: false, took: Vec::new() };
    let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + first, every);
    while !*stop.borrow() {
        ticks.tick().await;
        let mut body = [MARK, format!("{:08}", sent.refusals.len()).as_bytes()].concat();
        body.resize(bytes.max(body.len()), b'.');
        let mut refusals = 0;
        loop {
            let began = Instant::now();
            let request = http.post(&url).header("X-Forwarded-For", &sent.key).body(body.clone());
            let answer = request.send().await.with_context(|| format!("{}: sending", sent.key))?;
            let (status, retry_after) = (answer.status(), answer.headers().get("Retry-After").cloned());
            answer.bytes().await.context("reading the answer")?;
            if status == 200 {
                counts.accepted.fetch_add(1, Ordering::Relaxed);
                sent.took.push(began.elapsed());
                sent.refusals.push(refusals);
                break;
            }
            ensure!(status == 503, "the collector answered {status}");
            let seconds: Option<u64> = retry_after.and_then(|value| value.to_str().ok()?.parse().ok());
            ensure!(seconds.is_some_and(|seconds| seconds > 0), "a 503 without Retry-After");
            counts.refused.fetch_add(1, Ordering::Relaxed);
            refusals += 1;
            if *stop.borrow() {
                sent.open = true;
                return Ok(sent);
            }
            tokio::time::sleep(SEND_AGAIN).await;
        }
    }
    Ok(sent)
}

impl Sent {
    /// How many requests were accepted.
    pub fn accepted(&self) -> usize {
        self.clients.iter().map(|client| client.refusals.len()).sum()
    }

    /// The time within which 99 % of the accepted requests were answered, and the longest.
    pub fn latency(&self) -> (Duration, Duration) {
        let mut took: Vec<Duration> = self.clients.iter().flat_map(|client| client.took.iter().copied()).collect();
        took.sort_unstable();
        let at = |share: f64| took.get((took.len() as f64 * share) as usize).copied().unwrap_or_default();
        (at(0.99), took.last().copied().unwrap_or_default())
    }

    /// Every accepted request is in the stream, and each client's in the order in which it sent them. Once, unless it was refused
    /// before: a request that was answered with 503 may be stored all the same. Gives how many such repeats there are.
    pub fn check(&self, stream: &[Read]) -> Result<usize> {
        let mut by_key: HashMap<&str, Vec<usize>> = HashMap::new();
        for read in stream {
            by_key.entry(&read.key).or_default().push(ordinal(&read.data)?);
        }
        let mut repeats = 0;
        for client in &self.clients {
            let came = by_key.remove(client.key.as_str()).unwrap_or_default();
            let mut next = 0;
            for ordinal in came {
                if ordinal == next {
                    next += 1;
                    continue;
                }
                ensure!(ordinal < next, "{}: {ordinal} came before {next}", client.key);
                ensure!(client.refusals.get(ordinal) != Some(&0), "{}: {ordinal} came twice", client.key);
                repeats += 1;
            }
            let most = client.refusals.len() + usize::from(client.open);
            ensure!(next >= client.refusals.len(), "{}: {next} of {} came", client.key, client.refusals.len());
            ensure!(next <= most, "{}: {next} came, {most} were sent", client.key);
        }
        ensure!(by_key.is_empty(), "records of nobody: {by_key:?}");
        Ok(repeats)
    }

    /// The same where order is not promised.
    pub fn check_in_any_order(&self, mut stream: Vec<Read>) -> Result<usize> {
        stream.sort_by_key(|read| ordinal(&read.data).unwrap_or_default());
        self.check(&stream)
    }
}

/// The number of the request that a raw record holds.
fn ordinal(record: &[u8]) -> Result<usize> {
    let at = record.windows(MARK.len()).position(|window| window == MARK).context("a record without a number")?;
    let digits = record.get(at + MARK.len()..at + MARK.len() + 8).context("a record with half a number")?;
    Ok(std::str::from_utf8(digits)?.parse()?)
}
