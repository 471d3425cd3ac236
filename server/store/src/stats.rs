//! What a database counts.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Figures of one database, for metrics.
#[derive(Debug, Clone, PartialEq)]
pub struct DatabaseStats {
    /// Name of the database.
    pub name: String,
    /// Tables defined.
    pub tables: usize,
    /// Bytes of the memory map in use, free pages within it included.
    pub map_bytes_used: u64,
    /// Bytes the memory map can hold.
    pub map_bytes_max: u64,
    /// Size of the file.
    pub disk_bytes: u64,
    /// Transactions committed, each with one sync.
    pub commits: u64,
    /// Seconds spent committing, which is mostly waiting for the disk.
    pub commit_seconds: f64,
    /// Requests answered by the writer, well or with an error.
    pub requests: u64,
    /// Operations stored.
    pub operations: u64,
    /// Requests refused because a precondition failed or a record existed.
    pub conflicts: u64,
    /// Records removed because their time had passed.
    pub expired: u64,
    /// Requests that wait for the writer now.
    pub queue_length: usize,
    /// Requests turned away because the queue was full.
    pub rejected_full: u64,
    /// Requests turned away because the disk was nearly full.
    pub rejected_no_space: u64,
    /// Requests refused because what is kept beside the tables had reached its limit.
    pub rejected_side_full: u64,
    /// Bytes of keys and values in the change log.
    pub log_bytes: u64,
    /// Bytes of the pages that hold what is kept beside the tables.
    pub side_bytes: u64,
    /// Most read transactions that were ever open at once.
    pub readers_peak: u32,
}

/// The counters behind [`DatabaseStats`]; the writer alone adds to all but the
/// rejections and the expired records.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) commits: Count,
    pub(crate) commit_nanos: Count,
    pub(crate) requests: Count,
    pub(crate) operations: Count,
    pub(crate) conflicts: Count,
    pub(crate) expired: Count,
    pub(crate) rejected_full: Count,
    pub(crate) rejected_no_space: Count,
    pub(crate) rejected_side_full: Count,
    pub(crate) log_bytes: Count,
    pub(crate) side_bytes: Count,
}

/// A number read by other threads now and then; nothing else depends on when.
#[derive(Debug, Default)]
pub(crate) struct Count(AtomicU64);

impl Count {
    pub(crate) fn add(&self, more: u64) {
        self.0.fetch_add(more, Ordering::Relaxed);
    }

    pub(crate) fn add_time(&self, more: Duration) {
        self.add(u64::try_from(more.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(crate) fn set(&self, value: u64) {
        self.0.store(value, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}
