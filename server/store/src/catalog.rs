//! The database named `meta`: format, tables, and the counters that survive a restart.

use heed::{RoTxn, RwTxn};
use serde::{Deserialize, Serialize};

use crate::env::Handle;
use crate::error::Error;
use crate::schema::TableSchema;

/// Names of the named databases.
pub(crate) mod db_name {
    pub(crate) const META: &str = "meta";
    pub(crate) const LOG: &str = "log";
    pub(crate) const SIDE: &str = "side";

    pub(crate) fn records(table: u32) -> String {
        format!("records/{table}")
    }

    pub(crate) fn expiry(table: u32) -> String {
        format!("expiry/{table}")
    }

    pub(crate) fn values(table: u32, attribute: &str) -> String {
        format!("values/{table}/{attribute}")
    }

    pub(crate) fn index(table: u32, attribute: &str) -> String {
        format!("index/{table}/{attribute}")
    }
}

const FORMAT: &[u8] = b"format";
const TABLE_PREFIX: &[u8] = b"table/";
const NEXT_TABLE: &[u8] = b"next_table";
const EPOCH: &[u8] = b"epoch";
const CLOCK: &[u8] = b"clock";
const LOG_BYTES: &[u8] = b"log_bytes";
const SEQUENCE: &[u8] = b"sequence/";
const NEXT_KEY: &[u8] = b"next_key/";

/// A table as the catalog holds it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) id: u32,
    pub(crate) schema: TableSchema,
    /// Attributes whose index holds every record; others that are declared indexed were being
    /// built when the process ended.
    pub(crate) ready: Vec<String>,
    /// Whether there is a tree of the times at which records expire.
    #[serde(default)]
    pub(crate) expires: bool,
}

pub(crate) fn format(txn: &RoTxn<'_>, meta: Handle) -> Result<Option<u32>, Error> {
    let Some(bytes) = meta.get(txn, FORMAT)? else { return Ok(None) };
    let number = bytes.try_into().map(u32::from_le_bytes);
    number.map(Some).map_err(|_| damaged("the format number"))
}

pub(crate) fn put_format(txn: &mut RwTxn<'_>, meta: Handle, format: u32) -> Result<(), Error> {
    Ok(meta.put(txn, FORMAT, &format.to_le_bytes())?)
}

/// The number that the database was given at random when it was created, given now if there is none.
pub(crate) fn epoch(txn: &mut RwTxn<'_>, meta: Handle) -> Result<u64, Error> {
    if let Some(bytes) = meta.get(txn, EPOCH)? {
        return bytes.try_into().map(u64::from_le_bytes).map_err(|_| damaged("the epoch"));
    }
    let (high, low) = uuid::Uuid::new_v4().as_u64_pair();
    let epoch = high ^ low;
    meta.put(txn, EPOCH, &epoch.to_le_bytes())?;
    Ok(epoch)
}

/// All tables.
pub(crate) fn entries(txn: &RoTxn<'_>, meta: Handle) -> Result<Vec<Entry>, Error> {
    let mut entries = Vec::new();
    for item in meta.prefix_iter(txn, TABLE_PREFIX)? {
        let (_, json) = item?;
        entries.push(serde_json::from_slice(json).map_err(|_| damaged("a table's definition"))?);
    }
    Ok(entries)
}

pub(crate) fn put_entry(txn: &mut RwTxn<'_>, meta: Handle, entry: &Entry) -> Result<(), Error> {
    let key = [TABLE_PREFIX, entry.schema.name.as_bytes()].concat();
    let json = serde_json::to_vec(entry).map_err(|error| Error::Storage(error.to_string()))?;
    Ok(meta.put(txn, &key, &json)?)
}

/// The number for a new table; numbers are never used again.
pub(crate) fn next_table(txn: &mut RwTxn<'_>, meta: Handle) -> Result<u32, Error> {
    let next = number(txn, meta, NEXT_TABLE)? + 1;
    meta.put(txn, NEXT_TABLE, &next.to_le_bytes())?;
    u32::try_from(next).map_err(|_| Error::TablesFull)
}

/// A counter that survives a restart.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Counter {
    /// The last version given out.
    Clock,
    /// Bytes of keys and values in the log.
    LogBytes,
    /// Last sequence number of a table.
    Sequence(u32),
    /// Last integer key generated for a table.
    LastKey(u32),
}

impl Counter {
    fn key(self) -> Vec<u8> {
        match self {
            Counter::Clock => CLOCK.to_vec(),
            Counter::LogBytes => LOG_BYTES.to_vec(),
            Counter::Sequence(table) => [SEQUENCE, &table.to_be_bytes()].concat(),
            Counter::LastKey(table) => [NEXT_KEY, &table.to_be_bytes()].concat(),
        }
    }

    /// The stored number, 0 if there is none yet.
    pub(crate) fn get(self, txn: &RoTxn<'_>, meta: Handle) -> Result<u64, Error> {
        number(txn, meta, &self.key())
    }

    pub(crate) fn put(self, txn: &mut RwTxn<'_>, meta: Handle, value: u64) -> Result<(), Error> {
        Ok(meta.put(txn, &self.key(), &value.to_le_bytes())?)
    }
}

fn number(txn: &RoTxn<'_>, meta: Handle, key: &[u8]) -> Result<u64, Error> {
    let Some(bytes) = meta.get(txn, key)? else { return Ok(0) };
    bytes.try_into().map(u64::from_le_bytes).map_err(|_| damaged("a counter"))
}

fn damaged(what: &str) -> Error {
    Error::Damaged { what: format!("{what} in the catalog cannot be read") }
}
