//! Collector: requests in, records out.

use std::net::{SocketAddr, TcpListener};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::try_join_all;
use snowmelt_collector::{Clock, CollectorConfig, serve};
use tokio::sync::{Mutex, oneshot};

use super::http::{Connection, encode};
use crate::load::bench::Bench;
use crate::load::input;
use crate::load::pace::{Pace, Sent};
use crate::load::rig::{Generator, Rig};
use crate::load::standins::StreamSink;
use crate::trouble::{Outcome, Trouble};

/// Connections of the load generator.
const CONNECTIONS: usize = 64;
/// Events in the requests that are made; about half as many requests.
const EVENTS: u64 = 10_000;
/// How often the generator tells its CPU: asking costs a system call.
const TELL_EVERY: u64 = 64;
/// An answer that takes longer counts as refused.
const ANSWER_PATIENCE: Duration = Duration::from_secs(30);

/// Builds the rig.
pub async fn build(bench: &mut Bench, pace: Pace) -> Outcome<Rig> {
    let requests: Vec<Vec<u8>> = input::requests(bench.args.seed, EVENTS).iter().map(encode).collect();
    bench.input_bytes = requests.iter().map(Vec::len).sum();
    let streams = bench.streams(&["raw", "bad"], Arc::default()).await?;
    let good = Arc::new(StreamSink::new(Arc::clone(&streams), "raw"));
    let bad = Arc::new(StreamSink::new(streams, "bad"));
    let listener = TcpListener::bind("127.0.0.1:0").map_err(|error| Trouble::machine("a loopback port", error))?;
    let address = listener.local_addr().map_err(|error| Trouble::machine("a loopback port", error))?;
    let config = CollectorConfig { pre_termination_period: Duration::ZERO, ..CollectorConfig::default() };
    let clock = bench.clock.clone();
    let now: Clock = Arc::new(move || clock.now_ms());
    let (stop, stopped) = oneshot::channel::<()>();
    // A generator that is gone means the same as one that is done.
    let shutdown = async move { stopped.await.unwrap_or_default() };
    let ended = async move {
        let served = serve(config, listener, good, bad, now, shutdown).await;
        served.map_err(|error| format!("collector: {error}"))
    };
    let refused = Arc::new(AtomicU64::new(0));
    let generator = send(pace, address, requests, Arc::clone(&refused), stop);
    Ok(Rig {
        actors: Vec::new(),
        ended: ended.boxed_local(),
        ledger: None,
        generator: Some(generator),
        is_fed: true,
        outputs: None,
        refused: Some(refused),
    })
}

/// Every connection sends the next request as soon as the one before was answered.
fn send(
    pace: Pace,
    address: SocketAddr,
    requests: Vec<Vec<u8>>,
    refused: Arc<AtomicU64>,
    stop: oneshot::Sender<()>,
) -> Generator {
    Box::new(move || {
        async move {
            let shared = pace.shared().clone();
            let (pace, requests) = (Rc::new(Mutex::new(pace)), Rc::new(requests));
            let next = Rc::new(std::cell::Cell::new(0_u64));
            let connections = (0..CONNECTIONS).map(|_| {
                let (pace, requests, next, refused, shared) =
                    (Rc::clone(&pace), Rc::clone(&requests), Rc::clone(&next), Arc::clone(&refused), shared.clone());
                let connection = async move {
                    let mut connection = Connection::new(address);
                    loop {
                        let turn = {
                            let mut pace = pace.lock().await;
                            let Some(turn) = pace.next().await else { return };
                            shared.tracker.asked();
                            turn
                        };
                        let number = next.replace(next.get() + 1);
                        let request = &requests[(number % requests.len() as u64) as usize];
                        let answer = tokio::time::timeout(ANSWER_PATIENCE, connection.ask(request)).await;
                        let taken = matches!(answer, Ok(Ok(200..=399)));
                        refused.fetch_add(u64::from(!taken), Ordering::Relaxed);
                        let sent = Sent { due: turn.due, records: 1, bytes: request.len() as u64 };
                        shared.tracker.answered(taken.then_some(sent));
                        if number % TELL_EVERY == 0 {
                            shared.cpu.tell();
                        }
                    }
                };
                tokio::task::spawn_local(connection)
            });
            let done = try_join_all(connections.collect::<Vec<_>>()).await;
            // A collector that has ended by itself tells so.
            stop.send(()).unwrap_or_default();
            done.map(|_| ()).map_err(|error| format!("load generator: {error}"))
        }
        .boxed_local()
    })
}
