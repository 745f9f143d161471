//! Ports: the only way into a mailbox, with a bound that holds for every sender.
//!
//! `actix`'s own capacity is per clone of an address, and its `do_send` ignores even that. A port takes permits for a batch's
//! bytes and for one batch *before* it hands the message over; the permits travel with the message and are given back
//! when the receiver has finished with it. So a mailbox never holds more than its limits, whoever sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use actix::{Message, Recipient};
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::failure::Failure;
use crate::observe::{Activity, Stats};
use crate::stage::StageContext;

/// What a mailbox needs to know of a message.
pub trait Weighted {
    /// Payload bytes: what the bound counts.
    fn bytes(&self) -> usize;
    /// Records, for the counters.
    fn records(&self) -> usize;
}

/// The bound of a mailbox. What is being handled counts too.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct MailboxLimits {
    /// Most payload bytes; a single larger message passes alone.
    pub bytes: usize,
    /// Most messages.
    pub batches: usize,
}

impl MailboxLimits {
    /// Limits; both are at least 1, and bytes at most 1 GiB.
    pub fn new(bytes: usize, batches: usize) -> Self {
        Self { bytes: bytes.clamp(1, 1 << 30), batches: batches.clamp(1, 1 << 16) }
    }
}

/// A message on its way, with the permits that it holds until it is dropped.
#[derive(Debug)]
pub struct Envelope<M> {
    pub(crate) message: Option<M>,
    pub(crate) permits: Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)>,
}

impl<M: Send + 'static> Message for Envelope<M> {
    type Result = ();
}

/// A read-only view of a mailbox's fill.
#[derive(Debug, Clone)]
pub struct MailboxView {
    bytes: Arc<Semaphore>,
    batches: Arc<Semaphore>,
    limits: MailboxLimits,
}

impl MailboxView {
    /// The mailbox's bound.
    pub const fn limits(&self) -> MailboxLimits {
        self.limits
    }

    /// Bytes held now, the message being handled included.
    pub fn bytes_held(&self) -> usize {
        self.limits.bytes.saturating_sub(self.bytes.available_permits())
    }

    /// Messages held now, the one being handled included.
    pub fn batches_held(&self) -> usize {
        self.limits.batches.saturating_sub(self.batches.available_permits())
    }
}

/// A sender's end of a mailbox. Clones share one bound. When the last one is closed the receiver drains.
pub struct Port<M: Send + 'static> {
    recipient: Recipient<Envelope<M>>,
    view: MailboxView,
    open: Arc<AtomicUsize>,
    closed: bool,
}

impl<M: Weighted + Send + 'static> Port<M> {
    pub(crate) fn new(recipient: Recipient<Envelope<M>>, limits: MailboxLimits) -> Self {
        let view = MailboxView {
            bytes: Arc::new(Semaphore::new(limits.bytes)),
            batches: Arc::new(Semaphore::new(limits.batches)),
            limits,
        };
        Self { recipient, view, open: Arc::new(AtomicUsize::new(1)), closed: false }
    }

    /// The mailbox behind the port.
    pub fn view(&self) -> MailboxView {
        self.view.clone()
    }

    /// Waits for room, then hands `message` over. The time spent waiting is counted on the sending actor.
    ///
    /// # Errors
    /// When the receiving actor is gone; its group is being torn down then.
    pub async fn send(&self, message: M, cx: &StageContext) -> Result<(), Failure> {
        let weight = message.bytes().clamp(1, self.view.limits.bytes);
        let permits = match self.try_permits(weight) {
            Some(permits) => permits,
            None => self.wait_for_permits(weight, cx).await?,
        };
        self.hand_over(Envelope { message: Some(message), permits: Some(permits) })
    }

    /// Hands over a message from outside any group (tests, load tests), waiting for room.
    ///
    /// # Errors
    /// When the receiving actor is gone.
    pub async fn send_from_outside(&self, message: M) -> Result<(), Failure> {
        let weight = message.bytes().clamp(1, self.view.limits.bytes);
        let permits = self.acquire(weight).await?;
        self.hand_over(Envelope { message: Some(message), permits: Some(permits) })
    }

    /// This sender has nothing more. The last to say so makes the receiver drain, after all that was sent before.
    ///
    /// # Errors
    /// When the receiving actor is gone.
    pub fn close(mut self) -> Result<(), Failure> {
        self.closed = true;
        if self.open.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.hand_over(Envelope { message: None, permits: None })?;
        }
        Ok(())
    }

    fn try_permits(&self, weight: usize) -> Option<(OwnedSemaphorePermit, OwnedSemaphorePermit)> {
        let batch = Arc::clone(&self.view.batches).try_acquire_owned().ok()?;
        let bytes = Arc::clone(&self.view.bytes).try_acquire_many_owned(as_u32(weight)).ok()?;
        Some((batch, bytes))
    }

    async fn wait_for_permits(
        &self,
        weight: usize,
        cx: &StageContext,
    ) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Failure> {
        let stats: &Stats = cx.stats();
        let before = stats.set_activity(Activity::WaitingForRoom, cx.clock().monotonic_ms());
        let started = Instant::now();
        let permits = self.acquire(weight).await;
        stats.waited_for_room(u64::try_from(started.elapsed().as_micros()).unwrap_or(u64::MAX));
        stats.set_activity(before, cx.clock().monotonic_ms());
        permits
    }

    async fn acquire(&self, weight: usize) -> Result<(OwnedSemaphorePermit, OwnedSemaphorePermit), Failure> {
        let gone = |_| Failure::message("the mailbox is closed");
        let batch = Arc::clone(&self.view.batches).acquire_owned().await.map_err(gone)?;
        let bytes = Arc::clone(&self.view.bytes).acquire_many_owned(as_u32(weight)).await.map_err(gone)?;
        Ok((batch, bytes))
    }

    fn hand_over(&self, envelope: Envelope<M>) -> Result<(), Failure> {
        if !self.recipient.connected() {
            return Err(Failure::message("the receiving actor is gone"));
        }
        #[expect(clippy::disallowed_methods, reason = "the permits taken above are the bound")]
        self.recipient.do_send(envelope);
        Ok(())
    }
}

impl<M: Send + 'static> Clone for Port<M> {
    fn clone(&self) -> Self {
        self.open.fetch_add(1, Ordering::AcqRel);
        Self { recipient: self.recipient.clone(), view: self.view.clone(), open: Arc::clone(&self.open), closed: false }
    }
}

impl<M: Send + 'static> Drop for Port<M> {
    fn drop(&mut self) {
        // A port that is dropped without `close` belongs to an actor that failed: no end of input is announced, since
        // what its mailbox still held would be taken for complete.
        if !self.closed {
            self.open.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

fn as_u32(weight: usize) -> u32 {
    u32::try_from(weight).unwrap_or(u32::MAX)
}
