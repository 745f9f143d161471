//! Streams that fail, before a queue that takes their records.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use snowmelt_collector::{
    CollectorConfig, Outgoing, Overflow, Sink, SinkError,
    config::BackoffPolicy,
    overflow::{Queue, QueueError},
};

use super::support::MemorySink;

/// A queue that keeps its calls, unless told to fail.
#[derive(Default)]
struct MemoryQueue {
    calls: Mutex<Vec<Vec<Outgoing>>>,
    down: AtomicBool,
    /// Of the next call this many records are not taken, the first ones.
    refuse: AtomicUsize,
}

impl MemoryQueue {
    fn sizes(&self) -> Vec<usize> {
        self.calls.lock().unwrap().iter().map(Vec::len).collect()
    }

    fn keys(&self) -> Vec<String> {
        self.calls.lock().unwrap().iter().flatten().map(|record| record.partition_key.clone()).collect()
    }
}

#[async_trait]
impl Queue for MemoryQueue {
    fn name(&self) -> &str {
        "memory"
    }

    async fn send(&self, records: &[Outgoing]) -> Result<Vec<usize>, QueueError> {
        self.find().await?;
        let refused = self.refuse.swap(0, Ordering::Relaxed).min(records.len());
        self.calls.lock().unwrap().push(records[refused..].to_vec());
        Ok((0..refused).collect())
    }

    async fn find(&self) -> Result<(), QueueError> {
        if self.down.load(Ordering::Relaxed) {
            return Err(QueueError { queue: self.name().to_owned(), reason: "switched off".to_owned() });
        }
        Ok(())
    }
}

struct Rig {
    stream: Arc<MemorySink>,
    queue: Arc<MemoryQueue>,
    overflow: Overflow,
}

fn config() -> CollectorConfig {
    let mut config = CollectorConfig::default();
    let good = &mut config.streams.good;
    good.backoff_policy = BackoffPolicy { min_backoff: 1, max_backoff: 2, max_retries: 2 };
    good.startup_check_interval = Duration::from_millis(100);
    good.sqs_max_bytes = 1000;
    config
}

fn rig(config: &CollectorConfig, queue: MemoryQueue) -> Rig {
    let (stream, queue) = (Arc::new(MemorySink::default()), Arc::new(queue));
    let sink: Arc<dyn Sink> = stream.clone();
    let overflow = Overflow::new("good", config, &config.streams.good, sink, queue.clone());
    Rig { stream, queue, overflow }
}

fn records(keys: std::ops::Range<usize>, bytes: usize) -> Vec<Outgoing> {
    keys.map(|key| Outgoing::new(key.to_string(), vec![b'x'; bytes])).collect()
}

#[tokio::test]
async fn what_the_stream_refuses_is_in_the_queue_and_the_way_back_is_found() {
    let Rig { stream, queue, overflow } = rig(&config(), MemoryQueue::default());
    overflow.put(records(0..5, 10), None).await.unwrap();
    assert_eq!((stream.take().len(), queue.sizes()), (5, vec![]));

    stream.failing.store(true, Ordering::Relaxed);
    overflow.put(records(0..23, 10), None).await.unwrap();
    assert_eq!(queue.sizes(), [10, 10, 3]);
    assert_eq!(queue.keys(), (0..23).map(|key| key.to_string()).collect::<Vec<_>>());
    // The queue is enough.
    assert!(overflow.healthy());

    stream.failing.store(false, Ordering::Relaxed);
    overflow.put(records(0..1, 10), None).await.unwrap();
    assert_eq!(stream.take(), [], "the stream is left alone until the next look");
    tokio::time::sleep(Duration::from_millis(150)).await;
    overflow.put(records(0..2, 10), None).await.unwrap();
    overflow.put(records(2..3, 10), None).await.unwrap();
    assert_eq!(stream.take().len(), 3);
}

#[tokio::test]
async fn calls_keep_the_limit_of_bytes() {
    let Rig { stream, queue, overflow } = rig(&config(), MemoryQueue::default());
    stream.failing.store(true, Ordering::Relaxed);
    overflow.put(records(0..5, 400), None).await.unwrap();
    assert_eq!(queue.sizes(), [2, 2, 1]);
}

#[tokio::test]
async fn a_record_too_large_for_the_queue_waits_and_nothing_of_its_batch_is_doubled() {
    let Rig { stream, queue, overflow } = rig(&config(), MemoryQueue::default());
    stream.failing.store(true, Ordering::Relaxed);
    let batch: Vec<Outgoing> = records(0..3, 10).into_iter().chain(records(3..4, 1001)).collect();
    let refused = overflow.put(batch.clone(), None).await;
    assert!(matches!(refused, Err(SinkError::Unavailable { .. })), "{refused:?}");
    assert_eq!(queue.keys().len(), 0);
    stream.failing.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(150)).await;
    overflow.put(batch, None).await.unwrap();
    assert_eq!((stream.take().len(), queue.keys().len()), (4, 0));
}

#[tokio::test]
async fn messages_that_were_not_taken_are_sent_again_alone() {
    let queue = MemoryQueue { refuse: AtomicUsize::new(2), ..MemoryQueue::default() };
    let Rig { stream, queue, overflow } = rig(&config(), queue);
    stream.failing.store(true, Ordering::Relaxed);
    overflow.put(records(0..5, 10), None).await.unwrap();
    assert_eq!(queue.keys(), ["2", "3", "4", "0", "1"]);
}

#[tokio::test]
async fn without_stream_and_queue_the_records_stay_with_whoever_gave_them() {
    let queue = MemoryQueue { down: AtomicBool::new(true), ..MemoryQueue::default() };
    let Rig { stream, queue, overflow } = rig(&config(), queue);
    assert!(overflow.healthy(), "the stream is enough");
    stream.failing.store(true, Ordering::Relaxed);
    for _ in 0..2 {
        assert!(overflow.put(records(0..1, 10), None).await.is_err());
        assert!(!overflow.healthy());
    }
    // Whichever comes back first.
    queue.down.store(false, Ordering::Relaxed);
    overflow.put(records(0..1, 10), None).await.unwrap();
    assert!(overflow.healthy());
    queue.down.store(true, Ordering::Relaxed);
    assert!(overflow.put(records(1..2, 10), None).await.is_err());
    stream.failing.store(false, Ordering::Relaxed);
    overflow.put(records(2..3, 10), None).await.unwrap();
    assert_eq!((stream.take().len(), queue.keys()), (1, vec!["0".to_owned()]));
}

#[tokio::test]
async fn a_stream_that_hangs_is_left_in_time_for_the_queue() {
    let mut config = config();
    config.group_commit.write_timeout = Duration::from_millis(200);
    let Rig { stream, queue, overflow } = rig(&config, MemoryQueue::default());
    stream.hanging.store(true, Ordering::Relaxed);
    tokio::time::timeout(Duration::from_secs(5), overflow.put(records(0..1, 10), None)).await.unwrap().unwrap();
    assert_eq!(queue.keys(), ["0"]);
}
