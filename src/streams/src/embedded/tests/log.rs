//! What the log promises, one promise a test.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::Faults;
use crate::embedded::{Clock, Durability, EmbeddedStreams, Options};
use crate::{
    Origin, Producer, PutEntry, PutOutcome, ReadLimit, Record, SequenceNumber, ShardCursor, ShardId, StartAt,
    StreamError, Streams, hash_key,
};

pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const NO_WAIT: Duration = Duration::ZERO;

pub(super) fn options() -> Options {
    Options { durability: Durability::OsCache, ..Options::default() }
}

/// A clock that a test sets.
pub(super) fn test_clock() -> (Arc<AtomicI64>, Clock) {
    let now = Arc::new(AtomicI64::new(1_700_000_000_000));
    let read = Arc::clone(&now);
    (now, Clock::new(move || read.load(Ordering::SeqCst)))
}

pub(super) fn open(directory: &Path) -> EmbeddedStreams {
    EmbeddedStreams::open(directory, options()).unwrap()
}

pub(super) fn entry(key: &str, data: &str) -> PutEntry {
    PutEntry::new(key, data.to_owned())
}

pub(super) async fn put_one(streams: &EmbeddedStreams, key: &str, data: &str) -> (ShardId, SequenceNumber) {
    match streams.put("s", vec![entry(key, data)], None).await.unwrap().remove(0) {
        PutOutcome::Stored { shard, sequence } => (shard, sequence),
        other => panic!("{other:?}"),
    }
}

/// All there is from the cursor on, without waiting; whether the shard's end was reached.
pub(super) async fn drain(cursor: &mut dyn ShardCursor, limit: ReadLimit) -> (Vec<Record>, bool) {
    let mut all = Vec::new();
    loop {
        let page = cursor.next(limit, NO_WAIT).await.unwrap();
        let (empty, end) = (page.records.is_empty(), page.end_of_shard);
        assert!(!page.records.is_empty() || page.millis_behind_latest == 0);
        all.extend(page.records);
        if empty || end {
            return (all, end);
        }
    }
}

pub(super) async fn read_from(streams: &EmbeddedStreams, shard: &ShardId, from: StartAt) -> Vec<Record> {
    let mut cursor = streams.open("s", shard, &from).await.unwrap();
    drain(cursor.as_mut(), ReadLimit::default()).await.0
}

pub(super) fn texts(records: &[Record]) -> Vec<&str> {
    records.iter().map(|record| std::str::from_utf8(&record.data).unwrap()).collect()
}

fn shard(index: u64) -> ShardId {
    ShardId::from_index(index)
}

#[tokio::test]
async fn records_are_placed_by_hash_key_and_read_in_order() {
    let directory = tempfile::tempdir().unwrap();
    let streams = open(directory.path());
    streams.create("s", 4, DAY).await.unwrap();
    streams.create("s", 2, DAY).await.unwrap();
    let description = streams.describe("s").await.unwrap();
    assert_eq!((description.shards.len(), description.retention), (4, DAY));
    let mut entries: Vec<_> = (0..200).map(|n| entry(&format!("key{}", n % 17), &n.to_string())).collect();
    entries[0].explicit_hash_key = Some(u128::MAX);
    let outcomes = streams.put("s", entries.clone(), None).await.unwrap();
    let mut expected: BTreeMap<ShardId, Vec<(SequenceNumber, Bytes)>> = BTreeMap::new();
    for (entry, outcome) in entries.iter().zip(&outcomes) {
        let PutOutcome::Stored { shard, sequence } = outcome else { panic!("{outcome:?}") };
        let range = description.shards.iter().find(|found| found.id == *shard).unwrap().range;
        assert!(range.contains(entry.explicit_hash_key.unwrap_or_else(|| hash_key(&entry.partition_key))));
        expected.entry(shard.clone()).or_default().push((*sequence, entry.data.clone()));
    }
    assert_eq!(expected.len(), 4);
    for (shard, expected) in &expected {
        let read = read_from(&streams, shard, StartAt::TrimHorizon).await;
        assert!(read.is_sorted_by(|a, b| a.sequence < b.sequence));
        assert_eq!(&read.into_iter().map(|record| (record.sequence, record.data)).collect::<Vec<_>>(), expected);
    }
}

#[tokio::test]
async fn cursors_begin_where_they_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let (now, clock) = test_clock();
    for restart in [false, true] {
        let streams = EmbeddedStreams::open(directory.path(), Options { clock: clock.clone(), ..options() }).unwrap();
        if !restart {
            streams.create("s", 1, DAY).await.unwrap();
            for n in 0..5 {
                now.fetch_add(10, Ordering::SeqCst);
                put_one(&streams, "k", &n.to_string()).await;
            }
        }
        let all = read_from(&streams, &shard(0), StartAt::TrimHorizon).await;
        assert_eq!(texts(&all), ["0", "1", "2", "3", "4"]);
        let start = 1_700_000_000_000;
        for (from, expected) in [
            (StartAt::Latest, 5),
            (StartAt::At(all[2].sequence), 2),
            (StartAt::After(all[2].sequence), 3),
            (StartAt::After(all[4].sequence), 5),
            (StartAt::AtTimestampMs(0), 0),
            (StartAt::AtTimestampMs(start + 20), 1),
            (StartAt::AtTimestampMs(start + 21), 2),
            (StartAt::AtTimestampMs(start + 51), 5),
        ] {
            assert_eq!(read_from(&streams, &shard(0), from).await, all[expected..], "{from:?}");
        }
        let wrong = streams.open("s", &shard(0), &StartAt::At(SequenceNumber::new(1, 1))).await;
        assert!(matches!(wrong.err(), Some(StreamError::Invalid { .. })));
    }
}

#[tokio::test]
async fn limits_cut_pages_and_nothing_is_lost_between_them() {
    let directory = tempfile::tempdir().unwrap();
    let small = Options { segment_bytes: 4096, tail_cache_bytes: 1000, ..options() };
    let streams = EmbeddedStreams::open(directory.path(), small).unwrap();
    streams.create("s", 1, DAY).await.unwrap();
    let entries: Vec<_> = (0..300).map(|n| entry("k", &format!("{n:0100}"))).collect();
    for part in entries.chunks(7) {
        streams.put("s", part.to_vec(), None).await.unwrap();
    }
    for limit in [(1, 1), (10, usize::MAX), (1000, 350), (1000, 10_000)] {
        let limit = ReadLimit { records: limit.0, bytes: limit.1 };
        let mut cursor = streams.open("s", &shard(0), &StartAt::TrimHorizon).await.unwrap();
        let mut seen = Vec::new();
        loop {
            let page = cursor.next(limit, NO_WAIT).await.unwrap();
            let bytes: usize = page.records.iter().map(|record| record.data.len() + 1).sum();
            assert!(page.records.len() <= limit.records && (bytes <= limit.bytes || page.records.len() == 1));
            if page.records.is_empty() {
                break;
            }
            assert_eq!(page.millis_behind_latest == 0, seen.len() + page.records.len() == 300, "{limit:?}");
            seen.extend(page.records);
        }
        assert_eq!(seen.len(), 300, "{limit:?}");
        assert!(seen.iter().zip(&entries).all(|(record, entry)| record.data == entry.data));
    }
}

#[tokio::test]
async fn unfit_entries_are_rejected_one_by_one() {
    let directory = tempfile::tempdir().unwrap();
    let streams = open(directory.path());
    streams.create("s", 2, DAY).await.unwrap();
    let large = |len| PutEntry::new("k", vec![0; len]);
    let entries = vec![
        entry("", "x"),
        entry(&"k".repeat(257), "x"),
        entry(&"ж".repeat(256), "x"),
        large(1024 * 1024),
        large(1024 * 1024 - 1),
        entry("k", ""),
    ];
    let outcomes = streams.put("s", entries, None).await.unwrap();
    let stored: Vec<_> = outcomes.iter().map(|outcome| matches!(outcome, PutOutcome::Stored { .. })).collect();
    assert_eq!(stored, [false, false, true, false, true, true]);
    assert!(outcomes.iter().all(|outcome| !matches!(outcome, PutOutcome::Rejected { retriable: true, .. })));
    assert!(matches!(streams.put("none", vec![], None).await, Err(StreamError::StreamNotFound { .. })));
    for name in ["", "..", "a/b", "ä"] {
        assert!(matches!(streams.create(name, 1, DAY).await, Err(StreamError::Invalid { .. })), "{name}");
    }
}

#[tokio::test]
async fn ten_mebibyte_records_are_possible() {
    let directory = tempfile::tempdir().unwrap();
    let most = 10 * 1024 * 1024;
    let streams =
        EmbeddedStreams::open(directory.path(), Options { max_record_bytes: most, tail_cache_bytes: 0, ..options() })
            .unwrap();
    streams.create("s", 1, DAY).await.unwrap();
    let entries = vec![PutEntry::new("k", vec![1; most - 1]), PutEntry::new("k", vec![2; most - 1])];
    let outcomes = streams.put("s", entries, None).await.unwrap();
    assert!(outcomes.iter().all(|outcome| matches!(outcome, PutOutcome::Stored { .. })));
    let read = read_from(&streams, &shard(0), StartAt::TrimHorizon).await;
    assert_eq!(
        read.iter().map(|record| (record.data.len(), record.data[0])).collect::<Vec<_>>(),
        [(most - 1, 1), (most - 1, 2)]
    );
}

#[tokio::test]
async fn waiting_readers_are_woken_by_a_put() {
    let directory = tempfile::tempdir().unwrap();
    let streams = Arc::new(open(directory.path()));
    streams.create("s", 1, DAY).await.unwrap();
    let mut cursor = streams.open("s", &shard(0), &StartAt::Latest).await.unwrap();
    let began = Instant::now();
    let page = cursor.next(ReadLimit::default(), Duration::from_millis(50)).await.unwrap();
    assert!(page.records.is_empty() && !page.end_of_shard && began.elapsed() >= Duration::from_millis(50));
    let writer = Arc::clone(&streams);
    let later = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(30)).await;
        put_one(&writer, "k", "x").await;
    });
    let page = cursor.next(ReadLimit::default(), Duration::from_secs(60)).await.unwrap();
    assert_eq!(texts(&page.records), ["x"]);
    assert!(began.elapsed() < Duration::from_secs(30));
    later.await.unwrap();
}

#[tokio::test]
async fn a_dropped_read_loses_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let streams =
        EmbeddedStreams::open(directory.path(), Options { tail_cache_bytes: 0, segment_bytes: 4096, ..options() })
            .unwrap();
    streams.create("s", 1, DAY).await.unwrap();
    for n in 0..100 {
        put_one(&streams, "k", &format!("{n:0200}")).await;
    }
    let mut cursor = streams.open("s", &shard(0), &StartAt::TrimHorizon).await.unwrap();
    let mut seen = 0;
    while seen < 100 {
        let limit = ReadLimit { records: 7, bytes: usize::MAX };
        let impatient = tokio::time::timeout(Duration::from_micros(50), cursor.next(limit, NO_WAIT)).await;
        for record in impatient.map_or_else(|_| Vec::new(), |page| page.unwrap().records) {
            assert_eq!(record.data, format!("{seen:0200}"));
            seen += 1;
        }
    }
}

#[tokio::test]
async fn split_closes_the_parent_and_children_begin_empty() {
    let directory = tempfile::tempdir().unwrap();
    let streams = open(directory.path());
    streams.create("s", 1, DAY).await.unwrap();
    let (_, before) = put_one(&streams, "a", "before").await;
    let mut waiting = streams.open("s", &shard(0), &StartAt::After(before)).await.unwrap();
    let waiting = tokio::spawn(async move { waiting.next(ReadLimit::default(), Duration::from_secs(60)).await });
    streams.split("s", &shard(0), 1 << 127).await.unwrap();
    let page = waiting.await.unwrap().unwrap();
    assert!(page.end_of_shard && page.records.is_empty());
    assert!(matches!(streams.split("s", &shard(0), 1 << 126).await, Err(StreamError::Invalid { .. })));
    assert!(matches!(streams.split("s", &shard(9), 5).await, Err(StreamError::ShardNotFound { .. })));
    assert!(matches!(streams.split("s", &shard(1), 1 << 127).await, Err(StreamError::Invalid { .. })));

    let (child, after) = put_one(&streams, "a", "after").await;
    assert!(child != shard(0) && after > before);
    let mut parent = streams.open("s", &shard(0), &StartAt::TrimHorizon).await.unwrap();
    let (read, end) = drain(parent.as_mut(), ReadLimit::default()).await;
    assert_eq!((texts(&read), end), (vec!["before"], true));
    assert_eq!(texts(&read_from(&streams, &child, StartAt::TrimHorizon).await), ["after"]);

    streams.merge("s", &shard(2), &shard(1)).await.unwrap();
    let (child, merged) = put_one(&streams, "a", "merged").await;
    assert!(child == shard(3) && merged > after);
    drop(streams);
    let streams = open(directory.path());
    let shards = streams.describe("s").await.unwrap().shards;
    assert_eq!(shards.iter().map(|shard| shard.closed).collect::<Vec<_>>(), [true, true, true, false]);
    assert_eq!(shards[1].parents, [shard(0)]);
    assert_eq!(shards[3].parents, [shard(2), shard(1)]);
    let mut parent = streams.open("s", &shard(0), &StartAt::TrimHorizon).await.unwrap();
    assert!(drain(parent.as_mut(), ReadLimit::default()).await.1);
}

#[tokio::test]
async fn repeated_puts_of_a_producer_are_stored_once_over_restart_and_split() {
    let directory = tempfile::tempdir().unwrap();
    let producer = Producer("enrich/raw/0".to_owned());
    let entries: Vec<_> = (0..40u32)
        .map(|n| PutEntry {
            origin: Some(Origin { sequence: SequenceNumber::new(0, u128::from(n / 2)), index: n % 2 }),
            ..entry(&format!("k{n}"), &n.to_string())
        })
        .collect();
    let count = |outcomes: &[PutOutcome]| outcomes.iter().filter(|one| **one == PutOutcome::Duplicate).count();
    let streams = open(directory.path());
    streams.create("s", 2, DAY).await.unwrap();
    let first = streams.put("s", entries[..20].to_vec(), Some(&producer)).await.unwrap();
    assert_eq!(count(&first), 0);
    drop(streams);
    let streams = open(directory.path());
    let again = streams.put("s", entries[..25].to_vec(), Some(&producer)).await.unwrap();
    assert_eq!(count(&again), 20);
    let other = streams.put("s", entries[..1].to_vec(), Some(&Producer("other".to_owned()))).await.unwrap();
    assert_eq!(count(&other), 0);
    streams.split("s", &shard(0), 1 << 126).await.unwrap();
    streams.merge("s", &shard(3), &shard(1)).await.unwrap();
    drop(streams);
    let streams = open(directory.path());
    let again = streams.put("s", entries.clone(), Some(&producer)).await.unwrap();
    assert_eq!(count(&again), 25);
    let mut disordered = entries[..2].to_vec();
    disordered.reverse();
    assert!(matches!(streams.put("s", disordered, Some(&producer)).await, Err(StreamError::Invalid { .. })));
}

#[tokio::test]
async fn records_past_the_retention_go_and_closed_shards_with_them() {
    let directory = tempfile::tempdir().unwrap();
    let (now, clock) = test_clock();
    let set_up = Options { clock, segment_bytes: 4096, ..options() };
    let streams = EmbeddedStreams::open(directory.path(), set_up).unwrap();
    streams.create("s", 1, Duration::from_secs(80)).await.unwrap();
    for n in 0..100 {
        put_one(&streams, "k", &format!("{n:0200}")).await;
        now.fetch_add(1000, Ordering::SeqCst);
    }
    streams.sweep();
    let read = read_from(&streams, &shard(0), StartAt::TrimHorizon).await;
    // Whole segments go: some records stay a little longer, none goes too early.
    assert!((80..100).contains(&read.len()), "{}", read.len());
    assert_eq!(read[read.len() - 1].data, format!("{:0200}", 99));
    streams.split("s", &shard(0), 5).await.unwrap();
    now.fetch_add(1_000_000, Ordering::SeqCst);
    streams.sweep();
    let shards = streams.describe("s").await.unwrap().shards;
    assert_eq!(shards.iter().map(|shard| shard.id.clone()).collect::<Vec<_>>(), [shard(1), shard(2)]);
    let gone = streams.open("s", &shard(0), &StartAt::TrimHorizon).await;
    assert!(matches!(gone.err(), Some(StreamError::ShardNotFound { .. })));
    put_one(&streams, "k", "x").await;
}

#[tokio::test]
async fn an_idle_open_shard_forgets_old_records_but_not_its_numbers() {
    let directory = tempfile::tempdir().unwrap();
    let (now, clock) = test_clock();
    let set_up = Options { clock, ..options() };
    let streams = EmbeddedStreams::open(directory.path(), set_up.clone()).unwrap();
    streams.create("s", 1, Duration::from_secs(10)).await.unwrap();
    let (_, old) = put_one(&streams, "k", "old").await;
    now.fetch_add(100_000, Ordering::SeqCst);
    let began = Instant::now();
    while !read_from(&streams, &shard(0), StartAt::TrimHorizon).await.is_empty() {
        streams.sweep();
        assert!(began.elapsed() < Duration::from_secs(20));
        tokio::task::yield_now().await;
    }
    drop(streams);
    // Even a clock that was set back gives no number twice.
    now.fetch_sub(200_000, Ordering::SeqCst);
    let streams = EmbeddedStreams::open(directory.path(), set_up).unwrap();
    let mut behind = streams.open("s", &shard(0), &StartAt::After(old)).await.unwrap();
    let (_, new) = put_one(&streams, "k", "new").await;
    assert!(new > old);
    assert_eq!(texts(&drain(behind.as_mut(), ReadLimit::default()).await.0), ["new"]);
}

/// Puts records until the stream is at its bound; how many were stored.
async fn fill(streams: &EmbeddedStreams) -> usize {
    for n in 0..10_000 {
        let entry = PutEntry::new(format!("k{n}"), format!("{n:0500}"));
        match streams.put("s", vec![entry], None).await {
            Ok(outcomes) => assert!(matches!(outcomes[..], [PutOutcome::Stored { .. }]), "{outcomes:?}"),
            Err(error) => {
                assert!(error.is_retriable(), "{error}");
                let text = error.to_string();
                assert!(
                    text.contains("stream s") && text.contains("its bound is 65536; waiting for readers"),
                    "{text}"
                );
                return n;
            }
        }
    }
    panic!("there is no bound");
}

fn file_bytes(directory: &Path, shards: u64) -> u64 {
    (0..shards)
        .map(|index| directory.join("streams/s").join(shard(index).as_str()))
        .flat_map(|path| std::fs::read_dir(path).unwrap())
        .map(|file| file.unwrap())
        .filter(|file| file.path().extension().is_some_and(|extension| extension == "seg"))
        .map(|file| file.metadata().unwrap().len())
        .sum()
}

#[tokio::test]
async fn a_stream_at_its_bound_refuses_puts_and_gives_up_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let (now, clock) = test_clock();
    let set_up = Options { max_stream_bytes: 65_536, clock, ..options() };
    let mut streams = EmbeddedStreams::open(directory.path(), set_up.clone()).unwrap();
    streams.create("s", 1, DAY).await.unwrap();
    let stored = fill(&streams).await;
    assert!((80..130).contains(&stored), "{stored}");
    streams.sweep();
    for restart in [false, true] {
        if restart {
            drop(streams);
            streams = EmbeddedStreams::open(directory.path(), set_up.clone()).unwrap();
        }
        assert_eq!(fill(&streams).await, 0);
        let bytes = file_bytes(directory.path(), 1);
        assert_eq!(streams.held_bytes("s").unwrap(), bytes);
        assert!(bytes <= 65_536 + 1024, "{bytes}");
        assert_eq!(read_from(&streams, &shard(0), StartAt::TrimHorizon).await.len(), stored);
    }
    now.fetch_add(2 * 86_400_000, Ordering::SeqCst);
    let began = Instant::now();
    while streams.put("s", vec![entry("k", "new")], None).await.is_err() {
        streams.sweep();
        assert!(began.elapsed() < Duration::from_secs(20), "the retention makes room");
        tokio::task::yield_now().await;
    }
    assert_eq!(streams.held_bytes("s").unwrap(), file_bytes(directory.path(), 1));
}

#[tokio::test]
async fn trimming_makes_room_and_takes_nothing_above_the_mark() {
    let directory = tempfile::tempdir().unwrap();
    let set_up = Options { max_stream_bytes: 65_536, ..options() };
    let streams = EmbeddedStreams::open(directory.path(), set_up).unwrap();
    streams.create("s", 2, DAY).await.unwrap();
    for round in 0..5 {
        assert!(fill(&streams).await > 40, "round {round}");
        for index in 0..2 {
            let all = read_from(&streams, &shard(index), StartAt::TrimHorizon).await;
            let middle = all.len() / 2;
            streams.trim("s", &shard(index), &all[middle].sequence).await.unwrap();
            let left = read_from(&streams, &shard(index), StartAt::TrimHorizon).await;
            assert!(left.len() < all.len() && left.ends_with(&all[middle + 1..]), "round {round}");
            // Also the segment that is written to goes when all of it was read.
            streams.trim("s", &shard(index), &all[all.len() - 1].sequence).await.unwrap();
        }
        let left = streams.held_bytes("s").unwrap();
        assert!(left < 40_000 && left == file_bytes(directory.path(), 2), "round {round}: {left}");
    }
    let wrong = streams.trim("s", &shard(0), &SequenceNumber::new(1, 1)).await;
    assert!(matches!(wrong, Err(StreamError::Invalid { .. })));
    assert!(matches!(streams.trim("s", &shard(7), &SequenceNumber::MIN).await, Err(StreamError::ShardNotFound { .. })));
}

#[tokio::test]
async fn a_large_group_in_the_last_segment_is_no_dead_end() {
    let directory = tempfile::tempdir().unwrap();
    let set_up = Options { max_stream_bytes: 65_536, ..options() };
    let streams = EmbeddedStreams::open(directory.path(), set_up).unwrap();
    streams.create("s", 1, DAY).await.unwrap();
    for _ in 0..4 {
        // Nearly all the room in one write, hence in one segment.
        let outcomes = streams.put("s", vec![PutEntry::new("k", vec![0; 60_000])], None).await.unwrap();
        let [PutOutcome::Stored { sequence, .. }] = outcomes[..] else { panic!("{outcomes:?}") };
        assert!(streams.put("s", vec![PutEntry::new("k", vec![0; 60_000])], None).await.is_err());
        streams.trim("s", &shard(0), &sequence).await.unwrap();
    }
}

#[tokio::test]
async fn a_full_disk_is_answered_as_retriable_and_later_puts_succeed() {
    let directory = tempfile::tempdir().unwrap();
    drop({
        let streams = open(directory.path());
        streams.create("s", 1, DAY).await.unwrap();
        streams
    });
    for durability in [Durability::Fsync, Durability::OsCache] {
        let faults = Faults::install();
        let streams = EmbeddedStreams::open(directory.path(), Options { durability, ..options() }).unwrap();
        let producer = Producer("p".to_owned());
        let lo = u128::from(durability == Durability::OsCache);
        let origin = Some(Origin { sequence: SequenceNumber::new(0, lo), index: 0 });
        let entries = vec![PutEntry { origin, ..entry("k", "once") }];
        let mut kinds = vec![&faults.full_disk];
        if durability == Durability::Fsync {
            kinds.push(&faults.sync);
        }
        let (_, before) = put_one(&streams, "k", "before").await;
        let mut reader = streams.open("s", &shard(0), &StartAt::After(before)).await.unwrap();
        for kind in kinds {
            kind.store(2, Ordering::SeqCst);
            for _ in 0..2 {
                let outcome = streams.put("s", entries.clone(), Some(&producer)).await.unwrap().remove(0);
                assert!(matches!(outcome, PutOutcome::Rejected { retriable: true, .. }), "{outcome:?}");
                assert!(reader.next(ReadLimit::default(), NO_WAIT).await.unwrap().records.is_empty());
            }
        }
        let outcome = streams.put("s", entries.clone(), Some(&producer)).await.unwrap().remove(0);
        assert!(matches!(outcome, PutOutcome::Stored { .. }), "{outcome:?}");
        let (read, _) = drain(reader.as_mut(), ReadLimit::default()).await;
        assert_eq!(texts(&read), ["once"]);
        drop(streams);
        let streams = open(directory.path());
        let read = read_from(&streams, &shard(0), StartAt::After(before)).await;
        assert_eq!(texts(&read), ["once"]);
        assert_eq!(streams.put("s", entries, Some(&producer)).await.unwrap(), [PutOutcome::Duplicate]);
    }
}

#[tokio::test]
async fn on_a_full_disk_what_was_read_makes_room() {
    // With room for a new segment, and without.
    for creates in [0, 1] {
        let directory = tempfile::tempdir().unwrap();
        open(directory.path()).create("s", 1, DAY).await.unwrap();
        let faults = Faults::install();
        let streams = open(directory.path());
        let mut reader = streams.open("s", &shard(0), &StartAt::TrimHorizon).await.unwrap();
        let mut expected = vec!["x".repeat(5000)];
        let (_, mut read) = put_one(&streams, "k", &expected[0]).await;
        streams.trim("s", &shard(0), &read).await.unwrap();
        assert!(streams.held_bytes("s").unwrap() > 5000, "a little is not worth a segment");
        for round in 0..3 {
            faults.full_disk.store(1, Ordering::SeqCst);
            faults.create.store(creates, Ordering::SeqCst);
            let refused = streams.put("s", vec![entry("k", "refused")], None).await.unwrap().remove(0);
            assert!(matches!(refused, PutOutcome::Rejected { retriable: true, .. }), "{refused:?}");
            assert_eq!(texts(&drain(reader.as_mut(), ReadLimit::default()).await.0), expected);
            streams.trim("s", &shard(0), &read).await.unwrap();
            assert!(streams.held_bytes("s").unwrap() < 1000);
            assert_eq!(streams.held_bytes("s").unwrap(), file_bytes(directory.path(), 1));
            assert_eq!(read_from(&streams, &shard(0), StartAt::TrimHorizon).await, []);
            assert_eq!(read_from(&streams, &shard(0), StartAt::At(read)).await, []);
            expected = vec![format!("taken {round}")];
            let (_, new) = put_one(&streams, "k", &expected[0]).await;
            assert!(new > read);
            read = new;
        }
        assert_eq!(faults.create.load(Ordering::SeqCst), 0);
        drop(streams);
        let streams = open(directory.path());
        assert_eq!(texts(&read_from(&streams, &shard(0), StartAt::TrimHorizon).await), expected);
        assert!(put_one(&streams, "k", "x").await.1 > read);
    }
}

#[tokio::test]
async fn a_second_process_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let first = open(directory.path());
    match EmbeddedStreams::open(directory.path(), options()).err() {
        Some(error @ StreamError::Locked { .. }) => {
            let text = error.to_string();
            assert!(text.contains(directory.path().to_str().unwrap()), "{text}");
            assert!(text.contains(&format!("process {}", std::process::id())), "{text}");
        }
        other => panic!("{other:?}"),
    }
    drop(first);
    open(directory.path());
}

#[tokio::test]
async fn readers_are_told_of_a_shut_down() {
    let directory = tempfile::tempdir().unwrap();
    let streams = open(directory.path());
    streams.create("s", 1, DAY).await.unwrap();
    let mut cursor = streams.open("s", &shard(0), &StartAt::Latest).await.unwrap();
    let reader = tokio::spawn(async move { cursor.next(ReadLimit::default(), Duration::from_secs(60)).await });
    tokio::task::yield_now().await;
    tokio::task::spawn_blocking(move || drop(streams)).await.unwrap();
    assert_eq!(reader.await.unwrap(), Err(StreamError::ShutDown));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_producers_keep_their_order_over_split_and_merge() {
    let directory = tempfile::tempdir().unwrap();
    let set_up = Options { segment_bytes: 16 * 1024, tail_cache_bytes: 4 * 1024, ..options() };
    let streams = Arc::new(EmbeddedStreams::open(directory.path(), set_up).unwrap());
    streams.create("s", 2, DAY).await.unwrap();
    let producers: Vec<_> = (0..8)
        .map(|producer| {
            let streams = Arc::clone(&streams);
            tokio::spawn(async move {
                for n in 0..100 {
                    let entries = (0..3).map(|i| entry(&format!("p{producer}"), &(n * 3 + i).to_string())).collect();
                    let outcomes = streams.put("s", entries, None).await.unwrap();
                    assert!(outcomes.iter().all(|outcome| matches!(outcome, PutOutcome::Stored { .. })));
                }
            })
        })
        .collect();
    let resharder = Arc::clone(&streams);
    let resharder = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        resharder.split("s", &shard(0), 1 << 126).await.unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        resharder.merge("s", &shard(1), &shard(3)).await.unwrap();
    });
    for task in producers {
        task.await.unwrap();
    }
    resharder.await.unwrap();
    // Parents before children is what a consumer does; here the order of creation is such an order.
    let mut seen: BTreeMap<String, Vec<u32>> = BTreeMap::new();
    let shards = streams.describe("s").await.unwrap().shards;
    assert_eq!(shards.len(), 5);
    for shard in shards {
        let mut cursor = streams.open("s", &shard.id, &StartAt::TrimHorizon).await.unwrap();
        let (records, end) = drain(cursor.as_mut(), ReadLimit { records: 13, bytes: 5000 }).await;
        assert_eq!(end, shard.closed);
        for record in records {
            let n = std::str::from_utf8(&record.data).unwrap().parse().unwrap();
            seen.entry(record.partition_key).or_default().push(n);
        }
    }
    assert_eq!(seen.len(), 8);
    for (key, numbers) in seen {
        assert!(numbers.iter().copied().eq(0..300), "{key}: {numbers:?}");
    }
}
