//! What one hop of a 500-record batch costs between two event loops: through a port, with its bound in bytes and batches,
//! its acknowledgement and its counters, beside tokio's own bounded channel between two single-threaded runtimes. Rounds alternate, so that
//! a noisy machine hits both alike. `cargo bench -p snowmelt-runtime --bench hop`.
#![allow(clippy::unwrap_used, reason = "a bench fails by it")]

use std::time::{Duration, Instant};

use async_trait::async_trait;
use snowmelt_runtime::group::GroupEnd;
use snowmelt_runtime::{
    Ack, Batch, Clock, Cores, Failure, GroupBuilder, GroupContext, GroupId, MailboxLimits, Pause, Port, Stage,
    StageContext,
};
use tokio::sync::{mpsc, oneshot};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const BATCHES: usize = 20_000;
const RECORDS: usize = 500;
const ROUNDS: usize = 9;

fn batch() -> Vec<Vec<u8>> {
    (0..RECORDS).map(|_| Vec::with_capacity(64)).collect()
}

/// Counts and drops what it gets.
struct Sink {
    seen: usize,
    done: Option<oneshot::Sender<Instant>>,
}

#[async_trait(?Send)]
impl Stage for Sink {
    type Input = Batch<Vec<u8>>;

    async fn handle(&mut self, input: Self::Input, _cx: &StageContext) -> Result<(), Failure> {
        self.seen += input.items.len();
        input.ack.delivered();
        Ok(())
    }

    async fn drain(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        assert_eq!(self.seen, BATCHES * RECORDS);
        self.done.unwrap().send(Instant::now()).unwrap();
        Ok(())
    }
}

/// Through a port: one thread makes batches, the sink's event loop takes them.
async fn port() -> Duration {
    let arbiter = actix_rt::Arbiter::new();
    let context = GroupContext {
        id: GroupId { pipeline: "bench".into(), shard: "0".into() },
        clock: Clock::system(),
        cores: Cores::new(1).unwrap(),
        arbiter: arbiter.handle(),
        pause: Pause::default(),
    };
    let mut builder = GroupBuilder::new(context);
    let (sender, receiver) = oneshot::channel();
    let limits = MailboxLimits::new(1 << 30, 64);
    let port: Port<Batch<Vec<u8>>> = builder.stage("sink", limits, move || Sink { seen: 0, done: Some(sender) });
    let mut group = builder.finish();
    let started = Instant::now();
    let feeding = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            for _ in 0..BATCHES {
                port.send_from_outside(Batch::new(batch(), RECORDS * 64, Ack::untracked())).await.unwrap();
            }
            port.close().unwrap();
        });
    });
    let ended = receiver.await.unwrap();
    feeding.join().unwrap();
    assert_eq!(group.ended().await, GroupEnd::Drained);
    arbiter.stop();
    ended - started
}

/// Through tokio's bounded channel, between two single-threaded runtimes.
fn channel() -> Duration {
    let (sender, mut receiver) = mpsc::channel::<Vec<Vec<u8>>>(64);
    let started = Instant::now();
    let feeding = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            for _ in 0..BATCHES {
                sender.send(batch()).await.unwrap();
            }
        });
    });
    let taking = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async move {
            let mut seen = 0;
            while let Some(records) = receiver.recv().await {
                seen += records.len();
            }
            assert_eq!(seen, BATCHES * RECORDS);
            Instant::now()
        })
    });
    let ended = taking.join().unwrap();
    feeding.join().unwrap();
    ended - started
}

fn median(mut times: Vec<Duration>) -> f64 {
    times.sort_unstable();
    times[times.len() / 2].as_secs_f64()
}

#[actix::main]
async fn main() {
    let (mut ports, mut channels) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        channels.push(channel());
        ports.push(port().await);
    }
    let (port, channel) = (median(ports), median(channels));
    let micros = |seconds: f64| seconds * 1e6 / BATCHES as f64;
    println!("a batch of {RECORDS} records from one event loop to another, median of {ROUNDS} rounds of {BATCHES}");
    println!("tokio mpsc(64)   {:6.2} µs a batch", micros(channel));
    println!("port             {:6.2} µs a batch, {:.2} of tokio's", micros(port), port / channel);
}
