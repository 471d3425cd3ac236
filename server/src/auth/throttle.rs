//! How fast wrong passwords may be tried: from one address, and for one user.
//!
//! Each has a bucket of attempts that is given back one by one in the course of the window. A user's bucket does not
//! hold up an address from which that user has logged in, so that nobody can lock somebody else out for good. The
//! table is shared by all workers; it is asked only when a password is about to be hashed.

use harper_config::Throttle as Settings;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What count is kept of, hashed: the table then has entries of one size, whatever is sent.
type Subject = [u8; 16];

/// The counts of the process.
#[derive(Default)]
pub(crate) struct Throttle {
    entries: Mutex<HashMap<Subject, Entry>>,
}

/// How far one bucket is used up, or until when an address is known as a user's.
#[derive(Clone, Copy)]
struct Entry {
    /// When the bucket will be full again (GCRA's theoretical arrival time).
    full_at: Instant,
}

/// One attempt that has been let through.
pub(crate) struct Attempt {
    address: Subject,
    /// None when the address is known as the user's.
    user: Option<Subject>,
    known: Subject,
}

impl Throttle {
    /// Takes an attempt from the buckets of the address and of the user.
    ///
    /// # Errors
    /// The time after which another attempt is let through.
    pub(crate) fn begin(
        &self,
        settings: &Settings,
        address: IpAddr,
        user: &str,
        now: Instant,
    ) -> Result<Attempt, Duration> {
        let network = network(address);
        let mut attempt = Attempt {
            address: subject(b'a', &[&network]),
            user: Some(subject(b'u', &[user.as_bytes()])),
            known: subject(b'k', &[&network, user.as_bytes()]),
        };
        if settings.attempts == 0 || settings.window.is_zero() {
            return Ok(attempt);
        }
        let mut entries = self.lock();
        let is_known = entries.get(&attempt.known).is_some_and(|entry| entry.full_at > now);
        attempt.user = attempt.user.filter(|_| !is_known);
        let buckets = [Some(attempt.address), attempt.user].into_iter().flatten();
        let waits = buckets.clone().filter_map(|bucket| entries.get(&bucket)?.wait(settings, now));
        if let Some(wait) = waits.max() {
            return Err(wait);
        }
        for bucket in buckets {
            make_room(&mut entries, settings.entries_max, now);
            entries.entry(bucket).or_insert(Entry { full_at: now }).take(settings, now);
        }
        Ok(attempt)
    }

    /// The password was right: the attempt is given back, and no other, for whoever has an account must not be able to
    /// wipe out guesses at others'. The address is known as the user's for a day.
    pub(crate) fn succeeded(&self, settings: &Settings, attempt: &Attempt, now: Instant) {
        const KNOWN: Duration = Duration::from_secs(24 * 60 * 60);
        if settings.attempts == 0 {
            return;
        }
        self.withdrawn(settings, attempt);
        let mut entries = self.lock();
        make_room(&mut entries, settings.entries_max, now);
        entries.insert(attempt.known, Entry { full_at: now + KNOWN });
    }

    /// The password was not wrong, as far as is known: the attempt is given back.
    pub(crate) fn withdrawn(&self, settings: &Settings, attempt: &Attempt) {
        let mut entries = self.lock();
        for bucket in [Some(attempt.address), attempt.user].into_iter().flatten() {
            if let Some(entry) = entries.get_mut(&bucket) {
                entry.give_back(settings);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Subject, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// How long until there is an attempt in the bucket; none when there is one now.
    fn wait(&self, settings: &Settings, now: Instant) -> Option<Duration> {
        let one = settings.window / settings.attempts;
        let used = self.full_at.saturating_duration_since(now);
        let wait = (used + one).saturating_sub(settings.window);
        (!wait.is_zero()).then_some(wait)
    }

    fn take(&mut self, settings: &Settings, now: Instant) {
        self.full_at = self.full_at.max(now) + settings.window / settings.attempts;
    }

    fn give_back(&mut self, settings: &Settings) {
        let one = settings.window / settings.attempts.max(1);
        self.full_at = self.full_at.checked_sub(one).unwrap_or(self.full_at);
    }
}

/// Drops what is full again, and where that is not enough the half that will be full first.
fn make_room(entries: &mut HashMap<Subject, Entry>, entries_max: usize, now: Instant) {
    if entries.len() < entries_max {
        return;
    }
    entries.retain(|_, entry| entry.full_at > now);
    if entries.len() < entries_max {
        return;
    }
    let mut times: Vec<_> = entries.values().map(|entry| entry.full_at).collect();
    let half = times.len() / 2;
    let (_, middle, _) = times.select_nth_unstable(half);
    let middle = *middle;
    entries.retain(|_, entry| entry.full_at > middle);
}

/// A client that has an IPv6 network of its own has it whole.
fn network(address: IpAddr) -> [u8; 16] {
    match address.to_canonical() {
        IpAddr::V4(address) => address.to_ipv6_mapped().octets(),
        IpAddr::V6(address) => {
            let mut octets = address.octets();
            octets[8..].fill(0);
            octets
        }
    }
}

fn subject(kind: u8, parts: &[&[u8]]) -> Subject {
    let mut hash = blake3::Hasher::new();
    hash.update(&[kind]);
    for part in parts {
        hash.update(part);
    }
    let mut subject = Subject::default();
    hash.finalize_xof().fill(&mut subject);
    subject
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn settings(attempts: u32, entries_max: usize) -> Settings {
        Settings { attempts, window: Duration::from_secs(60), entries_max }
    }

    fn address(last: u8) -> IpAddr {
        [10, 0, 0, last].into()
    }

    #[test]
    fn an_address_has_so_many_attempts_and_gets_them_back_one_by_one() {
        let (throttle, settings, now) = (Throttle::default(), settings(3, 100), Instant::now());
        let try_at = |name: &str, at| throttle.begin(&settings, address(1), name, at).map(drop);
        for name in ["a", "b", "c"] {
            assert_eq!(try_at(name, now), Ok(()));
        }
        let wait = try_at("d", now).unwrap_err();
        assert_eq!(wait, Duration::from_secs(20));
        assert!(try_at("d", now + wait - Duration::from_millis(1)).is_err());
        assert_eq!(try_at("d", now + wait), Ok(()));
        assert!(try_at("e", now + wait).is_err());
        assert_eq!(throttle.begin(&settings, address(2), "e", now).map(drop), Ok(()));
    }

    #[test]
    fn a_user_is_guarded_against_many_addresses_but_not_locked_out() {
        let (throttle, settings, now) = (Throttle::default(), settings(5, 100), Instant::now());
        let home = throttle.begin(&settings, address(200), "ann", now).unwrap();
        throttle.succeeded(&settings, &home, now);
        for last in 0..5 {
            assert!(throttle.begin(&settings, address(last), "ann", now).is_ok());
        }
        let wait = throttle.begin(&settings, address(99), "ann", now).map(drop).unwrap_err();
        assert!(throttle.begin(&settings, address(200), "ann", now).is_ok(), "known address");
        assert!(throttle.begin(&settings, address(99), "ann", now + wait).is_ok(), "in its turn");
        assert!(throttle.begin(&settings, address(98), "bob", now).is_ok());
    }

    #[test]
    fn success_and_withdrawal_give_attempts_back() {
        let (throttle, settings, now) = (Throttle::default(), settings(2, 100), Instant::now());
        for _ in 0..10 {
            let attempt = throttle.begin(&settings, address(1), "ann", now).unwrap();
            throttle.succeeded(&settings, &attempt, now);
            let attempt = throttle.begin(&settings, address(2), "bob", now).unwrap();
            throttle.withdrawn(&settings, &attempt);
        }
        let off = self::settings(0, 100);
        for _ in 0..10 {
            assert!(throttle.begin(&off, address(1), "ann", now).is_ok());
        }
    }

    #[test]
    fn a_right_password_does_not_give_back_the_attempts_of_wrong_ones() {
        let (throttle, settings, now) = (Throttle::default(), settings(4, 100), Instant::now());
        let begin = |name: &str| throttle.begin(&settings, address(1), name, now);
        let mut guesses = 0;
        for name in ["a", "b", "c", "d", "e", "f", "g", "h"] {
            guesses += u32::from(begin(name).is_ok());
            if let Ok(own) = begin("own") {
                throttle.succeeded(&settings, &own, now);
            }
        }
        assert_eq!(guesses, 4);
    }

    #[test]
    fn one_ipv6_network_is_one_address() {
        let parse = |text: &str| network(text.parse().unwrap());
        assert_eq!(parse("2001:db8::1"), parse("2001:db8::ffff:1:2"));
        assert_ne!(parse("2001:db8::1"), parse("2001:db8:0:1::1"));
        assert_eq!(parse("::ffff:10.0.0.1"), parse("10.0.0.1"));
    }

    proptest! {
        #[test]
        fn the_table_is_bounded_whatever_is_tried(names in proptest::collection::vec(any::<u16>(), 1..400)) {
            let (throttle, settings, now) = (Throttle::default(), settings(1000, 32), Instant::now());
            for (step, name) in names.iter().enumerate() {
                let now = now + Duration::from_millis(step as u64);
                let attempt = throttle.begin(&settings, address((name >> 8) as u8), &name.to_string(), now);
                if let (Ok(attempt), 0) = (attempt, name % 3) {
                    throttle.succeeded(&settings, &attempt, now);
                }
                prop_assert!(throttle.lock().len() <= 32);
            }
        }
    }
}
