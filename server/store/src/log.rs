//! The change log: for each write its table, sequence number, key and version, in the same
//! transaction as the write, and where the record does not tell it or may not for long, the body.
//! How an entry is stored, [`Entry`] knows.

use std::collections::BTreeMap;
use std::ops::Bound;

use heed::types::Bytes;
use heed::{RoTxn, RwTxn};

use crate::entry::Entry;
use crate::env::Handle;
use crate::error::Error;
use crate::hlc;

/// Bytes and bytes, in order.
pub(crate) type Entries<'t> = heed::RoRange<'t, Bytes, Bytes>;

const KEY_BYTES: u64 = 12;
/// Entries that one call of [`prune`] removes at most, unless more were written meanwhile.
pub(crate) const PRUNED_MAX: usize = 1000;
/// Entries of one table removed before another table's turn comes.
const TURN_ENTRIES: usize = 100;

/// Appends a write and returns the bytes it takes.
pub(crate) fn append(
    txn: &mut RwTxn<'_>,
    log: Handle,
    table: u32,
    entry: &Entry<'_>,
) -> Result<u64, Error> {
    let value = entry.value()?;
    log.put(txn, &place(table, entry.sequence), &value)?;
    Ok(KEY_BYTES + value.len() as u64)
}

/// A table's entries after a sequence number, oldest first.
pub(crate) fn after<'t>(
    txn: &'t RoTxn<'_>,
    log: Handle,
    table: u32,
    after: u64,
) -> Result<Entries<'t>, Error> {
    let (first, last) = (place(table, after), place(table, u64::MAX));
    let range = (Bound::Excluded(first.as_slice()), Bound::Included(last.as_slice()));
    Ok(log.range(txn, &range)?)
}

/// A table's entries, newest first.
pub(crate) fn backward<'t>(
    txn: &'t RoTxn<'_>,
    log: Handle,
    table: u32,
) -> Result<heed::RoRevRange<'t, Bytes, Bytes>, Error> {
    let (first, last) = (place(table, 0), place(table, u64::MAX));
    let range = (Bound::Included(first.as_slice()), Bound::Included(last.as_slice()));
    Ok(log.rev_range(txn, &range)?)
}

/// The entry of a sequence number, if it is in the log.
pub(crate) fn get<'t>(
    txn: &'t RoTxn<'_>,
    log: Handle,
    table: u32,
    sequence: u64,
) -> Result<Option<Entry<'t>>, Error> {
    let place = place(table, sequence);
    log.get(txn, &place)?.map(|value| Entry::read(&place, value)).transpose()
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
        for item in after(txn, log, table, 0)?.take(TURN_ENTRIES) {
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
    match after(txn, log, table, 0)?.next() {
        Some(item) => {
            let (place, value) = item?;
            Ok(Some(version(place, value)))
        }
        None => Ok(None),
    }
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

/// The version in an entry, 0 if it cannot be read.
fn version(place: &[u8], value: &[u8]) -> u64 {
    Entry::read(place, value).map_or(0, |entry| entry.version)
}
