//! What the spool has taken reaches the sink, whatever happens between.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions},
    io::Write,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use async_trait::async_trait;
use snowmelt_collector::{
    Clock, CollectorConfig, Durability, Outgoing, Sink, SinkError, Spool, SpoolOptions,
    commit::BatchLimits,
    config::{BackoffPolicy, SinkConfig},
    settle,
};
use snowmelt_streams::{
    Durability::OsCache, EmbeddedStreams, Options, Producer, PutEntry, ReadLimit, StartAt, Streams,
};

use super::support::{Collector, MemorySink};

const SHARDS: usize = 4;
/// Records of a batch to the sink in these tests.
const BATCH: usize = 50;
/// Set for the process that is killed: the directory it works in.
const CHILD: &str = "SNOWMELT_SPOOL_CHILD";
const PATIENCE: Duration = Duration::from_secs(60);

fn clock() -> Clock {
    Arc::new(|| SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as i64)
}

fn options(max_bytes: u64) -> SpoolOptions {
    let options = SpoolOptions::new("good", &CollectorConfig::default(), &SinkConfig::default(), clock());
    SpoolOptions {
        max_bytes,
        // These tests look at the order per key.
        keys_are_random: false,
        batch: BatchLimits { records: BATCH, bytes: 1024 * 1024 },
        backoff: BackoffPolicy { min_backoff: 5, max_backoff: 20, max_retries: 0 },
        put_timeout: Duration::from_secs(5),
        ..options
    }
}

/// A spool that was dropped a moment ago is still held by its last tasks.
async fn open(directory: &Path, max_bytes: u64, sink: Arc<dyn Sink>) -> Spool {
    let began = Instant::now();
    loop {
        match Spool::open(directory, options(max_bytes), sink.clone()).await {
            Ok(spool) => return spool,
            Err(error) => assert!(began.elapsed() < PATIENCE && error.to_string().contains("in use"), "{error}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

fn record(key: &str, number: usize) -> Outgoing {
    Outgoing::new(key, format!("{number:0200}"))
}

fn number(record: &Outgoing) -> usize {
    std::str::from_utf8(&record.data).unwrap().parse().unwrap()
}

/// The numbers of each key in the order they came, each only the first time; and how many came again.
fn by_key(records: &[Outgoing]) -> (BTreeMap<String, Vec<usize>>, usize) {
    let (mut keys, mut again) = (BTreeMap::<String, Vec<usize>>::new(), 0);
    for record in records {
        let (numbers, number) = (keys.entry(record.partition_key.clone()).or_default(), number(record));
        if numbers.last().is_none_or(|last| *last < number) {
            numbers.push(number);
        } else {
            assert!(numbers.contains(&number), "{} {number} came too late", record.partition_key);
            again += 1;
        }
    }
    (keys, again)
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let began = Instant::now();
    while !holds() {
        assert!(began.elapsed() < PATIENCE, "{what}");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_sink_is_down_records_are_taken_and_then_come_in_order_per_key() {
    let directory = tempfile::tempdir().unwrap();
    let sink = Arc::new(MemorySink::default());
    sink.failing.store(true, Ordering::Relaxed);
    let spool = open(directory.path(), 1 << 30, sink.clone()).await;
    for number in 0..40 {
        spool.put((0..25).map(|key| record(&format!("key{key}"), number)).collect(), None).await.unwrap();
        assert!(spool.healthy());
        if number == 30 {
            until("it is tried", || spool.status().oldest_age_ms > 0).await;
            sink.failing.store(false, Ordering::Relaxed);
        }
    }
    spool.close(PATIENCE).await;
    let status = spool.status();
    assert_eq!((status.drained_records, status.oldest_age_ms), (1000, 0));
    let (keys, again) = by_key(&sink.take());
    assert_eq!((keys.len(), again), (25, 0));
    assert!(keys.values().all(|numbers| numbers.iter().copied().eq(0..40)), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_its_bound_it_refuses_and_what_it_took_comes_all_the_same() {
    let directory = tempfile::tempdir().unwrap();
    let sink = Arc::new(MemorySink::default());
    let spool = open(directory.path(), 100_000, sink.clone()).await;
    let (mut next, mut expected) = (0, 0);
    for round in 0..5 {
        sink.failing.store(true, Ordering::Relaxed);
        loop {
            // One record a put, so that each is taken or refused as a whole.
            match spool.put(vec![record("key", next)], None).await {
                Ok(()) => expected += 1,
                Err(SinkError::Unavailable { reason }) => {
                    assert!(reason.contains("its bound is 100000"), "{reason}");
                    break;
                }
                Err(error) => panic!("{error}"),
            }
            next += 1;
        }
        assert!(!spool.healthy());
        assert!(expected > 100 * (round + 1), "{expected}");
        assert!(spool.status().bytes <= 101_000, "{:?}", spool.status());
        sink.failing.store(false, Ordering::Relaxed);
        until("all comes", || spool.status().drained_records == expected as u64).await;
        until("there is room again", || spool.status().bytes < 50_000).await;
    }
    spool.put(vec![record("key", next)], None).await.unwrap();
    assert!(spool.healthy());
    spool.close(PATIENCE).await;
    let (keys, again) = by_key(&sink.take());
    assert_eq!(again, 0);
    assert!(keys["key"].iter().copied().eq(0..=next));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_when_it_is_dropped_or_closed_comes_after_the_next_start() {
    for closed in [false, true] {
        let directory = tempfile::tempdir().unwrap();
        let sink = Arc::new(MemorySink::default());
        let spool = open(directory.path(), 1 << 30, sink.clone()).await;
        for number in 0..30 {
            spool.put((0..20).map(|key| record(&format!("key{key}"), number)).collect(), None).await.unwrap();
        }
        until("some comes", || spool.status().drained_records > 100).await;
        sink.hanging.store(true, Ordering::Relaxed);
        spool.put((0..20).map(|key| record(&format!("key{key}"), 30)).collect(), None).await.unwrap();
        if closed {
            let began = Instant::now();
            spool.close(Duration::from_millis(200)).await;
            assert!(began.elapsed() < Duration::from_secs(4), "the deadline is kept");
        }
        drop(spool);
        sink.hanging.store(false, Ordering::Relaxed);
        let spool = open(directory.path(), 1 << 30, sink.clone()).await;
        spool.close(PATIENCE).await;
        let (keys, again) = by_key(&sink.take());
        assert_eq!(keys.len(), 20);
        assert!(keys.values().all(|numbers| numbers.iter().copied().eq(0..31)), "{keys:?}");
        // One that was closed knows what the sink has.
        assert!(again <= if closed { 0 } else { SHARDS * BATCH }, "{again}");
    }
}

/// The segment of each shard that is written to.
fn last_segments(directory: &Path) -> Vec<PathBuf> {
    let shards = fs::read_dir(directory.join("streams/spool")).unwrap().map(|entry| entry.unwrap().path());
    shards
        .filter(|path| path.is_dir())
        .map(|shard| {
            let files = fs::read_dir(shard).unwrap().map(|entry| entry.unwrap().path());
            files.filter(|path| path.extension().is_some_and(|extension| extension == "seg")).max().unwrap()
        })
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn torn_writes_at_its_end_take_nothing_that_was_taken() {
    let directory = tempfile::tempdir().unwrap();
    let sink = Arc::new(MemorySink::default());
    sink.failing.store(true, Ordering::Relaxed);
    for round in 0..6 {
        let spool = open(directory.path(), 1 << 30, sink.clone()).await;
        spool.put((0..20).map(|key| record(&format!("key{key}"), round)).collect(), None).await.unwrap();
        spool.close(Duration::ZERO).await;
        drop(spool);
        // As if the machine had died within the next write: a frame's beginning, zeroes, or rubbish.
        let segments = last_segments(directory.path());
        assert_eq!(segments.len(), SHARDS);
        for segment in segments {
            let torn: &[u8] = [&b"SMF1\x20\0\0\0torn"[..], &[0; 5000], &[0xA5; 333]][round % 3];
            OpenOptions::new().append(true).open(segment).unwrap().write_all(torn).unwrap();
        }
    }
    sink.failing.store(false, Ordering::Relaxed);
    let spool = open(directory.path(), 1 << 30, sink.clone()).await;
    spool.close(PATIENCE).await;
    let (keys, again) = by_key(&sink.take());
    assert_eq!((keys.len(), again), (20, 0));
    assert!(keys.values().all(|numbers| numbers.iter().copied().eq(0..6)), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_position_that_cannot_be_stored_does_not_stop_the_drain() {
    let directory = tempfile::tempdir().unwrap();
    let sink = Arc::new(MemorySink::default());
    let spool = open(directory.path(), 100_000, sink.clone()).await;
    // As on a full disk, positions fail and the log still has room to give back.
    fs::remove_dir_all(directory.path().join("positions")).unwrap();
    for number in 0..2000 {
        let began = Instant::now();
        while spool.put(vec![record("key", number)], None).await.is_err() {
            assert!(began.elapsed() < PATIENCE, "room is given back");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    spool.close(PATIENCE).await;
    assert!(by_key(&sink.take()).0["key"].iter().copied().eq(0..2000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_collector_answers_while_the_sink_is_down_and_503_when_the_spool_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let (good, bad) = (Arc::new(MemorySink::default()), Arc::new(MemorySink::default()));
    good.failing.store(true, Ordering::Relaxed);
    let mut config = CollectorConfig { durability: Durability::Spool, ..CollectorConfig::default() };
    config.termination_deadline = Duration::from_millis(500);
    let (mut served, mut refused) = (0, 0);
    for restart in [false, true] {
        let fronts: [Arc<dyn Sink>; 2] = [
            Arc::new(open(&directory.path().join("good"), 200_000, good.clone()).await),
            Arc::new(open(&directory.path().join("bad"), 200_000, bad.clone()).await),
        ];
        let collector = Collector::start_behind(config.clone(), good.clone(), bad.clone(), fronts);
        if restart {
            good.failing.store(false, Ordering::Relaxed);
            let body = vec![b'x'; 1000];
            let began = Instant::now();
            while collector.post("/com.acme/v1", &body).await.status != 200 {
                assert!(began.elapsed() < PATIENCE, "there is room again");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
            served += 1;
            let began = Instant::now();
            while collector.get("/sink-health").await.status != 200 {
                assert!(began.elapsed() < PATIENCE, "it is healthy again");
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        } else {
            while refused < 20 {
                let response = collector.post("/com.acme/v1", &vec![b'x'; 5000]).await;
                match response.status {
                    200 => served += 1,
                    503 => {
                        assert_eq!(response.header("Retry-After"), Some("5"));
                        refused += 1;
                    }
                    status => panic!("{status}"),
                }
            }
            assert!(served > 20, "{served}");
            assert_eq!(collector.get("/sink-health").await.status, 503);
        }
        // What stays in the spool is no loss.
        collector.stop().await.unwrap();
    }
    assert_eq!(good.take().len(), served);
}

/// A real stream behind the spool.
struct StreamSink(EmbeddedStreams);

impl StreamSink {
    async fn open(directory: &Path) -> Arc<Self> {
        let options = Options { max_record_bytes: 1000, durability: OsCache, ..Options::default() };
        let streams = EmbeddedStreams::open(directory, options).unwrap();
        streams.create("raw", 2, Duration::from_secs(3600)).await.unwrap();
        Arc::new(Self(streams))
    }

    async fn records(&self) -> Vec<Outgoing> {
        let mut records = Vec::new();
        for shard in self.0.describe("raw").await.unwrap().shards {
            let mut cursor = self.0.open("raw", &shard.id, &StartAt::TrimHorizon).await.unwrap();
            loop {
                let limit = ReadLimit { records: 1000, bytes: 1 << 20 };
                let page = cursor.next(limit, Duration::ZERO).await.unwrap();
                if page.records.is_empty() {
                    break;
                }
                records.extend(page.records.into_iter().map(|read| Outgoing::new(read.partition_key, read.data)));
            }
        }
        records
    }
}

#[async_trait]
impl Sink for StreamSink {
    async fn put(&self, batch: Vec<Outgoing>, producer: Option<&Producer>) -> Result<(), SinkError> {
        let outcomes = self.0.put("raw", batch.into_iter().map(PutEntry::from).collect(), producer).await;
        settle(outcomes.map_err(|error| SinkError::Unavailable { reason: error.to_string() })?)
    }

    fn healthy(&self) -> bool {
        true
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_again_is_stored_once_and_two_spools_are_not_taken_for_one() {
    let directory = tempfile::tempdir().unwrap();
    let stream = StreamSink::open(&directory.path().join("stream")).await;
    for spool in ["one", "other"] {
        let home = directory.path().join(spool);
        for start in 0..3 {
            let spool = open(&home, 1 << 30, stream.clone()).await;
            if start == 0 {
                for number in 0..20 {
                    spool.put((0..20).map(|key| record(&format!("key{key}"), number)).collect(), None).await.unwrap();
                }
            }
            spool.close(PATIENCE).await;
            assert_eq!(spool.status().drained_records, 400, "start {start}");
            // As if it had been killed before it could note anything.
            fs::remove_dir_all(home.join("positions")).unwrap();
        }
    }
    let mut keys = BTreeMap::<String, Vec<usize>>::new();
    for read in stream.records().await {
        keys.entry(read.partition_key.clone()).or_default().push(number(&read));
    }
    assert_eq!(keys.len(), 20);
    assert!(keys.values().all(|numbers| numbers.iter().copied().eq((0..20).chain(0..20))), "{keys:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_record_that_the_stream_refuses_for_good_becomes_a_bad_row_and_holds_up_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let stream = StreamSink::open(&directory.path().join("stream")).await;
    for bad in [Some(Arc::new(MemorySink::default())), None] {
        let home = directory.path().join(if bad.is_some() { "with" } else { "without" });
        let options = SpoolOptions { bad: bad.clone().map(|bad| bad as Arc<dyn Sink>), ..options(1 << 30) };
        let spool = Spool::open(&home, options, stream.clone()).await.unwrap();
        let large = Outgoing::new("key", vec![b'x'; 2000]);
        spool.put(vec![record("key", 0), large, record("key", 1)], None).await.unwrap();
        spool.close(PATIENCE).await;
        assert_eq!(spool.status().oldest_age_ms, 0);
        let line = match bad {
            Some(bad) => String::from_utf8(bad.take().remove(0).data.to_vec()).unwrap(),
            None => fs::read_to_string(home.join("refused.jsonl")).unwrap(),
        };
        assert!(line.contains("2003 bytes, more than the 1000 allowed"), "{line}");
    }
    assert_eq!(stream.records().await.iter().map(number).collect::<Vec<_>>(), [0, 1, 0, 1]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_whose_log_cannot_be_opened_is_set_aside_whole_and_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let (home, sink) = (directory.path().join("spool"), Arc::new(MemorySink::default()));
    sink.failing.store(true, Ordering::Relaxed);
    let spool = open(&home, 1 << 30, sink.clone()).await;
    spool.put(vec![record("key", 7)], None).await.unwrap();
    spool.close(Duration::ZERO).await;
    drop(spool);
    let segment = last_segments(&home).remove(0);
    let mut bytes = fs::read(&segment).unwrap();
    bytes[20] ^= 1;
    fs::write(&segment, bytes).unwrap();

    sink.failing.store(false, Ordering::Relaxed);
    let spool = open(&home, 1 << 30, sink.clone()).await;
    spool.put(vec![record("key", 8)], None).await.unwrap();
    spool.close(PATIENCE).await;
    assert_eq!(sink.take().iter().map(number).collect::<Vec<_>>(), [8]);
    let names: Vec<_> = fs::read_dir(directory.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(names.iter().any(|name| name.to_string_lossy().starts_with("spool.damaged-")), "{names:?}");
}

/// A sink in a file, which outlives the process: one line a record.
struct FileSink(Mutex<File>);

impl FileSink {
    fn open(directory: &Path) -> Arc<Self> {
        let mut file = OpenOptions::new().create(true).append(true).open(directory.join("sink")).unwrap();
        // Ends the line that a kill tore.
        file.write_all(b"\n").unwrap();
        Arc::new(Self(Mutex::new(file)))
    }
}

#[async_trait]
impl Sink for FileSink {
    async fn put(&self, batch: Vec<Outgoing>, _: Option<&Producer>) -> Result<(), SinkError> {
        assert!(batch.len() <= BATCH);
        let lines: String =
            batch.iter().map(|record| format!("{} {} .\n", record.partition_key, number(record))).collect();
        tokio::time::sleep(Duration::from_millis(2)).await;
        self.0.lock().unwrap().write_all(lines.as_bytes()).unwrap();
        Ok(())
    }

    fn healthy(&self) -> bool {
        true
    }
}

/// Whole lines of a key and a number.
fn lines(path: &Path) -> Vec<Outgoing> {
    let text = fs::read_to_string(path).unwrap_or_default();
    let whole = text.lines().filter_map(|line| line.strip_suffix(" .")?.split_once(' '));
    whole.map(|(key, number)| record(key, number.parse().unwrap())).collect()
}

/// Not a test of its own: what `killed_at_any_moment_…` starts and kills. Without its directory there is nothing to do.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn child_that_is_killed() {
    let Some(directory) = std::env::var_os(CHILD).map(PathBuf::from) else { return };
    let spool = Arc::new(open(&directory.join("spool"), 1 << 30, FileSink::open(&directory)).await);
    let acknowledged = OpenOptions::new().create(true).append(true).open(directory.join("acknowledged")).unwrap();
    let acknowledged = Arc::new(Mutex::new(acknowledged));
    let run = std::process::id();
    let stop = Arc::new(AtomicBool::new(false));
    for putter in 0..3 {
        let (spool, acknowledged, stop) = (spool.clone(), acknowledged.clone(), stop.clone());
        tokio::spawn(async move {
            for number in 0.. {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let keys: Vec<_> = (0..10).map(|key| format!("{run}-{putter}-{key}")).collect();
                spool.put(keys.iter().map(|key| record(key, number)).collect(), None).await.unwrap();
                let lines: String = keys.iter().map(|key| format!("{key} {number} .\n")).collect();
                acknowledged.lock().unwrap().write_all(lines.as_bytes()).unwrap();
            }
        });
    }
    // Should nobody kill it.
    tokio::time::sleep(PATIENCE).await;
    stop.store(true, Ordering::Relaxed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_loses_nothing_and_repeats_a_batch_a_shard_at_most() {
    const KILLS: usize = 20;
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut random = fastrand::Rng::with_seed(seed);
    let directory = tempfile::tempdir().unwrap();
    let mut acknowledged_before = 0;
    for kill in 0..KILLS {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "spool::child_that_is_killed", "--nocapture"])
            .env(CHILD, directory.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Killed under load, not before it began.
        until(&format!("child {kill} puts"), || {
            assert!(child.try_wait().unwrap().is_none(), "child {kill} ended by itself");
            lines(&directory.path().join("acknowledged")).len() > acknowledged_before
        })
        .await;
        tokio::time::sleep(Duration::from_millis(random.u64(0..200))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        acknowledged_before = lines(&directory.path().join("acknowledged")).len();
    }
    let spool = open(&directory.path().join("spool"), 1 << 30, FileSink::open(directory.path())).await;
    spool.close(PATIENCE).await;
    assert_eq!(spool.status().oldest_age_ms, 0);
    let (keys, again) = by_key(&lines(&directory.path().join("sink")));
    let (acknowledged, _) = by_key(&lines(&directory.path().join("acknowledged")));
    println!("{acknowledged_before} records acknowledged, {again} repeated");
    assert_eq!(acknowledged.len(), KILLS * 30);
    for (key, numbers) in acknowledged {
        let came = keys.get(&key).map_or(0, Vec::len);
        assert!(came >= numbers.len(), "{key}: {came} of {} acknowledged", numbers.len());
        assert!(keys[&key].iter().copied().eq(0..came), "{key} is out of order");
    }
    assert!(again <= KILLS * SHARDS * BATCH, "{again}");
}
