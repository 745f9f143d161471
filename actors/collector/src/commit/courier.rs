//! Tells the waiting requests of a thread how their records fared, all of a batch at once.
//!
//! Waking a task of another thread is a system call each time; a batch of 64 requests was 64 of them. With a courier on each thread
//! that serves requests it is one: the courier's task is woken, and wakes its neighbours without leaving the thread.

use std::{
    cell::RefCell,
    sync::{Arc, Mutex, PoisonError},
};

use tokio::sync::{Notify, oneshot};

/// Whoever waits for a record, and where.
#[derive(Debug)]
pub(super) struct Waiting {
    done: oneshot::Sender<bool>,
    courier: Option<Arc<Courier>>,
}

/// What a waiting request is told with, and what it is told.
type Parcel = (oneshot::Sender<bool>, bool);

/// The courier of one thread.
#[derive(Debug, Default)]
pub(crate) struct Courier {
    /// No more than records wait: the buffer's bound.
    parcels: Mutex<Vec<Parcel>>,
    knock: Notify,
}

thread_local! {
    static HERE: RefCell<Option<Arc<Courier>>> = const { RefCell::new(None) };
}

impl Courier {
    /// Gives the current thread a courier, which works as long as its local tasks are run.
    pub(crate) fn employ() {
        let courier = Arc::new(Self::default());
        HERE.set(Some(Arc::clone(&courier)));
        tokio::task::spawn_local(async move {
            loop {
                courier.knock.notified().await;
                for (done, stored) in std::mem::take(&mut *courier.parcels()) {
                    tell(done, stored);
                }
            }
        });
    }

    fn parcels(&self) -> std::sync::MutexGuard<'_, Vec<Parcel>> {
        self.parcels.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiting {
    /// A request on the current thread, and what it waits with.
    pub(super) fn here() -> (Self, oneshot::Receiver<bool>) {
        let (done, stored) = oneshot::channel();
        (Self { done, courier: HERE.with_borrow(Clone::clone) }, stored)
    }
}

/// Tells each whether its record is stored.
pub(super) fn deliver(batch: impl Iterator<Item = (Waiting, bool)>) {
    // A handful of threads: a list is quicker than a map.
    let mut rounds: Vec<(Arc<Courier>, Vec<Parcel>)> = Vec::new();
    for (Waiting { done, courier }, stored) in batch {
        let Some(courier) = courier else {
            tell(done, stored);
            continue;
        };
        match rounds.iter_mut().find(|(known, _)| Arc::ptr_eq(known, &courier)) {
            Some((_, parcels)) => parcels.push((done, stored)),
            None => rounds.push((courier, vec![(done, stored)])),
        }
    }
    for (courier, parcels) in rounds {
        courier.parcels().extend(parcels);
        courier.knock.notify_one();
    }
}

fn tell(done: oneshot::Sender<bool>, stored: bool) {
    // A request that has gone does not want to know.
    let _gone = done.send(stored);
}
