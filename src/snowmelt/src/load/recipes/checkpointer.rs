//! Checkpointer: durable batches in, positions out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use snowmelt_checkpointer::{CheckpointOptions, Checkpointer};
use snowmelt_leases::{LeaseStore, Position, ShardInfo};
use snowmelt_runtime::Ledger;

use crate::load::bench::Bench;
use crate::load::pace::{Pace, Sent};
use crate::load::rig::{Generator, Outputs, Rig};
use crate::load::standins::{StandInLeases, Watched};
use crate::trouble::{Outcome, Trouble};

/// Batches that may wait for a checkpoint; a shard's group has far fewer under way.
const MOST_WAITING: usize = 64;
/// Between two looks whether there is room again.
const POLL: Duration = Duration::from_micros(200);
const APPLICATION: &str = "load";
const SHARD: &str = "shardId-000000000000";

/// Builds the rig.
pub async fn build(bench: &mut Bench, pace: Pace) -> Outcome<Rig> {
    let checkpoints = Arc::new(AtomicU64::new(0));
    let tracker = bench.shared.tracker.clone();
    let store: Arc<dyn LeaseStore> = Arc::new(Watched::new(table(bench)?, tracker, Arc::clone(&checkpoints)));
    let wrong = |error| Trouble::caused("the lease table", error);
    let info = ShardInfo { id: SHARD.to_owned(), parents: Vec::new(), range: None, closed: false };
    store.sync(APPLICATION, "raw", &[info], &Position::TrimHorizon).await.map_err(wrong)?;
    let lease = store.acquire(APPLICATION, SHARD, "load", bench.clock.now_ms()).await.map_err(wrong)?;
    let mut builder = bench.group("checkpointer");
    let ledger = Ledger::new();
    // In production at most once a second; here the table is the limit.
    let options = CheckpointOptions { every: Duration::from_millis(1), ..CheckpointOptions::default() };
    let watched = ledger.clone();
    builder.worker("checkpointer", move || Checkpointer::new(store, lease, Vec::new(), watched, options));
    let mut rig = Rig::of_group(builder, None, Some(deliver(pace, ledger)));
    rig.outputs = Some(Outputs { what: "checkpoints", count: Box::new(move || checkpoints.load(Ordering::Relaxed)) });
    Ok(rig)
}

fn table(bench: &mut Bench) -> Outcome<Arc<dyn LeaseStore>> {
    if !bench.args.real {
        return Ok(Arc::new(StandInLeases::new(bench.faults())));
    }
    let directory = bench.directory()?.join("leases");
    let leases =
        snowmelt_leases::EmbeddedLeases::open(directory).map_err(|error| Trouble::caused("the lease table", error))?;
    Ok(Arc::new(leases))
}

/// Opens batches and delivers them at once.
fn deliver(mut pace: Pace, ledger: Ledger) -> Generator {
    Box::new(move || {
        async move {
            let shared = pace.shared().clone();
            while let Some(turn) = pace.next().await {
                let waiting = Instant::now();
                while shared.tracker.waiting() >= MOST_WAITING && !shared.stop.is_cancelled() {
                    tokio::time::sleep(POLL).await;
                }
                shared.waited.fetch_add(waiting.elapsed().as_micros() as u64, Ordering::Relaxed);
                let number = shared.tracker.sent(Sent { due: turn.due, records: turn.records as u64, bytes: 0 });
                ledger.open(number.to_string(), turn.records).delivered();
                shared.cpu.tell();
            }
            ledger.seal(false);
            Ok(())
        }
        .boxed_local()
    })
}
