//! Bytes beside the tables: what other parts of the server must remember in the same commit as a
//! write, such as which of a client's messages was taken. Trees of keys and values in no table's
//! log, told to no one.
//!
//! All trees of a database share one named database: key = name of the tree, 0, key.

use std::ops::Bound;

use bytes::Bytes;
use heed::{RoTxn, RwTxn};

use crate::database::ReadTxn;
use crate::env::Handle;
use crate::error::{Error, Invalid};
use crate::key::KEY_BYTES_MAX;
use crate::log::Entries;
use crate::writer::Op;

/// A tree, known by its name, which holds no 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SideTree(pub &'static str);

/// One change to a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SideOp {
    /// Stores a value, replacing what is there.
    Put {
        /// The tree.
        tree: SideTree,
        /// With the name of the tree, it has at most 1,977 bytes.
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Stores a value; [`Error::Exists`] if there is one, for the whole transaction.
    Insert {
        /// The tree.
        tree: SideTree,
        /// As of [`SideOp::Put`].
        key: Bytes,
        /// The value.
        value: Bytes,
    },
    /// Removes a value; one that is not there is not an error.
    Delete {
        /// The tree.
        tree: SideTree,
        /// As of [`SideOp::Put`].
        key: Bytes,
    },
}

/// What becomes durable together or not at all. The operations on trees are tested against what was
/// there before the transaction.
#[derive(Debug, Clone, Default)]
pub struct Transaction {
    /// Changes of records, and messages.
    pub ops: Vec<Op>,
    /// Changes beside them.
    pub side: Vec<SideOp>,
}

/// A part of a tree: keys with their values, in place.
pub struct SideRange<'t> {
    entries: Entries<'t>,
    /// What all of them begin with.
    first: Vec<u8>,
    /// Bytes of the tree's name, with the 0.
    name_bytes: usize,
}

impl SideTree {
    fn place(self, key: &[u8]) -> Vec<u8> {
        [self.0.as_bytes(), &[0], key].concat()
    }
}

impl SideOp {
    fn place(&self) -> Vec<u8> {
        match self {
            SideOp::Put { tree, key, .. }
            | SideOp::Insert { tree, key, .. }
            | SideOp::Delete { tree, key } => tree.place(key),
        }
    }

    pub(crate) fn deletes(&self) -> bool {
        matches!(self, SideOp::Delete { .. })
    }

    /// Memory that it takes beside its own.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            SideOp::Put { key, value, .. } | SideOp::Insert { key, value, .. } => {
                key.len() + value.len()
            }
            SideOp::Delete { key, .. } => key.len(),
        }
    }
}

impl From<Vec<Op>> for Transaction {
    fn from(ops: Vec<Op>) -> Transaction {
        Transaction { ops, side: Vec::new() }
    }
}

impl ReadTxn<'_> {
    /// A value of a tree, in place.
    ///
    /// # Errors
    /// Those of storage.
    pub fn side(&self, tree: SideTree, key: &[u8]) -> Result<Option<&[u8]>, Error> {
        Ok(self.shared().side.get(self.inner(), &tree.place(key))?)
    }

    /// The keys of a tree that begin with `prefix`, with their values, in the order of their bytes.
    /// With `after`, which begins so too, only those behind it.
    ///
    /// # Errors
    /// Those of storage, also for each item.
    pub fn side_range(
        &self,
        tree: SideTree,
        prefix: &[u8],
        after: Option<&[u8]>,
    ) -> Result<SideRange<'_>, Error> {
        let first = tree.place(prefix);
        let after = after.map(|key| tree.place(key));
        let start = match &after {
            Some(after) => Bound::Excluded(after.as_slice()),
            None => Bound::Included(first.as_slice()),
        };
        let entries = self.shared().side.range(self.inner(), &(start, Bound::Unbounded))?;
        Ok(SideRange { entries, first, name_bytes: tree.0.len() + 1 })
    }
}

impl<'t> Iterator for SideRange<'t> {
    type Item = Result<(&'t [u8], &'t [u8]), Error>;

    fn next(&mut self) -> Option<Self::Item> {
        match self.entries.next()? {
            Ok((place, value)) if place.starts_with(&self.first) => {
                Some(Ok((place.get(self.name_bytes..)?, value)))
            }
            Ok(_) => None,
            Err(error) => Some(Err(error.into())),
        }
    }
}

/// Refuses what the transaction may not store, before anything is written.
pub(crate) fn check(
    txn: &RoTxn<'_>,
    side: Handle,
    ops: &[SideOp],
    bytes_max: u64,
) -> Result<(), Error> {
    let is_full = ops.iter().any(|op| !op.deletes()) && bytes(txn, side)? >= bytes_max;
    if is_full && growth(txn, side, ops)? > 0 {
        return Err(Error::SideFull { max: bytes_max });
    }
    for op in ops {
        let place = op.place();
        if place.len() > KEY_BYTES_MAX {
            let (bytes, max) = (place.len(), KEY_BYTES_MAX);
            return Err(Invalid::KeyTooLong { bytes, max }.into());
        }
        if matches!(op, SideOp::Insert { .. }) && side.get(txn, &place)?.is_some() {
            return Err(Error::Exists);
        }
    }
    Ok(())
}

/// Bytes that the trees hold more after the operations than before.
fn growth(txn: &RoTxn<'_>, side: Handle, ops: &[SideOp]) -> Result<i64, Error> {
    let mut growth = 0;
    for op in ops {
        let place = op.place();
        let before = side.get(txn, &place)?.map_or(0, |value| place.len() + value.len());
        let after = match op {
            SideOp::Put { value, .. } | SideOp::Insert { value, .. } => place.len() + value.len(),
            SideOp::Delete { .. } => 0,
        };
        growth += after as i64 - before as i64;
    }
    Ok(growth)
}

/// Applies what was checked; whether anything changed.
pub(crate) fn apply(txn: &mut RwTxn<'_>, side: Handle, ops: &[SideOp]) -> Result<bool, Error> {
    let mut changed = false;
    for op in ops {
        let place = op.place();
        changed |= match op {
            SideOp::Put { value, .. } | SideOp::Insert { value, .. } => {
                side.put(txn, &place, value)?;
                true
            }
            SideOp::Delete { .. } => side.delete(txn, &place)?,
        };
    }
    Ok(changed)
}

/// Bytes of the pages that the trees take.
pub(crate) fn bytes(txn: &RoTxn<'_>, side: Handle) -> Result<u64, Error> {
    let stat = side.stat(txn)?;
    let pages = stat.branch_pages + stat.leaf_pages + stat.overflow_pages;
    Ok(pages as u64 * u64::from(stat.page_size))
}
