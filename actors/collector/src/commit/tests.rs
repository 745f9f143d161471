//! The buffer against sinks that are slow, fail or hang.

use std::sync::Mutex;

use async_trait::async_trait;
use snowmelt_streams::Producer;

use super::*;

#[derive(Default)]
struct Memory {
    batches: Mutex<Vec<usize>>,
    failing: Mutex<bool>,
    gate: Option<Semaphore>,
}

#[async_trait]
impl Sink for Memory {
    async fn put(&self, batch: Vec<Outgoing>, _: Option<&Producer>) -> Result<(), SinkError> {
        if let Some(gate) = &self.gate {
            gate.acquire().await.expect("never closed").forget();
        }
        if *self.failing.lock().unwrap() {
            return Err(SinkError::Unavailable { reason: "switched off".to_owned() });
        }
        self.batches.lock().unwrap().push(batch.len());
        Ok(())
    }

    fn healthy(&self) -> bool {
        true
    }
}

fn record(size: usize) -> Outgoing {
    Outgoing::new("k", vec![b'x'; size])
}

fn settings(change: impl FnOnce(&mut CollectorConfig)) -> CommitSettings {
    let mut config = CollectorConfig::default();
    change(&mut config);
    CommitSettings::new(&config, &config.streams.good)
}

#[tokio::test]
async fn records_that_come_together_are_written_together() {
    let sink = Arc::new(Memory::default());
    let committer = Committer::start("good", sink.clone(), settings(|_| ()));
    let mut tickets = Vec::new();
    for _ in 0..1200 {
        tickets.push(committer.accept(record(10)).await.unwrap());
    }
    for ticket in tickets {
        ticket.durable().await.unwrap();
    }
    let batches = sink.batches.lock().unwrap().clone();
    assert_eq!(batches.iter().sum::<usize>(), 1200);
    assert!(batches.iter().all(|&count| count <= 500), "{batches:?}");
    assert!(batches.len() <= 6, "{batches:?}");
}

#[tokio::test]
async fn a_failing_sink_fails_every_request_of_the_batch() {
    let sink = Arc::new(Memory { failing: Mutex::new(true), ..Memory::default() });
    let committer = Committer::start("good", sink.clone(), settings(|_| ()));
    let ticket = committer.accept(record(1)).await.unwrap();
    assert_eq!(ticket.durable().await, Err(CommitError::NotStored { sink: "good" }));
    *sink.failing.lock().unwrap() = false;
    committer.accept(record(1)).await.unwrap().durable().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_hanging_sink_fills_the_buffer_and_no_more() {
    let sink = Arc::new(Memory { gate: Some(Semaphore::new(0)), ..Memory::default() });
    let committer = Committer::start(
        "good",
        sink.clone(),
        settings(|config| {
            config.group_commit.max_pending_bytes = 10_000;
            config.group_commit.write_timeout = Duration::from_secs(3600);
        }),
    );
    let mut tickets = Vec::new();
    let refused = loop {
        match committer.accept(record(839)).await {
            Ok(ticket) => tickets.push(ticket),
            Err(error) => break error,
        }
    };
    assert_eq!(tickets.len(), 10);
    assert_eq!(refused, CommitError::Full { sink: "good", waited_ms: 2000 });
    sink.gate.as_ref().unwrap().add_permits(100);
    for ticket in tickets {
        ticket.durable().await.unwrap();
    }
    committer.accept(record(839)).await.unwrap().durable().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_write_that_takes_too_long_counts_as_failed() {
    let sink = Arc::new(Memory { gate: Some(Semaphore::new(0)), ..Memory::default() });
    let committer = Committer::start("good", sink, settings(|_| ()));
    let ticket = committer.accept(record(1)).await.unwrap();
    assert_eq!(ticket.durable().await, Err(CommitError::NotStored { sink: "good" }));
}

#[tokio::test(start_paused = true)]
async fn with_memory_durability_a_batch_is_tried_until_it_is_stored() {
    let sink = Arc::new(Memory { failing: Mutex::new(true), ..Memory::default() });
    let committer = Committer::start("good", sink.clone(), settings(|config| config.durability = Durability::Memory));
    let ticket = committer.accept(record(1)).await.unwrap();
    tokio::time::sleep(Duration::from_secs(60)).await;
    *sink.failing.lock().unwrap() = false;
    ticket.durable().await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn closing_writes_what_is_there_and_tells_what_is_not() {
    let sink = Arc::new(Memory::default());
    let committer =
        Committer::start("good", sink.clone(), settings(|config| config.group_commit.linger = Duration::from_secs(5)));
    for _ in 0..3 {
        drop(committer.accept(record(1)).await.unwrap());
    }
    assert_eq!(committer.close(Duration::from_secs(1)).await, 0);
    assert_eq!(sink.batches.lock().unwrap().iter().sum::<usize>(), 3);
    assert_eq!(committer.accept(record(1)).await.unwrap_err(), CommitError::Closed { sink: "good" });

    let stuck = Arc::new(Memory { gate: Some(Semaphore::new(0)), ..Memory::default() });
    let committer = Committer::start("good", stuck, settings(|_| ()));
    drop(committer.accept(record(1)).await.unwrap());
    assert_eq!(committer.close(Duration::from_secs(1)).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_full_batch_does_not_wait_for_the_time_limit() {
    let sink = Arc::new(Memory::default());
    let committer = Committer::start("good", sink.clone(), settings(|config| config.durability = Durability::Memory));
    for _ in 0..500 {
        drop(committer.accept(record(1)).await.unwrap());
    }
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(*sink.batches.lock().unwrap(), [500]);
    drop(committer.accept(record(1)).await.unwrap());
    tokio::time::sleep(Duration::from_millis(4000)).await;
    assert_eq!(*sink.batches.lock().unwrap(), [500]);
    tokio::time::sleep(Duration::from_millis(1100)).await;
    assert_eq!(*sink.batches.lock().unwrap(), [500, 1]);
}
