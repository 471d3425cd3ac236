//! When records expire: for each table with such records an ordered tree of time and primary key.
//!
//! A record carries its time in its header, which is what reading goes by: from that moment on it
//! reads as absent, whether or not it has been removed. The tree only finds what is to be removed
//! without looking at the records. An entry's key is the milliseconds since 1970 (u64, big endian)
//! and the primary key, or the hash of a long one, which then stands whole in the entry's data.

use std::ops::Bound;

use heed::types::Bytes;
use heed::{RoRange, RoTxn, RwTxn};

use crate::body::Prepared;
use crate::encode::TAG_HASHED;
use crate::env::Handle;
use crate::error::Error;
use crate::index;
use crate::json::Members;
use crate::key::Key;
use crate::table::TableState;
use crate::validate;

const TIME_BYTES: usize = 8;

/// When a record with these members, written now, expires in milliseconds since 1970; 0: never.
///
/// Its own attribute decides, null being never; without one the lifetime that came with the write,
/// else that of the table.
pub(crate) fn time(state: &TableState, rest: &[u8], body: &Prepared, now_ms: u64) -> u64 {
    if state.expiry.is_none() {
        return 0;
    }
    let own = state.layout.expires_name().and_then(|name| {
        Members::inside(rest).find(|(member, _)| *member == name).map(|(_, value)| value)
    });
    match own {
        Some(b"null") => return 0,
        Some(raw) => {
            if let Some(ms) = std::str::from_utf8(raw).ok().and_then(validate::date_ms) {
                return (ms as u64).max(1);
            }
        }
        None => {}
    }
    let schema = &state.schema;
    let of_table = schema.expiry.as_ref().and_then(|expiry| expiry.lifetime_ms);
    let lifetime_ms = body.lifetime_ms.filter(|_| schema.expires()).or(of_table);
    lifetime_ms.map_or(0, |ms| now_ms.saturating_add(ms))
}

/// Brings the tree from a record's old time to its new one.
pub(crate) fn update(
    tree: Handle,
    txn: &mut RwTxn<'_>,
    key: &Key,
    old_ms: u64,
    new_ms: u64,
) -> Result<(), Error> {
    if old_ms == new_ms {
        return Ok(());
    }
    let tail = index::tail(key);
    if old_ms != 0 {
        tree.delete(txn, &place(old_ms, &tail))?;
    }
    if new_ms != 0 {
        let is_hashed = tail.first() == Some(&TAG_HASHED);
        let data = if is_hashed { key.as_bytes() } else { b"" };
        tree.put(txn, &place(new_ms, &tail), data)?;
    }
    Ok(())
}

/// The keys of at most `max` records whose time is `until_ms` or earlier, the earliest first.
pub(crate) fn due(
    tree: Handle,
    txn: &RoTxn<'_>,
    until_ms: u64,
    max: usize,
) -> Result<Vec<Key>, Error> {
    let mut keys = Vec::new();
    for item in until(tree, txn, until_ms)?.take(max) {
        let (place, data) = item?;
        let tail = place.get(TIME_BYTES..).filter(|tail| !tail.is_empty()).ok_or_else(damaged)?;
        keys.push(Key::from_stored(if data.is_empty() { tail } else { data }));
    }
    Ok(keys)
}

/// How many records have a time of `until_ms` or earlier and have not been removed, counted up to
/// `max`.
pub(crate) fn count(
    tree: Handle,
    txn: &RoTxn<'_>,
    until_ms: u64,
    max: usize,
) -> Result<u64, Error> {
    let mut count = 0;
    for item in until(tree, txn, until_ms)?.take(max) {
        item?;
        count += 1;
    }
    Ok(count)
}

/// The entries up to a time, that included.
fn until<'t>(
    tree: Handle,
    txn: &'t RoTxn<'_>,
    until_ms: u64,
) -> Result<RoRange<'t, Bytes, Bytes>, Error> {
    let end = place(until_ms.saturating_add(1), b"");
    Ok(tree.range(txn, &(Bound::Unbounded, Bound::Excluded(end.as_slice())))?)
}

fn place(ms: u64, tail: &[u8]) -> Vec<u8> {
    [ms.to_be_bytes().as_slice(), tail].concat()
}

fn damaged() -> Error {
    Error::Damaged { what: String::from("an entry of an expiry tree cannot be read") }
}
