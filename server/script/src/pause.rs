//! The records that a thread leaves alone, each with the expression that broke a limit on it. Pairs
//! are kept as hashes under a key that nobody knows.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::time::{Duration, Instant};

use crate::Error;

/// Pairs that are kept; all are dropped when there are more.
const PAIRS_MAX: usize = 1024;

/// Why evaluations are not tried again now.
#[derive(Default)]
pub(crate) struct Paused {
    hasher: RandomState,
    pairs: HashMap<u64, (Instant, Error)>,
    /// When the last pause ends.
    until: Option<Instant>,
}

impl Paused {
    /// What came of evaluating this a moment ago, if that broke a limit.
    pub(crate) fn error(&mut self, expression: &str, record: &str) -> Option<Error> {
        let now = Instant::now();
        if self.until? <= now {
            self.until = None;
            self.pairs.clear();
            return None;
        }
        let (until, error) = self.pairs.get(&self.pair(expression, record))?;
        (now < *until).then(|| error.clone())
    }

    /// Keeps a failure for the time of a pause.
    pub(crate) fn add(&mut self, expression: &str, record: &str, pause: Duration, error: Error) {
        let Some(until) = Instant::now().checked_add(pause) else { return };
        if self.pairs.len() >= PAIRS_MAX {
            self.pairs.clear();
        }
        self.pairs.insert(self.pair(expression, record), (until, error));
        self.until = self.until.max(Some(until));
    }

    fn pair(&self, expression: &str, record: &str) -> u64 {
        self.hasher.hash_one((expression, record))
    }
}
