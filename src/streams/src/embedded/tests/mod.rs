//! Tests of the log as a whole.

use std::cell::RefCell;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

mod crash;
mod log;
mod model;

thread_local! {
    static FAULTS: RefCell<Option<Arc<Faults>>> = const { RefCell::new(None) };
}

/// Makes the writers that a test starts from its own thread fail.
#[derive(Debug, Default)]
pub(crate) struct Faults {
    /// So many writes fail half-way, as on a full disk.
    pub(crate) full_disk: AtomicU32,
    /// So many segments find no room.
    pub(crate) create: AtomicU32,
    /// So many fsyncs fail.
    pub(crate) sync: AtomicU32,
}

fn take_one(left: &AtomicU32) -> bool {
    left.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
}

impl Faults {
    pub(crate) fn of_this_thread() -> Arc<Self> {
        FAULTS.with(|faults| faults.borrow().clone()).unwrap_or_default()
    }

    /// Installs faults for logs opened by this thread.
    pub(crate) fn install() -> Arc<Self> {
        let faults = Arc::new(Self::default());
        FAULTS.with(|installed| *installed.borrow_mut() = Some(Arc::clone(&faults)));
        faults
    }

    pub(crate) fn before_write(&self, file: &File, buffer: &[u8], offset: u64) -> io::Result<()> {
        if take_one(&self.full_disk) {
            file.write_all_at(&buffer[..buffer.len() / 2], offset)?;
            return Err(io::Error::from(io::ErrorKind::StorageFull));
        }
        Ok(())
    }

    pub(crate) fn before_create(&self) -> io::Result<()> {
        if take_one(&self.create) { Err(io::Error::from(io::ErrorKind::StorageFull)) } else { Ok(()) }
    }

    pub(crate) fn before_sync(&self) -> io::Result<()> {
        if take_one(&self.sync) { Err(io::Error::other("input/output error")) } else { Ok(()) }
    }
}
