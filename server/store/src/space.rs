//! The free-space watermark of the file system that holds the databases.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use crate::error::Error;
use crate::options::CurrentOptions;

/// The system is asked at most once in this time.
const ASKED_EVERY_MS: u64 = 1000;

/// Free bytes as last asked for, shared by all databases of a store.
pub(crate) struct Space {
    path: PathBuf,
    options: CurrentOptions,
    started: Instant,
    /// Milliseconds after `started` at which to ask again.
    due_ms: AtomicU64,
    free_bytes: AtomicU64,
}

impl Space {
    pub(crate) fn new(path: PathBuf, options: CurrentOptions) -> Space {
        let started = Instant::now();
        let (due_ms, free_bytes) = (AtomicU64::new(0), AtomicU64::new(u64::MAX));
        Space { path, options, started, due_ms, free_bytes }
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
        let min_bytes = self.options.load().free_bytes_min;
        if free_bytes < min_bytes {
            return Err(Error::NoSpace { free_bytes, min_bytes });
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
