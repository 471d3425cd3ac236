//! The limits and choices a store is opened with.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;

/// The options of a store as they are now, shared by all its databases.
pub(crate) type CurrentOptions = Arc<ArcSwap<Options>>;

/// Limits and choices of a [`Store`](crate::Store); [`Options::default`] suits production.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Virtual size of each database's memory map: the most a database can ever hold.
    pub map_bytes: usize,
    /// Read transactions that may be open at once in one database.
    pub readers_max: u32,
    /// Databases that one store may open.
    pub databases_max: usize,
    /// Named LMDB databases in one environment: each table takes one, each index one more.
    /// Every read transaction allocates about 60 bytes for each, used or not.
    pub tables_max: u32,
    /// What a commit promises when the power fails.
    pub durability: Durability,
    /// Requests that may wait for the writer of one database.
    pub queue_max: usize,
    /// Bytes of requests that one database's writer has not answered yet; a single larger request
    /// is still taken when there is no other.
    pub queue_bytes_max: usize,
    /// Requests that share one commit at most.
    pub batch_max: usize,
    /// No further request joins a commit whose requests have this many bytes already.
    pub batch_bytes_max: usize,
    /// Writes other than deletes are refused while the file system has less than this free.
    pub free_bytes_min: u64,
    /// Entries of the change log older than this are pruned.
    pub log_age_ms_max: u64,
    /// Size in bytes that one database's change log is pruned to.
    pub log_bytes_max: u64,
    /// Bytes that one database may hold beside its tables, counted in pages.
    pub side_bytes_max: u64,
    /// Time between two looks for expired records.
    pub sweep_interval: Duration,
    /// Added to each commit, to show in tests how many writes share a slow disk's sync.
    pub sync_delay: Duration,
}

/// What is promised of an acknowledged write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// It is on the disk.
    Full,
    /// A power failure may take the last commits, never more and never a part of one; the death
    /// of the process alone takes nothing.
    LastCommitsMayBeLost,
}

impl Options {
    /// These, but with what an open database cannot change taken from `running`.
    pub(crate) fn with_fixed_of(&self, running: &Options) -> Options {
        Options {
            map_bytes: running.map_bytes,
            readers_max: running.readers_max,
            databases_max: running.databases_max,
            tables_max: running.tables_max,
            durability: running.durability,
            queue_max: running.queue_max,
            ..self.clone()
        }
    }
}

impl Default for Options {
    fn default() -> Options {
        Options {
            map_bytes: 1 << 40,
            readers_max: 1024,
            databases_max: 64,
            tables_max: 128,
            durability: Durability::Full,
            queue_max: 4096,
            queue_bytes_max: 256 << 20,
            batch_max: 1024,
            batch_bytes_max: 64 << 20,
            free_bytes_min: 512 << 20,
            log_age_ms_max: 3 * 24 * 60 * 60 * 1000,
            log_bytes_max: 1 << 30,
            side_bytes_max: 1 << 30,
            sweep_interval: Duration::from_secs(1),
            sync_delay: Duration::ZERO,
        }
    }
}
