//! The counters that a write transaction advances: cached between transactions, written with each,
//! and taken back when one is abandoned.

use std::collections::BTreeMap;

use heed::RwTxn;

use crate::catalog::Counter;
use crate::env::Handle;
use crate::error::Error;
use crate::hlc;

/// Versions may be this far ahead of the system's clock without a warning.
const AHEAD_MS_MAX: u64 = 60_000;

/// Cheap to clone, which is how an operation is taken back.
#[derive(Debug, Clone)]
pub(crate) struct Ledger {
    meta: Handle,
    clock: u64,
    pub(crate) log_bytes: u64,
    /// Entries added to the log since the database was opened.
    pub(crate) log_appended: u64,
    /// Of each table written to, and whether the number is still to be stored.
    sequences: BTreeMap<u32, (u64, bool)>,
    last_keys: BTreeMap<u32, (u64, bool)>,
}

impl Ledger {
    pub(crate) fn load(txn: &RwTxn<'_>, meta: Handle) -> Result<Ledger, Error> {
        let clock = Counter::Clock.get(txn, meta)?;
        let ahead_ms = hlc::ms(clock).saturating_sub(hlc::now_ms());
        if ahead_ms > AHEAD_MS_MAX {
            tracing::warn!(ahead_ms, "the last version is later than the system's clock");
        }
        Ok(Ledger {
            meta,
            clock,
            log_bytes: Counter::LogBytes.get(txn, meta)?,
            log_appended: 0,
            sequences: BTreeMap::new(),
            last_keys: BTreeMap::new(),
        })
    }

    /// The last version given out; it advances with every write.
    pub(crate) fn clock(&self) -> u64 {
        self.clock
    }

    /// Counts an entry of the log.
    pub(crate) fn appended(&mut self, bytes: u64) {
        self.log_bytes += bytes;
        self.log_appended += 1;
    }

    /// A new version.
    pub(crate) fn version(&mut self) -> u64 {
        self.clock = hlc::next(self.clock, hlc::now_ms());
        self.clock
    }

    /// The last sequence number of a table, if it was written to since the database was opened.
    pub(crate) fn last_sequence(&self, table: u32) -> Option<u64> {
        self.sequences.get(&table).map(|(last, _)| *last)
    }

    /// The next sequence number of a table.
    pub(crate) fn sequence(&mut self, txn: &RwTxn<'_>, table: u32) -> Result<u64, Error> {
        let last = match self.sequences.get(&table) {
            Some((last, _)) => *last,
            None => Counter::Sequence(table).get(txn, self.meta)?,
        };
        self.sequences.insert(table, (last + 1, true));
        Ok(last + 1)
    }

    /// The next integer key of a table: greater than any generated before and than `greatest`;
    /// `None`, and nothing is taken, when that is above `max`.
    pub(crate) fn integer_key(
        &mut self,
        txn: &RwTxn<'_>,
        table: u32,
        greatest: u64,
        max: u64,
    ) -> Result<Option<u64>, Error> {
        let last = match self.last_keys.get(&table) {
            Some((last, _)) => *last,
            None => Counter::LastKey(table).get(txn, self.meta)?,
        };
        let next = last.max(greatest).checked_add(1).filter(|next| *next <= max);
        if let Some(next) = next {
            self.last_keys.insert(table, (next, true));
        }
        Ok(next)
    }

    /// Stores what has advanced.
    pub(crate) fn save(&mut self, txn: &mut RwTxn<'_>) -> Result<(), Error> {
        Counter::Clock.put(txn, self.meta, self.clock)?;
        Counter::LogBytes.put(txn, self.meta, self.log_bytes)?;
        for (table, (last, unsaved)) in &mut self.sequences {
            if std::mem::take(unsaved) {
                Counter::Sequence(*table).put(txn, self.meta, *last)?;
            }
        }
        for (table, (last, unsaved)) in &mut self.last_keys {
            if std::mem::take(unsaved) {
                Counter::LastKey(*table).put(txn, self.meta, *last)?;
            }
        }
        Ok(())
    }
}
