//! The log against a model that fits on a page: random puts, reads, splits, merges, trims, restarts and crashes.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;

use super::log::{drain, entry, options, test_clock};
use crate::embedded::{EmbeddedStreams, Options};
use crate::{HashKeyRange, PutOutcome, ReadLimit, SequenceNumber, ShardId, StartAt, Streams, hash_key};

const RETENTION: Duration = Duration::from_secs(100);

#[derive(Clone, Debug)]
enum Step {
    Put {
        keys: Vec<u8>,
        len: usize,
    },
    Read {
        shard: usize,
        from: usize,
        records: usize,
        bytes: usize,
    },
    Split {
        shard: usize,
    },
    Merge {
        shard: usize,
    },
    Restart,
    /// The process dies in the middle of a write to the shard.
    Crash {
        shard: usize,
        torn: Vec<u8>,
    },
    Pass {
        seconds: i64,
    },
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        8 => (prop::collection::vec(any::<u8>(), 1..20), 0usize..600).prop_map(|(keys, len)| Step::Put { keys, len }),
        6 => (0usize..9, 0usize..200, 1usize..50, 1usize..9000)
            .prop_map(|(shard, from, records, bytes)| Step::Read { shard, from, records, bytes }),
        1 => (0usize..9).prop_map(|shard| Step::Split { shard }),
        1 => (0usize..9).prop_map(|shard| Step::Merge { shard }),
        1 => Just(Step::Restart),
        2 => (0usize..9, prop::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(shard, torn)| Step::Crash { shard, torn }),
        2 => (1i64..60).prop_map(|seconds| Step::Pass { seconds }),
    ];
    prop::collection::vec(step, 1..50)
}

/// A shard as it should be: every record ever stored; which of them are trimmed is only bounded.
#[derive(Debug)]
struct Model {
    id: ShardId,
    range: HashKeyRange,
    closed: bool,
    records: Vec<(SequenceNumber, String, String, i64)>,
}

fn open(directory: &Path, set_up: &Options) -> EmbeddedStreams {
    EmbeddedStreams::open(directory, set_up.clone()).unwrap()
}

/// Leaves the first bytes of a frame behind the last one, as a write does that the process did not survive.
fn tear(directory: &Path, shard: &ShardId, torn: &[u8]) {
    let directory = directory.join("streams/s").join(shard.as_str());
    let mut segments: Vec<_> = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    segments.sort();
    let last = segments.last().unwrap();
    let mut bytes = fs::read(last).unwrap();
    bytes.extend_from_slice(b"SMF1");
    bytes.extend_from_slice(torn);
    fs::write(last, bytes).unwrap();
}

async fn run(steps: Vec<Step>) {
    let directory = tempfile::tempdir().unwrap();
    let (now, clock) = test_clock();
    let set_up = Options { clock, segment_bytes: 4096, tail_cache_bytes: 3000, ..options() };
    let mut streams = Some(open(directory.path(), &set_up));
    streams.as_ref().unwrap().create("s", 2, RETENTION).await.unwrap();
    let mut models: Vec<Model> = HashKeyRange::even(2)
        .into_iter()
        .enumerate()
        .map(|(index, range)| Model { id: ShardId::from_index(index as u64), range, closed: false, records: vec![] })
        .collect();
    let mut put = 0;
    for step in steps {
        let log = streams.as_ref().unwrap();
        match step {
            Step::Put { keys, len } => {
                let entries: Vec<_> = keys
                    .iter()
                    .map(|key| {
                        put += 1;
                        entry(&format!("key{}", key % 32), &format!("{put:0len$}"))
                    })
                    .collect();
                let outcomes = log.put("s", entries.clone(), None).await.unwrap();
                for (entry, outcome) in entries.into_iter().zip(outcomes) {
                    let PutOutcome::Stored { shard, sequence } = outcome else { panic!("{outcome:?}") };
                    let model = models.iter_mut().find(|model| model.id == shard).unwrap();
                    assert!(!model.closed && model.range.contains(hash_key(&entry.partition_key)));
                    assert!(model.records.last().is_none_or(|last| last.0 < sequence));
                    let text = String::from_utf8(entry.data.to_vec()).unwrap();
                    model.records.push((sequence, entry.partition_key, text, now.load(Ordering::SeqCst)));
                }
            }
            Step::Read { shard, from, records, bytes } => {
                let model = &models[shard % models.len()];
                let from = from % (model.records.len() + 1);
                let at = from.checked_sub(1).map_or(StartAt::TrimHorizon, |last| StartAt::After(model.records[last].0));
                let listed = log.describe("s").await.unwrap().shards.iter().any(|shard| shard.id == model.id);
                let (read, end) = match log.open("s", &model.id, &at).await {
                    Ok(mut cursor) => drain(cursor.as_mut(), ReadLimit { records, bytes }).await,
                    Err(error) => {
                        assert!(model.closed && !listed, "{error}");
                        (vec![], true)
                    }
                };
                assert_eq!(end, model.closed);
                let expected = &model.records[from..];
                let trimmed = expected.len() - read.len();
                let oldest_kept = now.load(Ordering::SeqCst) - i64::try_from(RETENTION.as_millis()).unwrap();
                assert!(expected[..trimmed].iter().all(|record| record.3 < oldest_kept), "trimmed too early");
                for (record, expected) in read.iter().zip(&expected[trimmed..]) {
                    assert_eq!((record.sequence, &record.partition_key), (expected.0, &expected.1));
                    assert_eq!((&record.data[..], record.arrived_ms), (expected.2.as_bytes(), expected.3));
                }
            }
            Step::Split { shard } => {
                let next = models.len() as u64;
                let at = shard % models.len();
                let (range, id) = (models[at].range, models[at].id.clone());
                let middle = range.start + (range.end - range.start) / 2 + 1;
                if models[at].closed || range.split(middle).is_none() {
                    continue;
                }
                log.split("s", &id, middle).await.unwrap();
                models[at].closed = true;
                let (low, high) = range.split(middle).unwrap();
                for (index, range) in [(next, low), (next + 1, high)] {
                    models.push(Model { id: ShardId::from_index(index), range, closed: false, records: vec![] });
                }
            }
            Step::Merge { shard } => {
                let next = models.len() as u64;
                let a = shard % models.len();
                let neighbour = |model: &Model| !model.closed && models[a].range.join(&model.range).is_some();
                let Some(b) = models.iter().position(neighbour).filter(|_| !models[a].closed) else { continue };
                let range = models[a].range.join(&models[b].range).unwrap();
                log.merge("s", &models[a].id, &models[b].id).await.unwrap();
                (models[a].closed, models[b].closed) = (true, true);
                models.push(Model { id: ShardId::from_index(next), range, closed: false, records: vec![] });
            }
            Step::Restart | Step::Crash { .. } => {
                drop(streams.take());
                if let Step::Crash { shard, torn } = step {
                    let open: Vec<_> = models.iter().filter(|model| !model.closed).collect();
                    tear(directory.path(), &open[shard % open.len()].id, &torn);
                }
                streams = Some(open(directory.path(), &set_up));
            }
            Step::Pass { seconds } => {
                now.fetch_add(seconds * 1000, Ordering::SeqCst);
                log.sweep();
            }
        }
    }
    let shards = streams.as_ref().unwrap().describe("s").await.unwrap().shards;
    let open: BTreeMap<_, _> =
        shards.iter().filter(|shard| !shard.closed).map(|s| (s.range.start, s.range.end)).collect();
    let mut next = Some(0);
    for (start, end) in open {
        assert_eq!(next, Some(start), "every hash key has one open shard");
        next = end.checked_add(1);
    }
    assert_eq!(next, None);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 150, max_shrink_iters: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_log_does_what_the_model_does(steps in steps()) {
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(run(steps));
    }
}
