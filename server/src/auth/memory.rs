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
    known: RefCell<HashMap<Fingerprint, Entry<T>, BuildHasherDefault<Taken>>>,
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

struct Entry<T> {
    value: T,
    since: Instant,
    /// When the credential itself ends, if it does.
    until: Option<Instant>,
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
    ) -> Option<T> {
        if self.generation.replace(generation) != generation {
            self.known.borrow_mut().clear();
        }
        let known = self.known.borrow();
        let entry = known.get(fingerprint)?;
        let is_fresh = now.saturating_duration_since(entry.since) < ttl
            && entry.until.is_none_or(|until| now < until);
        is_fresh.then(|| entry.value.clone())
    }

    /// Remembers what was found out as of `generation`.
    pub(super) fn remember(
        &self,
        fingerprint: Fingerprint,
        generation: u64,
        value: T,
        until: Option<Instant>,
    ) {
        if self.generation.get() != generation {
            return;
        }
        let mut known = self.known.borrow_mut();
        if known.len() >= ENTRIES_MAX {
            known.clear();
        }
        known.insert(fingerprint, Entry { value, since: Instant::now(), until });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_remembered_ends_with_its_time_its_own_end_and_its_generation() {
        let (memory, now, ttl) = (Memory::default(), Instant::now(), Duration::from_secs(60));
        assert_eq!(memory.recall(&[1; 32], 1, now, ttl), None::<u8>);
        memory.remember([1; 32], 1, 7, None);
        memory.remember([2; 32], 1, 8, Some(now + Duration::from_secs(5)));
        assert_eq!(memory.recall(&[1; 32], 1, now, ttl), Some(7));
        assert_eq!(memory.recall(&[1; 32], 1, now + 2 * ttl, ttl), None);
        assert_eq!(memory.recall(&[2; 32], 1, now, ttl), Some(8));
        assert_eq!(memory.recall(&[2; 32], 1, now + Duration::from_secs(6), ttl), None);
        assert_eq!(memory.recall(&[1; 32], 1, now, Duration::ZERO), None);
        memory.remember([3; 32], 0, 9, None);
        assert_eq!(memory.recall(&[3; 32], 1, now, ttl), None, "found out too long ago");
        assert_eq!(memory.recall(&[1; 32], 2, now, ttl), None);
        assert_eq!(memory.recall(&[1; 32], 1, now, ttl), None);
    }

    #[test]
    fn it_is_bounded() {
        let memory = Memory::default();
        let key = |number: usize| *blake3::hash(&number.to_le_bytes()).as_bytes();
        let _ = memory.recall(&key(0), 1, Instant::now(), Duration::ZERO);
        for number in 0..10 * ENTRIES_MAX {
            memory.remember(key(number), 1, number, None);
            assert!(memory.known.borrow().len() <= ENTRIES_MAX);
        }
    }
}
