//! How far a session has come in a log, when its messages are answered in any order.

use std::collections::BTreeSet;

/// A place in a log.
#[derive(Debug, Clone, Default)]
pub struct Cursor {
    /// Up to where messages were begun or were none of the session's.
    seen: u64,
    /// Begun and not done.
    open: BTreeSet<u64>,
}

impl Cursor {
    /// Everything up to this sequence number is done.
    #[must_use]
    pub fn new(done: u64) -> Self {
        Self { seen: done, open: BTreeSet::new() }
    }

    /// A message at this place is to be delivered.
    pub fn begin(&mut self, sequence: u64) {
        self.open.insert(sequence);
        self.pass(sequence);
    }

    /// A message at this place, begun before a crash, is still to be delivered; it may not have been looked at yet.
    pub fn reopen(&mut self, sequence: u64) {
        self.open.insert(sequence);
    }

    /// What is up to here was looked at.
    pub fn pass(&mut self, sequence: u64) {
        self.seen = self.seen.max(sequence);
    }

    /// A message was delivered, or is not to be.
    pub fn done(&mut self, sequence: u64) {
        self.open.remove(&sequence);
    }

    /// Up to where everything is done.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.open.first().map_or(self.seen, |first| self.seen.min(first - 1))
    }

    /// Up to where everything was looked at.
    #[must_use]
    pub const fn seen(&self) -> u64 {
        self.seen
    }
}
