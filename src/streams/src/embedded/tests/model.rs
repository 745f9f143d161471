//! The log against a model that fits on a page: random puts, reads from everywhere, splits, merges, trims, restarts,
//! crashes and power cuts. (`crash.rs` cuts one write at every byte.)

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::time::Duration;

use proptest::prelude::*;

use super::log::{drain, entry, options, test_clock};
use crate::embedded::{EmbeddedStreams, Options, frame};
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
        from: From,
        at: usize,
        records: usize,
        bytes: usize,
    },
    /// A reader needs nothing up to there any more.
    Trim {
        shard: usize,
        at: usize,
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
    /// The power goes before the last frame is whole on the disk: so many bytes of it stay, modulo its length.
    PowerCut {
        shard: usize,
        stay: usize,
    },
    Pass {
        seconds: i64,
    },
}

/// Where a read begins, beside a record.
#[derive(Clone, Copy, Debug)]
enum From {
    TrimHorizon,
    Latest,
    At,
    After,
    /// So many milliseconds beside the record's arrival.
    Time(i64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let from = prop_oneof![
        2 => Just(From::TrimHorizon),
        1 => Just(From::Latest),
        2 => Just(From::At),
        2 => Just(From::After),
        2 => (-1i64..2).prop_map(From::Time),
    ];
    let step = prop_oneof![
        8 => (prop::collection::vec(any::<u8>(), 1..20), 0usize..600).prop_map(|(keys, len)| Step::Put { keys, len }),
        8 => (0usize..9, from, 0usize..200, 1usize..50, 1usize..9000)
            .prop_map(|(shard, from, at, records, bytes)| Step::Read { shard, from, at, records, bytes }),
        2 => (0usize..9, 0usize..200).prop_map(|(shard, at)| Step::Trim { shard, at }),
        1 => (0usize..9).prop_map(|shard| Step::Split { shard }),
        1 => (0usize..9).prop_map(|shard| Step::Merge { shard }),
        1 => Just(Step::Restart),
        2 => (0usize..9, prop::collection::vec(any::<u8>(), 0..200))
            .prop_map(|(shard, torn)| Step::Crash { shard, torn }),
        2 => (0usize..9, any::<usize>()).prop_map(|(shard, stay)| Step::PowerCut { shard, stay }),
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
    /// The records up to this one may be gone.
    trimmed: Option<SequenceNumber>,
    /// Length of the last frame and how many records it holds.
    last_frame: (usize, usize),
    /// Given to a record once, also to one that a power cut took.
    highest: SequenceNumber,
}

impl Model {
    fn new(index: u64, range: HashKeyRange) -> Self {
        Self {
            id: ShardId::from_index(index),
            range,
            closed: false,
            records: vec![],
            trimmed: None,
            last_frame: (0, 0),
            highest: SequenceNumber::MIN,
        }
    }

    /// Where to begin, and which of the records should come if none is trimmed.
    fn begin(&self, from: From, at: usize) -> (StartAt, usize) {
        let at = at % self.records.len().max(1);
        let Some((sequence, _, _, arrived_ms)) = self.records.get(at) else { return (StartAt::TrimHorizon, 0) };
        match from {
            From::TrimHorizon => (StartAt::TrimHorizon, 0),
            From::Latest => (StartAt::Latest, self.records.len()),
            From::At => (StartAt::At(*sequence), at),
            From::After => (StartAt::After(*sequence), at + 1),
            From::Time(beside) => {
                let time = arrived_ms + beside;
                (StartAt::AtTimestampMs(time), self.records.partition_point(|record| record.3 < time))
            }
        }
    }
}

fn open(directory: &Path, set_up: &Options) -> EmbeddedStreams {
    EmbeddedStreams::open(directory, set_up.clone()).unwrap()
}

/// The shard's segment that is written to.
fn last_segment(directory: &Path, shard: &ShardId) -> PathBuf {
    let directory = directory.join("streams/s").join(shard.as_str());
    let mut segments: Vec<_> = fs::read_dir(directory).unwrap().map(|file| file.unwrap().path()).collect();
    segments.retain(|path| path.extension().is_some_and(|extension| extension == "seg"));
    segments.sort();
    segments.pop().unwrap()
}

/// Leaves the first bytes of a frame behind the last one, as a write does that the process did not survive.
fn tear(directory: &Path, shard: &ShardId, torn: &[u8]) {
    let last = last_segment(directory, shard);
    let mut bytes = fs::read(&last).unwrap();
    bytes.extend_from_slice(b"SMF1");
    bytes.extend_from_slice(torn);
    fs::write(last, bytes).unwrap();
}

/// Cuts the last frame to its first `stay` bytes, if it is in the segment that is written to.
fn cut(directory: &Path, model: &mut Model, stay: usize) {
    let last = last_segment(directory, &model.id);
    let mut bytes = fs::read(&last).unwrap();
    let (len, records) = model.last_frame;
    let Some(start) = bytes.len().checked_sub(len).filter(|_| len > 0) else { return };
    if frame::check(&bytes[start..]).is_ok_and(|header| header.frame_len() == len) {
        bytes.truncate(start + stay % len);
        fs::write(last, bytes).unwrap();
        model.records.truncate(model.records.len() - records);
        // What is the last frame now, the model does not know.
        model.last_frame = (0, 0);
    }
}

async fn run(steps: Vec<Step>) {
    let directory = tempfile::tempdir().unwrap();
    let (now, clock) = test_clock();
    let set_up = Options { clock, segment_bytes: 4096, tail_cache_bytes: 3000, ..options() };
    let mut streams = Some(open(directory.path(), &set_up));
    streams.as_ref().unwrap().create("s", 2, RETENTION).await.unwrap();
    let mut models: Vec<Model> =
        HashKeyRange::even(2).into_iter().enumerate().map(|(index, range)| Model::new(index as u64, range)).collect();
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
                let mut frames: BTreeMap<ShardId, (usize, usize)> = BTreeMap::new();
                for (entry, outcome) in entries.into_iter().zip(outcomes) {
                    let PutOutcome::Stored { shard, sequence } = outcome else { panic!("{outcome:?}") };
                    let model = models.iter_mut().find(|model| model.id == shard).unwrap();
                    assert!(!model.closed && model.range.contains(hash_key(&entry.partition_key)));
                    assert!(model.highest < sequence);
                    model.highest = sequence;
                    let frame = frames.entry(shard).or_insert((frame::HEADER, 0));
                    frame.0 += frame::RECORD_HEADER + entry.partition_key.len() + entry.data.len();
                    frame.1 += 1;
                    let text = String::from_utf8(entry.data.to_vec()).unwrap();
                    model.records.push((sequence, entry.partition_key, text, now.load(Ordering::SeqCst)));
                }
                for model in &mut models {
                    if let Some(frame) = frames.get(&model.id) {
                        model.last_frame = *frame;
                    }
                }
            }
            Step::Read { shard, from, at, records, bytes } => {
                let model = &models[shard % models.len()];
                let (start, first) = model.begin(from, at);
                let listed = log.describe("s").await.unwrap().shards.iter().any(|shard| shard.id == model.id);
                let (read, end) = match log.open("s", &model.id, &start).await {
                    Ok(mut cursor) => drain(cursor.as_mut(), ReadLimit { records, bytes }).await,
                    Err(error) => {
                        assert!(model.closed && !listed, "{error}");
                        (vec![], true)
                    }
                };
                assert_eq!(end, model.closed);
                let expected = &model.records[first..];
                let gone = expected.len() - read.len();
                let oldest_kept = now.load(Ordering::SeqCst) - i64::try_from(RETENTION.as_millis()).unwrap();
                let may_go = |record: &(SequenceNumber, String, String, i64)| {
                    record.3 < oldest_kept || model.trimmed.is_some_and(|trimmed| record.0 <= trimmed)
                };
                assert!(expected[..gone].iter().all(may_go), "removed too early");
                for (record, expected) in read.iter().zip(&expected[gone..]) {
                    assert_eq!((record.sequence, &record.partition_key), (expected.0, &expected.1));
                    assert_eq!((&record.data[..], record.arrived_ms), (expected.2.as_bytes(), expected.3));
                }
            }
            Step::Trim { shard, at } => {
                let at_shard = shard % models.len();
                let model = &mut models[at_shard];
                let Some((sequence, ..)) = model.records.get(at % model.records.len().max(1)) else { continue };
                match log.trim("s", &model.id, sequence).await {
                    Ok(()) => model.trimmed = model.trimmed.max(Some(*sequence)),
                    Err(error) => assert!(model.closed, "{error}"),
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
                    models.push(Model::new(index, range));
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
                models.push(Model::new(next, range));
            }
            Step::Restart | Step::Crash { .. } | Step::PowerCut { .. } => {
                drop(streams.take());
                // A start takes longer than that, and numbers are told apart by it.
                now.fetch_add(1, Ordering::SeqCst);
                let mut open_shards: Vec<_> = models.iter_mut().filter(|model| !model.closed).collect();
                let count = open_shards.len();
                match step {
                    Step::Crash { shard, torn } => tear(directory.path(), &open_shards[shard % count].id, &torn),
                    Step::PowerCut { shard, stay } => cut(directory.path(), open_shards[shard % count], stay),
                    _ => {}
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
