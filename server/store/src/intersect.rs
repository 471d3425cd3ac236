//! Narrowing a scan by the entries of other indexes.
//!
//! A record that meets all conditions has an entry in the range of each index that a condition
//! reads. The primary keys of such a range are collected beside the scan, a few for each record
//! that the scan reads in vain; once a range is read to its end, records without an entry in it
//! are passed over unread. So a scan that finds what it wants pays nothing, and one that does not
//! spends a bounded share of its time on ranges that turn out to be of no use.
//!
//! Keys are kept as hashes. What they let pass is still tested, so a collision costs one read.

use std::hash::{DefaultHasher, Hasher};

use crate::database::ReadTxn;
use crate::env::Handle;
use crate::error::Error;
use crate::index::Entry;
use crate::plan::Plan;
use crate::scan::Cursor;

/// Records that are read before it is asked whether reading them was in vain.
const RECORDS_BETWEEN: usize = 256;
/// Entries that are collected then.
const ENTRIES_AT_ONCE: usize = 1024;
/// Entries of one range that are held; a larger range narrows nothing.
const ENTRIES_MAX: usize = 250_000;

/// What is known of the ranges of other indexes.
#[derive(Debug, Default)]
pub(crate) struct Narrowing {
    /// For each range read to its end, its primary keys' hashes in order.
    complete: Vec<Vec<u64>>,
    /// Position of the range that is being read.
    at: usize,
    after: Option<Vec<u8>>,
    hashes: Vec<u64>,
    /// Records examined and wanted since the last collecting.
    examined: usize,
    wanted: usize,
}

impl Narrowing {
    /// Whether the record with this key can meet the conditions.
    pub(crate) fn may_have(&self, key: &[u8]) -> bool {
        self.complete.is_empty() || {
            let hash = hash(key);
            self.complete.iter().all(|hashes| hashes.binary_search(&hash).is_ok())
        }
    }

    /// Notes that a record was examined; true when it is time to collect.
    pub(crate) fn note(&mut self, is_wanted: bool) -> bool {
        self.examined += 1;
        self.wanted += usize::from(is_wanted);
        if self.examined < RECORDS_BETWEEN {
            return false;
        }
        let in_vain = self.wanted < self.examined / 2;
        (self.examined, self.wanted) = (0, 0);
        in_vain
    }

    /// Collects more keys of the plan's ranges.
    pub(crate) fn collect(
        &mut self,
        plan: &Plan,
        txn: &ReadTxn<'_>,
        records: Handle,
    ) -> Result<(), Error> {
        let Some(branch) = plan.intersections.get(self.at) else { return Ok(()) };
        let after = self.after.take();
        let mut cursor = Cursor::open(txn, records, branch, after.as_deref())?;
        let mut last: &[u8] = &[];
        for _ in 0..ENTRIES_AT_ONCE {
            let Some((key, data)) = cursor.next()? else {
                self.hashes.sort_unstable();
                self.complete.push(std::mem::take(&mut self.hashes));
                self.at += 1;
                return Ok(());
            };
            let entry = Entry::read(key, data)?;
            if branch.passes(entry.value) {
                self.hashes.push(hash(entry.key));
            }
            last = key;
        }
        self.after = Some(last.to_vec());
        if self.hashes.len() > ENTRIES_MAX {
            (self.hashes, self.after) = (Vec::new(), None);
            self.at += 1;
        }
        Ok(())
    }
}

fn hash(key: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write(key);
    hasher.finish()
}
