//! A group under fire: errors, panics, hangs, full mailboxes, drain.

#![allow(clippy::unwrap_used, reason = "a test fails by it")]

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use snowmelt_runtime::group::GroupEnd;
use snowmelt_runtime::{
    Batch, Clock, Cores, Failure, Group, GroupBuilder, GroupContext, GroupId, Ledger, MailboxLimits, Pause, Port,
    Stage, StageContext, Step, Worker,
};

/// Reads the numbers below `total`, `batch` at a time.
struct Numbers {
    next: u64,
    total: u64,
    batch: u64,
    ledger: Ledger,
    out: Option<Port<Batch<u64>>>,
}

#[async_trait(?Send)]
impl Worker for Numbers {
    async fn step(&mut self, cx: &StageContext) -> Result<Step, Failure> {
        if cx.is_draining() || self.next == self.total {
            return Ok(Step::Done);
        }
        let items: Vec<u64> = (self.next..self.total.min(self.next + self.batch)).collect();
        self.next += items.len() as u64;
        let ack = self.ledger.open(self.next.to_string(), items.len());
        let bytes = items.len() * 8;
        self.out.as_ref().unwrap().send(Batch::new(items, bytes, ack), cx).await?;
        Ok(Step::Continue)
    }

    async fn finish(mut self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        self.ledger.seal(false);
        self.out.take().unwrap().close()
    }
}

type Hook = Arc<dyn Fn(u64) -> Result<(), Failure> + Send + Sync>;

/// Keeps what it gets until it is drained or has `hold` of them, and runs a hook on each.
struct Collect {
    seen: Arc<Mutex<Vec<u64>>>,
    hook: Hook,
    delay: Duration,
}

#[async_trait(?Send)]
impl Stage for Collect {
    type Input = Batch<u64>;

    async fn handle(&mut self, input: Self::Input, cx: &StageContext) -> Result<(), Failure> {
        if !self.delay.is_zero() {
            cx.outside(cx.clock().sleep(self.delay)).await;
        }
        for item in &input.items {
            (self.hook)(*item)?;
        }
        self.seen.lock().unwrap().extend(&input.items);
        input.ack.delivered();
        Ok(())
    }

    async fn drain(self: Box<Self>, _cx: &StageContext) -> Result<(), Failure> {
        Ok(())
    }
}

struct Chain {
    group: Group,
    ledger: Ledger,
    seen: Arc<Mutex<Vec<u64>>>,
}

fn chain(total: u64, limits: MailboxLimits, delay: Duration, hook: Hook) -> Chain {
    let arbiter = actix_rt::Arbiter::new();
    let context = GroupContext {
        id: GroupId { pipeline: "test".into(), shard: "0".into() },
        clock: Clock::system(),
        cores: Cores::new(1).unwrap(),
        arbiter: arbiter.handle(),
        pause: Pause::default(),
    };
    let (ledger, seen) = (Ledger::new(), Arc::new(Mutex::new(Vec::new())));
    let mut builder = GroupBuilder::new(context);
    let collect = {
        let seen = seen.clone();
        move || Collect { seen, hook, delay }
    };
    let port = builder.stage("collect", limits, collect);
    let numbers = {
        let ledger = ledger.clone();
        move || Numbers { next: 0, total, batch: 10, ledger, out: Some(port) }
    };
    builder.worker("numbers", numbers);
    Chain { group: builder.finish(), ledger, seen }
}

fn wide() -> MailboxLimits {
    MailboxLimits::new(1 << 20, 4)
}

async fn end(group: &mut Group) -> GroupEnd {
    tokio::time::timeout(Duration::from_secs(10), group.ended()).await.expect("the group ends in time")
}

#[actix::test]
async fn everything_arrives_in_order_and_the_group_drains() {
    let mut chain = chain(10_000, wide(), Duration::ZERO, Arc::new(|_| Ok(())));
    assert_eq!(end(&mut chain.group).await, GroupEnd::Drained);
    assert_eq!(*chain.seen.lock().unwrap(), (0..10_000).collect::<Vec<_>>());
    let progress = chain.ledger.progress();
    assert_eq!((progress.pending, progress.durable_records), (0, 10_000));
    assert!(progress.sealed && progress.failed.is_none());
}

#[actix::test]
async fn an_error_tears_the_group_down_and_fails_only_what_was_not_durable() {
    let hook: Hook = Arc::new(|n| if n == 505 { Err(Failure::message("five hundred and five")) } else { Ok(()) });
    let mut chain = chain(10_000, wide(), Duration::ZERO, hook);
    let expected = GroupEnd::Failed { actor: "collect".into(), failure: Failure::message("five hundred and five") };
    assert_eq!(end(&mut chain.group).await, expected);
    assert_eq!(chain.ledger.progress().durable.unwrap().position, "500");
}

#[actix::test]
async fn a_panic_in_a_handler_is_a_failure_with_its_message() {
    let hook: Hook = Arc::new(|n| if n == 42 { panic!("poison {n}") } else { Ok(()) });
    let mut chain = chain(1_000, wide(), Duration::ZERO, hook);
    let expected =
        GroupEnd::Failed { actor: "collect".into(), failure: Failure::Panic { message: "poison 42".into() } };
    assert_eq!(end(&mut chain.group).await, expected);
    assert_eq!(chain.ledger.progress().durable.unwrap().position, "40");
}

#[actix::test]
async fn a_slow_receiver_makes_the_sender_wait_within_the_bound() {
    let most = Arc::new(AtomicUsize::new(0));
    let mut chain = chain(200, MailboxLimits::new(160, 100), Duration::from_millis(2), Arc::new(|_| Ok(())));
    let view = chain.group.actors()[0].mailbox.clone().unwrap();
    let watch = {
        let most = most.clone();
        async move {
            loop {
                most.fetch_max(view.bytes_held(), Ordering::Relaxed);
                tokio::task::yield_now().await;
            }
        }
    };
    tokio::select! { end = chain.group.ended() => assert_eq!(end, GroupEnd::Drained), () = watch => {} }
    assert_eq!(most.load(Ordering::Relaxed), 160, "two batches of 80 bytes fill the bound and no third passes");
    let reader = chain.group.actors()[1].stats.snapshot();
    assert!(reader.waiting_for_room_micros > 10_000, "the time spent waiting is counted: {reader:?}");
}

#[actix::test]
async fn a_drain_stops_reading_and_finishes_what_was_read() {
    let mut chain = chain(u64::MAX, wide(), Duration::from_millis(1), Arc::new(|_| Ok(())));
    tokio::time::sleep(Duration::from_millis(50)).await;
    chain.group.drain();
    assert_eq!(end(&mut chain.group).await, GroupEnd::Drained);
    let progress = chain.ledger.progress();
    assert_eq!(progress.pending, 0);
    assert_eq!(progress.durable.unwrap().position, chain.seen.lock().unwrap().len().to_string());
}

#[actix::test]
async fn a_hang_is_seen_by_its_heartbeat_but_a_wait_outside_is_not() {
    let stuck: Hook = Arc::new(|n| {
        if n == 20 {
            std::thread::park_timeout(Duration::from_millis(400));
        }
        Ok(())
    });
    let mut busy = chain(30, wide(), Duration::ZERO, stuck);
    let mut waiting = chain(30, wide(), Duration::from_millis(400), Arc::new(|_| Ok(())));
    tokio::time::sleep(Duration::from_millis(250)).await;
    let (actor, failure) = busy.group.hung(100).expect("stuck for longer than its heartbeat");
    assert_eq!(actor, "collect");
    assert!(matches!(failure, Failure::Hang { stuck_ms } if stuck_ms > 100));
    assert_eq!(waiting.group.hung(100), None);
}

#[actix::test]
async fn dropping_a_group_ends_its_actors() {
    let chain = chain(u64::MAX, wide(), Duration::from_millis(1), Arc::new(|_| Ok(())));
    let seen = chain.seen.clone();
    tokio::time::sleep(Duration::from_millis(20)).await;
    drop(chain);
    tokio::time::sleep(Duration::from_millis(20)).await;
    let count = seen.lock().unwrap().len();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(seen.lock().unwrap().len(), count);
}
