//! Records a second into and out of the embedded log: puts of 500 records of 1.8 kB.
#![allow(clippy::unwrap_used, reason = "a bench fails by it")]

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use divan::Bencher;
use divan::counter::{BytesCount, ItemsCount};
use snowmelt_streams::{
    Durability, EmbeddedStreams, Options, PutEntry, PutOutcome, ReadLimit, ShardId, StartAt, Streams,
};
use tokio::runtime::Runtime;

const RECORDS: usize = 500;
const RECORD_BYTES: usize = 1800;

fn main() {
    divan::main();
}

fn entries() -> Vec<PutEntry> {
    let data = Bytes::from(vec![b'x'; RECORD_BYTES]);
    (0..RECORDS).map(|n| PutEntry::new(format!("user-{n}"), data.clone())).collect()
}

fn set_up(durability: Durability, tail_cache_bytes: usize) -> (tempfile::TempDir, Runtime, Arc<EmbeddedStreams>) {
    let directory = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let options =
        Options { durability, tail_cache_bytes, max_stream_bytes: 2 * 1024 * 1024 * 1024, ..Options::default() };
    let streams = EmbeddedStreams::open(directory.path(), options).unwrap();
    runtime.block_on(streams.create("s", 1, Duration::from_secs(86_400))).unwrap();
    (directory, runtime, Arc::new(streams))
}

async fn put(streams: &EmbeddedStreams, entries: Vec<PutEntry>) {
    let outcomes = streams.put("s", entries, None).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, PutOutcome::Stored { .. })));
}

/// One putter after the other.
#[divan::bench(args = [Durability::OsCache, Durability::Fsync], sample_count = 40)]
fn put_one_at_a_time(bencher: Bencher, durability: Durability) {
    let (_directory, runtime, streams) = set_up(durability, 8 << 20);
    bencher
        .counter(ItemsCount::new(RECORDS))
        .counter(BytesCount::new(RECORDS * RECORD_BYTES))
        .with_inputs(entries)
        .bench_values(|entries| runtime.block_on(put(&streams, entries)));
}

/// Eight putters to one shard, whose writes are gathered.
#[divan::bench(args = [Durability::OsCache, Durability::Fsync], sample_count = 20)]
fn put_eight_at_a_time(bencher: Bencher, durability: Durability) {
    let (_directory, runtime, streams) = set_up(durability, 8 << 20);
    bencher
        .counter(ItemsCount::new(8 * RECORDS))
        .counter(BytesCount::new(8 * RECORDS * RECORD_BYTES))
        .with_inputs(|| (0..8).map(|_| entries()).collect::<Vec<_>>())
        .bench_values(|puts| {
            runtime.block_on(async {
                let putters: Vec<_> = puts
                    .into_iter()
                    .map(|entries| {
                        let streams = Arc::clone(&streams);
                        tokio::spawn(async move { put(&streams, entries).await })
                    })
                    .collect();
                for putter in putters {
                    putter.await.unwrap();
                }
            });
        });
}

/// 20 000 records from the tail cache (64 MiB) or, without it, from files.
#[divan::bench(args = [64 << 20, 0], sample_count = 20)]
fn read_20_000(bencher: Bencher, tail_cache_bytes: usize) {
    const PUTS: usize = 40;
    let (_directory, runtime, streams) = set_up(Durability::OsCache, tail_cache_bytes);
    for _ in 0..PUTS {
        runtime.block_on(put(&streams, entries()));
    }
    bencher.counter(ItemsCount::new(PUTS * RECORDS)).counter(BytesCount::new(PUTS * RECORDS * RECORD_BYTES)).bench(
        || {
            runtime.block_on(async {
                let mut cursor = streams.open("s", &ShardId::from_index(0), &StartAt::TrimHorizon).await.unwrap();
                let mut read = 0;
                while read < PUTS * RECORDS {
                    read += cursor.next(ReadLimit::default(), Duration::ZERO).await.unwrap().records.len();
                }
            });
        },
    );
}
