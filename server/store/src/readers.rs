//! Read transactions that wait for the next reader.
//!
//! To begin one, LMDB takes a lock that all threads share, looks for a slot among those of all readers, and zeroes an
//! array with room for every tree there may be. So one that ends is kept while it shows the newest state, and the
//! next reader of the thread has it. One that shows an older state would keep the writer from using pages again, so
//! each write begins by ending those.

use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::env::{Environment, Reading};

/// Threads with more than this number between them share a slot.
const SLOTS: usize = 32;

/// The transactions that wait, at most one for each thread.
pub(crate) struct Readers {
    environment: Environment,
    slots: [Slot; SLOTS],
}

/// On a cache line of its own, so that threads do not slow each other.
#[derive(Default)]
#[repr(align(128))]
struct Slot(Mutex<Option<Reading>>);

static THREADS: AtomicUsize = AtomicUsize::new(0);

thread_local! {
    static SLOT: Cell<usize> = Cell::new(THREADS.fetch_add(1, Ordering::Relaxed) % SLOTS);
}

impl Readers {
    pub(crate) fn new(environment: Environment) -> Readers {
        Readers { environment, slots: Default::default() }
    }

    /// A transaction on the newest state: one that waits, or else a new one.
    ///
    /// # Errors
    /// Those of LMDB, as when too many are open.
    pub(crate) fn read(&self) -> heed::Result<Reading> {
        let kept = self.slot().0.try_lock().ok().and_then(|mut slot| slot.take());
        if let Some(kept) = kept.filter(|kept| self.is_newest(kept)) {
            return Ok(kept);
        }
        match self.environment.read_txn() {
            Err(heed::Error::Mdb(heed::MdbError::ReadersFull)) => {
                // those that only wait must not keep out one that is needed
                self.end(|_| true);
                self.environment.read_txn()
            }
            begun => begun,
        }
    }

    /// Keeps a transaction that is needed no more.
    pub(crate) fn keep(&self, reading: Reading) {
        if let Ok(mut kept) = self.slot().0.try_lock()
            // with the lock: a write that looked here before has shown what it found committed, and the next looks again
            && self.is_newest(&reading)
        {
            *kept = Some(reading);
        }
    }

    /// Ends those that wait with an older state than the newest.
    pub(crate) fn end_stale(&self) {
        self.end(|kept| !self.is_newest(kept));
    }

    fn end(&self, is_ended: impl Fn(&Reading) -> bool) {
        for slot in &self.slots {
            let mut kept = slot.0.lock().unwrap_or_else(PoisonError::into_inner);
            if kept.as_ref().is_some_and(&is_ended) {
                *kept = None;
            }
        }
    }

    fn slot(&self) -> &Slot {
        &self.slots[SLOT.get()]
    }

    /// Whether nothing was committed since. Trees are made in a commit too, so that this one knows all there are.
    fn is_newest(&self, reading: &Reading) -> bool {
        reading.id() == self.environment.info().last_txn_id
    }
}
