//! `snowmelt send`: plays a small web shop against a collector.

use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use snowmelt_shop::{Expect, Method, Shop, ShopConfig, ShopRequest};
use tokio::sync::mpsc;

use crate::cli::SendArgs;
use crate::running::RunFile;
use crate::trouble::{Outcome, Trouble};

/// Tries of one request past which its events count as refused.
const MAX_ATTEMPTS: u32 = 6;
/// How long one request may take.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What came of the requests.
#[derive(Debug, Default)]
struct Tally {
    accepted: u64,
    refused: u64,
    requests: u64,
    bad_sent: u64,
    latencies: Vec<Duration>,
    refusals: BTreeMap<String, u64>,
}

impl Tally {
    fn add(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.refused += other.refused;
        self.requests += other.requests;
        self.bad_sent += other.bad_sent;
        self.latencies.extend(other.latencies);
        for (reason, count) in other.refusals {
            *self.refusals.entry(reason).or_default() += count;
        }
    }
}

/// Runs the command.
pub fn send(args: &SendArgs) -> Outcome {
    if !(0.0..=100.0).contains(&args.bad) {
        return Err(Trouble::user(format!("--bad {}: has to be a percentage from 0 to 100", args.bad)));
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Trouble::machine("threads can't be started", error))?;
    let running = RunFile::find(&args.data_dir);
    let url = args
        .to
        .clone()
        .or_else(|| running.and_then(|running| running.collector_url))
        .unwrap_or_else(|| "http://127.0.0.1:8080".to_owned());
    let url = url.trim_end_matches('/').to_owned();
    runtime.block_on(play(args, &url))
}

async fn play(args: &SendArgs, url: &str) -> Outcome {
    let client = reqwest::Client::builder()
        .timeout(TIMEOUT)
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .map_err(|error| Trouble::caused("the HTTP client can't be made", error))?;
    let health = client.get(format!("{url}/health")).send().await;
    if let Err(error) = health {
        let hint =
            "no collector answers; start one with `snowmelt run pipelines/quickstart.toml`, or name it by --to URL";
        return Err(Trouble::caused(&format!("{url}: {hint}"), error));
    }
    let seed = args.seed.unwrap_or_else(|| now().as_nanos() as u64);
    let start_ms = i64::try_from(now().as_millis()).unwrap_or(i64::MAX);
    let shop =
        Shop::new(ShopConfig { seed, events: args.events, bad_percent: args.bad, start_ms, ..ShopConfig::default() });
    let bar = progress(args.events);
    let (sender, receiver) = async_queue(usize::from(args.connections));
    let mut workers = Vec::new();
    for _ in 0..args.connections {
        let (client, url, bar, receiver) = (client.clone(), url.to_owned(), bar.clone(), receiver.clone());
        workers.push(tokio::spawn(async move { work(&client, &url, &receiver, &bar).await }));
    }
    let started = Instant::now();
    feed(shop, args.rate, sender).await;
    let mut tally = Tally::default();
    for worker in workers {
        tally.add(worker.await.map_err(|error| Trouble::machine("a sender failed", error))?);
    }
    bar.finish_and_clear();
    report(&mut tally, started.elapsed(), seed, url);
    if tally.refused > 0 {
        return Err(Trouble::Machine(format!("{} of {} events were refused", tally.refused, args.events)));
    }
    Ok(())
}

type Receiver = std::sync::Arc<tokio::sync::Mutex<mpsc::Receiver<ShopRequest>>>;

fn async_queue(capacity: usize) -> (mpsc::Sender<ShopRequest>, Receiver) {
    let (sender, receiver) = mpsc::channel(capacity * 2);
    (sender, std::sync::Arc::new(tokio::sync::Mutex::new(receiver)))
}

/// Gives out requests, no faster than the rate allows.
async fn feed(shop: Shop, rate: Option<u32>, sender: mpsc::Sender<ShopRequest>) {
    let started = Instant::now();
    let mut events = 0_u64;
    for request in shop {
        if let Some(rate) = rate {
            let due = Duration::from_secs_f64(events as f64 / f64::from(rate));
            tokio::time::sleep_until((started + due).into()).await;
        }
        events += request.events.len() as u64;
        if sender.send(request).await.is_err() {
            return;
        }
    }
}

async fn work(client: &reqwest::Client, url: &str, receiver: &Receiver, bar: &ProgressBar) -> Tally {
    let mut tally = Tally::default();
    loop {
        let next = receiver.lock().await.recv().await;
        let Some(request) = next else { return tally };
        let events = request.events.len() as u64;
        tally.requests += 1;
        tally.bad_sent += request.events.iter().filter(|event| event.expect != Expect::Good).count() as u64;
        let started = Instant::now();
        match deliver(client, url, &request).await {
            Ok(()) => tally.accepted += events,
            Err(reason) => {
                tally.refused += events;
                *tally.refusals.entry(reason).or_default() += events;
            }
        }
        tally.latencies.push(started.elapsed());
        bar.inc(events);
    }
}

/// Sends one request until it is accepted, as a tracker does: what is not accepted is sent again.
async fn deliver(client: &reqwest::Client, url: &str, request: &ShopRequest) -> Result<(), String> {
    let mut backoff = snowmelt_runtime::Backoff::new(Duration::from_millis(100), Duration::from_secs(2))
        .at_least(Duration::from_millis(20));
    loop {
        let refusal = match build(client, url, request).send().await {
            Ok(answer) if answer.status().is_success() => return Ok(()),
            // A client error will not get better by repeating it.
            Ok(answer) if answer.status().is_client_error() => return Err(format!("status {}", answer.status())),
            Ok(answer) => format!("status {}", answer.status()),
            Err(error) => error.without_url().to_string(),
        };
        let wait = backoff.next_wait();
        if backoff.attempts() >= MAX_ATTEMPTS {
            return Err(refusal);
        }
        tokio::time::sleep(wait).await;
    }
}

fn build(client: &reqwest::Client, url: &str, request: &ShopRequest) -> reqwest::RequestBuilder {
    let target = format!("{url}{}", request.path_and_query);
    let mut builder = match request.method {
        Method::Get => client.get(target),
        Method::Post => client.post(target),
    };
    if let Some(content_type) = request.content_type {
        builder = builder.header("Content-Type", content_type);
    }
    for (name, value) in &request.headers {
        builder = builder.header(*name, value);
    }
    match &request.body {
        Some(body) => builder.body(body.clone()),
        None => builder,
    }
}

fn progress(events: u64) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(events), ProgressDrawTarget::stderr());
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} events  {per_sec}  {eta} left");
    bar.set_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    bar
}

fn report(tally: &mut Tally, took: Duration, seed: u64, url: &str) {
    tally.latencies.sort_unstable();
    let at = |share: f64| {
        let index = (tally.latencies.len().saturating_sub(1) as f64 * share) as usize;
        tally.latencies.get(index).copied().unwrap_or_default().as_secs_f64() * 1e3
    };
    let per_second = tally.accepted as f64 / took.as_secs_f64().max(1e-9);
    println!("sent to     {url}");
    println!(
        "events      {} accepted, {} refused, of which {} are bad on purpose",
        tally.accepted, tally.refused, tally.bad_sent
    );
    println!("requests    {} in {:.2} s, {per_second:.0} events/s", tally.requests, took.as_secs_f64());
    println!("answers     p50 {:.1} ms, p99 {:.1} ms, longest {:.1} ms", at(0.5), at(0.99), at(1.0));
    println!("seed        {seed}");
    for (reason, count) in &tally.refusals {
        println!("refused     {count}: {reason}");
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
