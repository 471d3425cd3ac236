//! The change log: for each write its table, sequence number, key and version, in the same
//! transaction as the write.
//!
//! Key: table u32 and sequence u64, big endian. Value: operation u8, three bytes reserved, origin
//! u32, version u64 (little endian), the primary key.

use std::collections::BTreeMap;
use std::ops::Bound;

use heed::{RoTxn, RwTxn};

use crate::env::Handle;
use crate::error::Error;
use crate::hlc;
use crate::key::Key;
use crate::record::Meta;

const HEADER_BYTES: usize = 16;
const KEY_BYTES: u64 = 12;
/// Entries that one call of [`prune`] removes at most, unless more were written meanwhile.
pub(crate) const PRUNED_MAX: usize = 1000;
/// Entries of one table removed before another table's turn comes.
const TURN_ENTRIES: usize = 100;

/// One write, as the log tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Sequence number within the table, counted from 1 without gaps.
    pub sequence: u64,
    /// Version given to the record, or to its deletion.
    pub version: u64,
    /// Number of the node that wrote; 0: this one.
    pub origin: u32,
    /// What was done.
    pub operation: Operation,
    /// The record's key.
    pub key: Key,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// The record was created or changed.
    Put,
    /// The record was deleted.
    Delete,
}

/// Appends a write and returns the bytes it takes.
pub(crate) fn append(
    txn: &mut RwTxn<'_>,
    log: Handle,
    table: u32,
    meta: &Meta,
    operation: Operation,
    key: &Key,
) -> Result<u64, Error> {
    let mut value = Vec::with_capacity(HEADER_BYTES + key.as_bytes().len());
    value.extend([u8::from(operation == Operation::Delete), 0, 0, 0]);
    value.extend(meta.origin.to_le_bytes());
    value.extend(meta.version.to_le_bytes());
    value.extend_from_slice(key.as_bytes());
    log.put(txn, &place(table, meta.sequence), &value)?;
    Ok(KEY_BYTES + value.len() as u64)
}

/// Writes of a table after a sequence number, oldest first.
///
/// # Errors
/// [`Error::LogTruncated`] when the log begins later, or when `after` was never reached, as when
/// the database was replaced by an older one; `last` is the table's last sequence number.
pub(crate) fn changes(
    txn: &RoTxn<'_>,
    log: Handle,
    table: u32,
    after: u64,
    last: u64,
    max: usize,
) -> Result<Vec<Change>, Error> {
    if after > last {
        return Err(Error::LogTruncated);
    }
    if after == last {
        return Ok(Vec::new());
    }
    let mut changes = Vec::new();
    for item in table_range(txn, log, table, after)?.take(max.max(1)) {
        let (place, value) = item?;
        let change = read(place, value)?;
        if changes.is_empty() && change.sequence != after + 1 {
            return Err(Error::LogTruncated);
        }
        changes.push(change);
    }
    if changes.is_empty() {
        return Err(Error::LogTruncated);
    }
    changes.truncate(max);
    Ok(changes)
}

/// What the log is pruned to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Entries written before this time go.
    pub(crate) since_ms: u64,
    /// Oldest entries go until the log is no larger.
    pub(crate) bytes_max: u64,
    /// But no more entries than this, or a turn more, go at once.
    pub(crate) entries_max: usize,
}

/// Result of one slice of pruning.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Pruned {
    pub(crate) entries: usize,
    pub(crate) bytes: u64,
}

/// Removes entries that are out of bounds, the oldest table's first. One that cannot be read
/// counts as the oldest: whoever needs it is told that the log is truncated.
pub(crate) fn prune(
    txn: &mut RwTxn<'_>,
    log: Handle,
    bytes: u64,
    bounds: Bounds,
) -> Result<Pruned, Error> {
    let mut pruned = Pruned::default();
    let mut heads = heads(txn, log)?;
    while pruned.entries < bounds.entries_max {
        let Some((table, _)) = heads.iter().min_by_key(|(_, version)| **version) else { break };
        let table = *table;
        let before = pruned.entries;
        let mut doomed = Vec::new();
        for item in table_range(txn, log, table, 0)?.take(TURN_ENTRIES) {
            let (place, value) = item?;
            let old = hlc::ms(version(place, value)) < bounds.since_ms;
            if !old && bytes.saturating_sub(pruned.bytes) <= bounds.bytes_max {
                break;
            }
            pruned.bytes += KEY_BYTES + value.len() as u64;
            pruned.entries += 1;
            doomed.push(place.to_vec());
        }
        for place in doomed {
            log.delete(txn, &place)?;
        }
        if pruned.entries == before {
            break;
        }
        match head(txn, log, table)? {
            Some(version) => heads.insert(table, version),
            None => heads.remove(&table),
        };
    }
    Ok(pruned)
}

/// The version of each table's oldest entry.
fn heads(txn: &RoTxn<'_>, log: Handle) -> Result<BTreeMap<u32, u64>, Error> {
    let mut heads = BTreeMap::new();
    let mut from = Some(0);
    while let Some(table) = from {
        let Some((place, value)) = log.get_greater_than_or_equal_to(txn, &self::place(table, 0))?
        else {
            break;
        };
        // What lies behind a place that cannot be read is left to be: no write may fail for it.
        let Some(table) = table_of(place) else { break };
        heads.insert(table, version(place, value));
        from = table.checked_add(1);
    }
    Ok(heads)
}

fn head(txn: &RoTxn<'_>, log: Handle, table: u32) -> Result<Option<u64>, Error> {
    match table_range(txn, log, table, 0)?.next() {
        Some(item) => {
            let (place, value) = item?;
            Ok(Some(version(place, value)))
        }
        None => Ok(None),
    }
}

type Entries<'t> = heed::RoRange<'t, heed::types::Bytes, heed::types::Bytes>;

fn table_range<'t>(
    txn: &'t RoTxn<'_>,
    log: Handle,
    table: u32,
    after: u64,
) -> Result<Entries<'t>, Error> {
    let (first, last) = (place(table, after), place(table, u64::MAX));
    let range = (Bound::Excluded(first.as_slice()), Bound::Included(last.as_slice()));
    Ok(log.range(txn, &range)?)
}

fn place(table: u32, sequence: u64) -> [u8; 12] {
    let mut place = [0; 12];
    place[..4].copy_from_slice(&table.to_be_bytes());
    place[4..].copy_from_slice(&sequence.to_be_bytes());
    place
}

fn table_of(place: &[u8]) -> Option<u32> {
    let (table, _) = place.split_first_chunk::<4>()?;
    Some(u32::from_be_bytes(*table))
}

fn read(place: &[u8], value: &[u8]) -> Result<Change, Error> {
    let (_, sequence) = place.split_last_chunk::<8>().ok_or_else(damaged)?;
    let (header, key) = value.split_first_chunk::<HEADER_BYTES>().ok_or_else(damaged)?;
    let (_, version) = header.split_last_chunk::<8>().ok_or_else(damaged)?;
    Ok(Change {
        sequence: u64::from_be_bytes(*sequence),
        version: u64::from_le_bytes(*version),
        origin: u32::from_le_bytes([header[4], header[5], header[6], header[7]]),
        operation: if header[0] == 0 { Operation::Put } else { Operation::Delete },
        key: Key::from_stored(key),
    })
}

/// The version in an entry, 0 if it cannot be read.
fn version(place: &[u8], value: &[u8]) -> u64 {
    read(place, value).map_or(0, |change| change.version)
}

fn damaged() -> Error {
    Error::Damaged { what: String::from("an entry of the change log cannot be read") }
}
