//! LMDB environments: the only file with `unsafe`, and the only one that opens them; and the life of a read transaction.
//!
//! heed ties a database handle to the life of its environment. Environments here live as long as
//! the process, so each is leaked once; opening a directory again finds the first one. Memory is
//! bounded by the number of directories ever opened, and the map by their size.

use std::collections::BTreeMap;
use std::mem::ManuallyDrop;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use heed::types::Bytes;
use heed::{CommitOrAbort, CommitToken, EnvFlags, EnvOpenOptions, OnCommit, RwTxn, WithoutTls};

use crate::error::Error;
use crate::options::{Durability, Options};
use crate::readers::Readers;

/// An environment; a reader's slot belongs to its transaction, not to a thread.
pub(crate) type Environment = &'static heed::Env<WithoutTls>;
/// A named database of bytes.
pub(crate) type Handle = heed::Database<'static, Bytes, Bytes>;
/// A read transaction.
pub(crate) type Reading = heed::RoTxn<'static, WithoutTls>;

/// Memory maps are multiples of the system's page, which is at most this large.
const PAGE_BYTES_MAX: usize = 64 << 10;

/// What an environment was opened with and cannot change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Settings {
    map_bytes: usize,
    readers_max: u32,
    tables_max: u32,
    durability: Durability,
}

/// An environment that this process has opened.
struct Opened {
    environment: Environment,
    settings: Settings,
    /// Device and inode of its file.
    identity: (u64, u64),
}

static OPENED: Mutex<BTreeMap<PathBuf, Opened>> = Mutex::new(BTreeMap::new());

/// Opens the environment in a directory, which must lie in a locked one.
pub(crate) fn open(path: &Path, options: &Options) -> Result<Environment, Error> {
    let path = path.canonicalize().map_err(|source| Error::file("finding", path, source))?;
    let settings = Settings {
        map_bytes: options.map_bytes,
        readers_max: options.readers_max,
        tables_max: options.tables_max,
        durability: options.durability,
    };
    let mut opened = OPENED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(earlier) = opened.get(&path) {
        if earlier.settings != settings {
            return Err(Error::OptionsChanged { path });
        }
        if identity(&path).ok() != Some(earlier.identity) {
            let path = path.display();
            return Err(Error::Storage(format!(
                "{path} was replaced since this process opened it"
            )));
        }
        return Ok(earlier.environment);
    }
    let environment: Environment = Box::leak(Box::new(map(&path, settings)?));
    let identity = identity(&path)?;
    opened.insert(path, Opened { environment, settings, identity });
    environment.clear_stale_readers()?;
    Ok(environment)
}

/// Device and inode of the file that LMDB maps.
fn identity(directory: &Path) -> Result<(u64, u64), Error> {
    let path = directory.join("data.mdb");
    let metadata = path.metadata().map_err(|source| Error::file("finding", &path, source))?;
    Ok((metadata.dev(), metadata.ino()))
}

#[allow(unsafe_code, reason = "LMDB maps a file, and trusts that nobody else changes it")]
fn map(path: &Path, settings: Settings) -> Result<heed::Env<WithoutTls>, Error> {
    let mut options = EnvOpenOptions::new().read_txn_without_tls();
    // Three named databases are the store's own: the catalog, the log, and the bytes beside tables.
    let databases = settings.tables_max.saturating_add(3);
    let map_bytes = settings.map_bytes.checked_next_multiple_of(PAGE_BYTES_MAX);
    let map_bytes = map_bytes.unwrap_or(settings.map_bytes);
    options.map_size(map_bytes).max_readers(settings.readers_max).max_dbs(databases);
    if settings.durability == Durability::LastCommitsMayBeLost {
        // SAFETY: NO_META_SYNC keeps the file consistent; only flags that allow several writers or
        // unordered pages would not.
        unsafe { options.flags(EnvFlags::NO_META_SYNC) };
    }
    // SAFETY: the directory that `path` lies in is locked exclusively by `RootLock`, so no other
    // process opens this file for writing, and nothing in this crate writes to or truncates it but
    // LMDB. `OPENED` and heed both see to it
    // that this process maps it once.
    let environment = unsafe { options.open(path) }?;
    Ok(environment)
}

/// A read transaction that goes to where it waits for the next reader when it is dropped.
pub(crate) struct Lent<'d> {
    reading: ManuallyDrop<Reading>,
    readers: &'d Readers,
}

impl<'d> Lent<'d> {
    pub(crate) fn new(readers: &'d Readers) -> heed::Result<Lent<'d>> {
        Ok(Lent { reading: ManuallyDrop::new(readers.read()?), readers })
    }

    pub(crate) fn reading(&self) -> &Reading {
        &self.reading
    }
}

impl Drop for Lent<'_> {
    #[allow(unsafe_code, reason = "a field cannot be moved out of what is dropped in another way")]
    fn drop(&mut self) {
        // SAFETY: this is the only place that takes it, and nothing reads it after a drop.
        let reading = unsafe { ManuallyDrop::take(&mut self.reading) };
        self.readers.keep(reading);
    }
}

/// Creates or opens named databases and runs `then` in the same write transaction.
pub(crate) fn create<T>(
    environment: Environment,
    names: &[String],
    then: impl FnOnce(&mut RwTxn<'static>, &[Handle]) -> Result<T, Error>,
) -> Result<(Vec<Handle>, T), Error> {
    let transaction = environment.write_txn()?;
    let mut result = None;
    let committed = environment.create_databases_and_commit(transaction, |opener, txn| {
        let mut handles = Vec::with_capacity(names.len());
        for name in names {
            handles.push(opener.create_database(txn, Some(name))?);
        }
        result = Some(then(txn, &handles)?);
        Ok::<_, Error>(CommitOrAbort::<_, ()>::Commit(Handles(handles)))
    })?;
    match (committed.commit(), result) {
        (Some(handles), Some(result)) => Ok((handles, result)),
        _ => Err(Error::Storage(String::from("creating databases was not committed"))),
    }
}

struct Handles(Vec<Handle>);

impl OnCommit for Handles {
    type Committed = Vec<Handle>;

    fn on_commit(self, token: &CommitToken) -> Vec<Handle> {
        self.0.into_iter().map(|handle| handle.on_commit(token)).collect()
    }
}
