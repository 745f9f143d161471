//! Input to acknowledged write: enriched events through batcher, packer and writer, every cut declared to a lease table on the
//! disk and every object synced to it, against bare libdeflate over the same lines on the same core, in one run.
//!
//! `taskset -c 0 cargo bench -p snowmelt-s3-writer`; prints how much more than before the process holds at most, too.

#[path = "../../../src/objects/benches/events.rs"]
mod events;

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use serde_json::json;
use snowmelt_batcher::{BatchRules, Batcher};
use snowmelt_checkpointer::{CheckpointOptions, Checkpointer};
use snowmelt_leases::{EmbeddedLeases, LeaseStore, Position, ShardInfo};
use snowmelt_objects::framing::write_lines;
use snowmelt_objects::{DirectoryStore, LoaderFile, ObjectStore, PackRatio};
use snowmelt_runtime::group::GroupEnd;
use snowmelt_runtime::{
    Batch, Clock, Cores, Failure, GroupBuilder, GroupContext, GroupId, Intents, Ledger, MailboxLimits, Pause, Stage,
    StageContext,
};
use snowmelt_s3_writer::{Packer, Puts, Report, S3Writer};
use snowmelt_streams::{PutEntry, Record, SequenceNumber};

const ROUNDS: usize = 5;
const PAGE: usize = 1000;

/// Takes bad rows; there are none.
struct Nowhere;

#[async_trait(?Send)]
impl Stage for Nowhere {
    type Input = Batch<PutEntry>;

    async fn handle(&mut self, input: Self::Input, _cx: &StageContext) -> Result<(), Failure> {
        input.ack.delivered();
        Ok(())
    }

    async fn drain(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        Ok(())
    }
}

fn main() {
    let lines: Vec<Bytes> = events::events(80_000).into_iter().map(Bytes::from).collect();
    let plain: usize = lines.iter().map(|line| line.len() + 1).sum();
    println!("{} lines, {:.0} MB; MB/s of plain bytes, {ROUNDS} rounds, turn by turn", lines.len(), mb(plain));
    for max_bytes in [8 << 20, 64 << 20] {
        let (mut bare, mut whole, mut most) = (Rates::default(), Rates::default(), 0.0_f64);
        for round in 0..ROUNDS {
            bare.measure(plain, || deflate(&lines, max_bytes));
            std::fs::write("/proc/self/clear_refs", "5").expect("the peak can be forgotten");
            let held = memory("VmRSS:");
            whole.measure(plain, || write(&lines, max_bytes, round));
            most = most.max(memory("VmHWM:") - held);
        }
        println!("batches of {} MiB; by CPU time a noisy machine is left out", max_bytes >> 20);
        println!("  libdeflate 6 alone:            {bare}");
        println!("  input to acknowledged write:   {whole}");
        println!(
            "  of it: {:.2} best, {:.2} median; by CPU time {:.2} best, {:.2} median; {most:.0} MB more than before at most",
            best(&whole.wall) / best(&bare.wall),
            median(&whole.wall) / median(&bare.wall),
            best(&whole.cpu) / best(&bare.cpu),
            median(&whole.cpu) / median(&bare.cpu),
        );
    }
}

/// MB a second of time and of CPU time.
#[derive(Default)]
struct Rates {
    wall: Vec<f64>,
    cpu: Vec<f64>,
}

impl Rates {
    fn measure(&mut self, bytes: usize, work: impl FnOnce()) {
        let (began, cpu) = (Instant::now(), cpu_seconds());
        work();
        self.wall.push(mb(bytes) / began.elapsed().as_secs_f64());
        self.cpu.push(mb(bytes) / (cpu_seconds() - cpu));
    }
}

impl std::fmt::Display for Rates {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (wall, cpu) = (&self.wall, &self.cpu);
        write!(
            f,
            "best {:.0}, median {:.0}; by CPU time best {:.0}, median {:.0}",
            best(wall),
            median(wall),
            best(cpu),
            median(cpu)
        )
    }
}

/// CPU time of this process so far, kernel time included.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("this is Linux");
    // Behind the program's name, which ends with the last bracket: user and system time are the 12th and 13th, in 1/100 s.
    let rest = stat.rsplit(')').next().expect("a name in brackets");
    rest.split_whitespace().skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}

fn mb(bytes: usize) -> f64 {
    bytes as f64 / 1e6
}

fn best(rates: &[f64]) -> f64 {
    rates.iter().copied().fold(0.0, f64::max)
}

fn median(rates: &[f64]) -> f64 {
    let mut sorted = rates.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[sorted.len() / 2]
}

/// A value of this process's status in MB.
fn memory(name: &str) -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find(|line| line.starts_with(name)).expect("a line of Linux's");
    let kib: f64 = line.split_whitespace().nth(1).and_then(|kib| kib.parse().ok()).expect("a number of KiB");
    kib * 1024.0 / 1e6
}

/// The compressor's work and joining the lines for it, in buffers that are used again.
fn deflate(lines: &[Bytes], max_bytes: usize) {
    let level = libdeflater::CompressionLvl::new(6).expect("libdeflate knows level 6");
    let mut compressor = libdeflater::Compressor::new(level);
    let per_batch = max_bytes / lines[0].len();
    let (mut joined, mut packed) = (Vec::new(), Vec::new());
    for batch in lines.chunks(per_batch) {
        joined.clear();
        write_lines(batch.iter().map(AsRef::as_ref), &mut joined);
        packed.resize(compressor.gzip_compress_bound(joined.len()), 0);
        compressor.gzip_compress(&joined, &mut packed).expect("its own bound is large enough");
        std::hint::black_box(&packed);
    }
}

fn write(lines: &[Bytes], max_bytes: usize, round: usize) {
    let lines = lines.to_vec();
    actix_rt::System::new().block_on(run(lines, max_bytes, round));
}

async fn run(lines: Vec<Bytes>, max_bytes: usize, round: usize) {
    let folder = std::env::temp_dir().join(format!("snowmelt-write-{}-{max_bytes}-{round}", std::process::id()));
    let store: Arc<dyn ObjectStore> = Arc::new(DirectoryStore::open(folder.join("objects")).expect("a directory"));
    let leases = Arc::new(EmbeddedLeases::open(folder.join("leases")).expect("a directory"));
    let shard = ShardInfo { id: "shardId-000000000000".into(), parents: Vec::new(), range: None, closed: false };
    leases.sync("bench", "enriched", std::slice::from_ref(&shard), &Position::TrimHorizon).await.expect("a lease");
    let lease = leases.acquire("bench", &shard.id, "bench", 0).await.expect("a lease");
    let config = LoaderFile::from_value(&json!({
        "purpose": "ENRICHED_EVENTS",
        "input": { "streamName": "enriched" },
        "output": {
            "good": { "path": "s3://arch/enriched", "partitionFormat": "{yyyy}/{MM}/{dd}/{HH}" },
            "bad": { "streamName": "bad" },
        },
    }))
    .and_then(|file| file.resolve("0.1.0"))
    .expect("the options make sense");

    let arbiter = actix_rt::Arbiter::new();
    let mut builder = GroupBuilder::new(GroupContext {
        id: GroupId { pipeline: "bench".into(), shard: shard.id },
        clock: Clock::system(),
        cores: Cores::new(1).expect("a thread"),
        arbiter: arbiter.handle(),
        pause: Pause::default(),
    });
    let (ledger, intents) = (Ledger::new(), Intents::default());
    let (tickets, declared) = (ledger.clone(), intents.clone());
    builder.worker("checkpointer", move || {
        Checkpointer::new(leases, lease, Vec::new(), tickets, CheckpointOptions::default()).with_intents(declared)
    });
    let one = MailboxLimits::new(2 * max_bytes, 1);
    let bad = builder.stage("bad", one, || Nowhere);
    let puts = Puts { store, retry_for: None, report: Report::default() };
    let (of_writer, of_packer) = (intents.sink("bench"), intents.sink("bench"));
    let writer = builder.stage("writer", one, move || S3Writer::new(puts, of_writer, bad));
    let packer =
        builder.stage("packer", one, move || Packer::new(Arc::new(config), of_packer, PackRatio::default(), writer));
    let rules = BatchRules { max_bytes, max_records: usize::MAX, max_age: Duration::from_secs(60) };
    let input = builder.stage("batcher", MailboxLimits::new(8 << 20, 4), move || Batcher::new(rules, packer));
    let mut group = builder.finish();
    let feeding = async {
        let mut number = 0;
        for page in lines.chunks(PAGE) {
            let mut records = Vec::with_capacity(page.len());
            for line in page {
                number += 1;
                let sequence = SequenceNumber::new(0, number);
                // Copied, as a page of a stream is.
                let data = Bytes::copy_from_slice(line);
                records.push(Record { sequence, partition_key: String::new(), data, arrived_ms: 0 });
            }
            let bytes = records.iter().map(|record| record.data.len()).sum();
            let ack = ledger.open(number.to_string(), records.len());
            input.send_from_outside(Batch::new(records, bytes, ack)).await.expect("the batcher lives");
        }
        ledger.seal(false);
        input.close().expect("the batcher lives");
    };
    let (end, ()) = tokio::join!(group.ended(), feeding);
    assert_eq!(end, GroupEnd::Drained);
    arbiter.stop();
    std::fs::remove_dir_all(&folder).expect("its own folder");
}
