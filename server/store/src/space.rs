//! The free-space watermark of the file system that holds the databases.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::error::Error;

/// The system is asked at most once in this time.
const ASKED_EVERY_MS: u64 = 1000;

/// Free bytes as last asked for, shared by all databases of a store.
#[derive(Debug)]
pub(crate) struct Space {
    path: PathBuf,
    min_bytes: u64,
    started: Instant,
    /// Milliseconds after `started` at which to ask again.
    due_ms: AtomicU64,
    free_bytes: AtomicU64,
}

impl Space {
    pub(crate) fn new(path: PathBuf, min_bytes: u64) -> Space {
        let started = Instant::now();
        let (due_ms, free_bytes) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Space { path, min_bytes, started, due_ms, free_bytes }
    }

    /// Refuses when less is free than the watermark.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let now = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        let due = self.due_ms.load(Ordering::Relaxed);
        let mine = now >= due
            && self
                .due_ms
                .compare_exchange(due, now + ASKED_EVERY_MS, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if mine {
            self.ask();
        }
        let free_bytes = self.free_bytes.load(Ordering::Relaxed);
        if free_bytes < self.min_bytes {
            return Err(Error::NoSpace { free_bytes, min_bytes: self.min_bytes });
        }
        Ok(())
    }

    /// A file system that does not answer is taken to have space: its own errors will tell.
    fn ask(&self) {
        match rustix::fs::statvfs(&self.path) {
            Ok(stat) => {
                let free = stat.f_bavail.saturating_mul(stat.f_frsize);
                self.free_bytes.store(free, Ordering::Relaxed);
            }
            Err(error) => {
                tracing::warn!(path = %self.path.display(), %error, "free space is unknown");
            }
        }
    }
}
