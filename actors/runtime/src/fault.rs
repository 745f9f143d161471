//! Faults on purpose: how tests make an actor fail at a moment of their choice. Without a hook it costs one branch a turn.

use std::time::Duration;

use crate::failure::Failure;
use crate::group::GroupId;
use crate::stage::StageContext;

/// What an actor is about to do, or has just done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// It handles one message of its mailbox.
    Message,
    /// Its alarm rang.
    Tick,
    /// One turn of a worker's loop.
    Step,
    /// The end: what is held is sent on, ports are closed.
    Drain,
}

/// When in a turn a fault happens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Moment {
    /// Nothing of the turn has been done.
    Before,
    /// All of it has been done and nobody knows yet.
    After,
}

/// How an actor is to fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// By an error.
    Error,
    /// By a panic.
    Panic,
    /// By a future that never ends.
    Hang,
    /// By blocking its event loop for this long.
    Block(Duration),
}

/// Asked before and after every turn of every actor of a group.
pub trait FaultHook: Send + Sync + 'static {
    /// The fault to happen now, if any.
    fn fault(&self, group: &GroupId, actor: &str, turn: Turn, moment: Moment) -> Option<Fault>;
}

/// Lets the hook's fault happen.
pub(crate) async fn inject(cx: &StageContext, turn: Turn, moment: Moment) -> Result<(), Failure> {
    let Some(hook) = &cx.inner.faults else { return Ok(()) };
    match hook.fault(cx.group(), cx.actor(), turn, moment) {
        None => Ok(()),
        Some(Fault::Error) => Err(Failure::message(format!("injected error, {moment:?} {turn:?}"))),
        Some(Fault::Panic) => panic!("injected panic, {moment:?} {turn:?}"),
        Some(Fault::Hang) => std::future::pending().await,
        Some(Fault::Block(time)) => {
            #[expect(clippy::disallowed_methods, reason = "blocking the event loop is the fault")]
            std::thread::sleep(time);
            Ok(())
        }
    }
}
