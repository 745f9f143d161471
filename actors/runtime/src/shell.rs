//! The actix actors that hold a stage or a worker: what turns errors, panics and the end of input into one report.

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, AtomicResponse, Context, Handler, SpawnHandle, WrapFuture,
};
use futures_util::FutureExt;
use tokio::sync::mpsc;

use crate::failure::Failure;
use crate::fault::{Moment, Turn, inject};
use crate::observe::Activity;
use crate::port::{Envelope, Weighted};
use crate::stage::{Stage, StageContext, Step, Worker};

/// How an actor of a group ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Exit {
    /// It drained.
    Drained,
    /// It failed.
    Failed(Failure),
}

/// Where an actor's end is told: name and how. Each actor tells once, so the channel's capacity is the group's size.
pub(crate) type Exits = mpsc::Sender<(String, Exit)>;

pub(crate) struct Shell<S: Stage> {
    stage: Option<Box<S>>,
    cx: StageContext,
    exits: Exits,
    alarm: Option<(u64, SpawnHandle)>,
}

impl<S: Stage> Shell<S> {
    pub fn new(stage: S, cx: StageContext, exits: Exits) -> Self {
        Self { stage: Some(Box::new(stage)), cx, exits, alarm: None }
    }

    fn end(&mut self, exit: Exit, ctx: &mut Context<Self>) {
        report(&self.cx, &self.exits, exit);
        self.stage = None;
        ctx.stop();
    }

    /// Takes the stage back after a turn, or ends.
    fn resume(&mut self, outcome: Result<Box<S>, Failure>, ctx: &mut Context<Self>) {
        self.cx.stats().set_activity(Activity::Idle, self.cx.clock().monotonic_ms());
        match outcome {
            Ok(stage) => {
                self.stage = Some(stage);
                self.arm(ctx);
            }
            Err(failure) => self.end(Exit::Failed(failure), ctx),
        }
    }

    /// Sets the alarm for the stage's next tick.
    fn arm(&mut self, ctx: &mut Context<Self>) {
        let wanted = self.stage.as_ref().and_then(|stage| stage.wake_at_ms());
        if self.alarm.as_ref().map(|(at, _)| *at) == wanted {
            return;
        }
        if let Some((_, handle)) = self.alarm.take() {
            ctx.cancel_future(handle);
        }
        if let Some(at) = wanted {
            let clock = self.cx.clock().clone();
            let wait = Duration::from_millis(at.saturating_sub(clock.monotonic_ms()));
            let sleep = async move { clock.sleep(wait).await };
            let handle = ctx.spawn(sleep.into_actor(self).map(|(), shell, ctx| {
                shell.alarm = None;
                shell.tick(ctx);
            }));
            self.alarm = Some((at, handle));
        }
    }

    fn tick(&mut self, ctx: &mut Context<Self>) {
        let Some(mut stage) = self.stage.take() else { return };
        let cx = self.cx.clone();
        begin(&cx);
        let turn = async move {
            inject(&cx, Turn::Tick, Moment::Before).await?;
            stage.tick(&cx).await?;
            inject(&cx, Turn::Tick, Moment::After).await?;
            Ok(stage)
        };
        ctx.wait(guarded(self.cx.clone(), turn).into_actor(self).map(|outcome, shell, ctx| shell.resume(outcome, ctx)));
    }
}

impl<S: Stage> Actor for Shell<S> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let killed = self.cx.inner.killed.clone();
        let kill = async move { killed.cancelled().await };
        ctx.spawn(kill.into_actor(self).map(|(), shell, ctx| {
            shell.stage = None;
            ctx.stop();
        }));
        self.arm(ctx);
    }
}

impl<S: Stage> Handler<Envelope<S::Input>> for Shell<S> {
    type Result = AtomicResponse<Self, ()>;

    fn handle(&mut self, envelope: Envelope<S::Input>, _ctx: &mut Self::Context) -> Self::Result {
        // A killed group handles nothing more: what is dropped here fails its acknowledgement, as it must.
        let stage = if self.cx.inner.killed.is_cancelled() { None } else { self.stage.take() };
        let Some(mut stage) = stage else {
            return AtomicResponse::new(Box::pin(async {}.into_actor(self)));
        };
        let cx = self.cx.clone();
        begin(&cx);
        match envelope.message {
            Some(message) => {
                let permits = envelope.permits;
                let (records, bytes) = (message.records(), message.bytes());
                let turn = async move {
                    inject(&cx, Turn::Message, Moment::Before).await?;
                    stage.handle(message, &cx).await?;
                    inject(&cx, Turn::Message, Moment::After).await?;
                    cx.stats().handled(records, bytes);
                    drop(permits);
                    Ok(stage)
                };
                let turn = guarded(self.cx.clone(), turn);
                AtomicResponse::new(Box::pin(
                    turn.into_actor(self).map(|outcome, shell, ctx| shell.resume(outcome, ctx)),
                ))
            }
            None => {
                let turn = async move {
                    inject(&cx, Turn::Drain, Moment::Before).await?;
                    stage.drain(&cx).await?;
                    inject(&cx, Turn::Drain, Moment::After).await
                };
                let turn = guarded(self.cx.clone(), turn);
                AtomicResponse::new(Box::pin(turn.into_actor(self).map(|outcome, shell, ctx| {
                    shell.cx.stats().set_activity(Activity::Idle, shell.cx.clock().monotonic_ms());
                    shell.end(outcome.map_or_else(Exit::Failed, |()| Exit::Drained), ctx);
                })))
            }
        }
    }
}

pub(crate) struct Loop<W: Worker> {
    worker: Option<Box<W>>,
    cx: StageContext,
    exits: Exits,
}

impl<W: Worker> Loop<W> {
    pub fn new(worker: W, cx: StageContext, exits: Exits) -> Self {
        Self { worker: Some(Box::new(worker)), cx, exits }
    }
}

impl<W: Worker> Actor for Loop<W> {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        let Some(worker) = self.worker.take() else { return };
        let cx = self.cx.clone();
        begin(&cx);
        let run = guarded(self.cx.clone(), run(worker, cx));
        ctx.spawn(run.into_actor(self).map(|outcome, this, ctx| {
            this.cx.stats().set_activity(Activity::Idle, this.cx.clock().monotonic_ms());
            report(&this.cx, &this.exits, outcome.map_or_else(Exit::Failed, |()| Exit::Drained));
            ctx.stop();
        }));
    }
}

async fn run<W: Worker>(mut worker: Box<W>, cx: StageContext) -> Result<(), Failure> {
    loop {
        inject(&cx, Turn::Step, Moment::Before).await?;
        let step = worker.step(&cx).await?;
        inject(&cx, Turn::Step, Moment::After).await?;
        if step == Step::Done {
            break;
        }
        // A step is a sign of life.
        cx.stats().set_activity(Activity::Busy, cx.clock().monotonic_ms());
        // Other actors share this thread; a loop that is always ready must not starve them.
        tokio::task::yield_now().await;
    }
    inject(&cx, Turn::Drain, Moment::Before).await?;
    worker.finish(&cx).await?;
    inject(&cx, Turn::Drain, Moment::After).await
}

fn begin(cx: &StageContext) {
    cx.stats().set_activity(Activity::Busy, cx.clock().monotonic_ms());
}

/// Runs one turn so that a panic becomes a failure and a kill ends the wait. A panic outside of this would end the actor
/// without a word to its supervisor.
async fn guarded<T>(cx: StageContext, turn: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let caught = AssertUnwindSafe(turn).catch_unwind();
    tokio::select! {
        biased;
        () = cx.inner.killed.cancelled() => Err(Failure::message("the group was torn down")),
        outcome = caught => outcome.unwrap_or_else(|panic| Err(Failure::from_panic(&*panic))),
    }
}

fn report(cx: &StageContext, exits: &Exits, exit: Exit) {
    if let Exit::Failed(_) = exit {
        // First the switch, then the word: no other actor of the group may act on half a result.
        let already = cx.inner.killed.is_cancelled();
        cx.inner.killed.cancel();
        if already {
            return;
        }
    }
    if exits.try_send((cx.actor().to_owned(), exit)).is_err() {
        tracing::debug!(group = %cx.group(), actor = cx.actor(), "nobody supervises this group any more");
    }
}
