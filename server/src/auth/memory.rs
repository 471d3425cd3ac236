//! What one worker remembers of credentials that it has seen, under a keyed hash of them: a dump of memory shows none.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::time::{Duration, Instant};

/// Credentials of one kind that one worker remembers.
const ENTRIES_MAX: usize = 4096;

/// The keyed hash of a credential.
pub(super) type Fingerprint = [u8; 32];

/// What was found out about credentials.
pub(super) struct Memory<T> {
    generation: Cell<u64>,
    known: RefCell<HashMap<Fingerprint, Found<T>, BuildHasherDefault<Taken>>>,
}

/// Takes eight bytes of a fingerprint, which is a hash under a secret key already.
#[derive(Default)]
struct Taken(u64);

impl Hasher for Taken {
    fn write(&mut self, bytes: &[u8]) {
        // the first write is that of the length
        if let Some(first) = bytes.first_chunk() {
            self.0 = u64::from_le_bytes(*first);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What was found out once.
#[derive(Clone)]
pub(super) struct Found<T> {
    /// What that is.
    pub(super) value: T,
    since: Instant,
    /// When the credential itself ends, if it does.
    until: Option<Instant>,
}

impl<T> Found<T> {
    /// Found out now.
    pub(super) fn now(value: T, until: Option<Instant>) -> Self {
        Self { value, since: Instant::now(), until }
    }

    /// Whether it was found out less than `ttl` ago, and the credential still holds.
    pub(super) fn is_fresh(&self, now: Instant, ttl: Duration) -> bool {
        now.saturating_duration_since(self.since) < ttl
            && self.until.is_none_or(|until| now < until)
    }
}

impl<T> Default for Memory<T> {
    fn default() -> Self {
        Self { generation: Cell::new(0), known: RefCell::default() }
    }
}

impl<T: Clone> Memory<T> {
    /// What was found out less than `ttl` ago; everything is forgotten when `generation` is another one.
    pub(super) fn recall(
        &self,
        fingerprint: &Fingerprint,
        generation: u64,
        now: Instant,
        ttl: Duration,
    ) -> Option<Found<T>> {
        if self.generation.replace(generation) != generation {
            self.known.borrow_mut().clear();
        }
        let known = self.known.borrow();
        known.get(fingerprint).filter(|found| found.is_fresh(now, ttl)).cloned()
    }

    /// Remembers what was found out as of `generation`.
    pub(super) fn remember(&self, fingerprint: Fingerprint, generation: u64, found: Found<T>) {
        if self.generation.get() != generation {
            return;
        }
        let mut known = self.known.borrow_mut();
        if known.len() >= ENTRIES_MAX {
            known.clear();
        }
        known.insert(fingerprint, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_ends_with_its_time_its_own_end_and_its_generation() {
        let (memory, now, ttl) = (Memory::default(), Instant::now(), Duration::from_secs(60));
        let recall = |fingerprint, generation, now, ttl| {
            memory.recall(fingerprint, generation, now, ttl).map(|found| found.value)
        };
        assert_eq!(recall(&[1; 32], 1, now, ttl), None::<u8>);
        memory.remember([1; 32], 1, Found::now(7, None));
        memory.remember([2; 32], 1, Found::now(8, Some(now + Duration::from_secs(5))));
        assert_eq!(recall(&[1; 32], 1, now, ttl), Some(7));
        assert_eq!(recall(&[1; 32], 1, now + 2 * ttl, ttl), None);
        assert_eq!(recall(&[2; 32], 1, now, ttl), Some(8));
        assert_eq!(recall(&[2; 32], 1, now + Duration::from_secs(6), ttl), None);
        assert_eq!(recall(&[1; 32], 1, now, Duration::ZERO), None);
        memory.remember([3; 32], 0, Found::now(9, None));
        assert_eq!(recall(&[3; 32], 1, now, ttl), None, "found out too long ago");
        assert_eq!(recall(&[1; 32], 2, now, ttl), None);
        assert_eq!(recall(&[1; 32], 1, now, ttl), None);
    }

    #[test]
    fn it_is_bounded() {
        let memory = Memory::default();
        let key = |number: usize| *blake3::hash(&number.to_le_bytes()).as_bytes();
        let _ = memory.recall(&key(0), 1, Instant::now(), Duration::ZERO);
        for number in 0..10 * ENTRIES_MAX {
            memory.remember(key(number), 1, Found::now(number, None));
            assert!(memory.known.borrow().len() <= ENTRIES_MAX);
        }
    }
}
