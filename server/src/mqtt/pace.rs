//! How many sessions are taken over or gone on with in a second. After a restart all clients come back at once; each that
//! does has its session read and stored.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// What may go at once after a time of rest: as many as in this time.
const BURST: Duration = Duration::from_secs(1);

/// Gives each its turn, one after the other.
pub(super) struct Pace {
    begun: Instant,
    /// When the next has its turn: nanoseconds after `begun`, and one burst later.
    next: AtomicU64,
}

impl Pace {
    /// Nobody has had a turn.
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), next: AtomicU64::new(0) }
    }

    /// How long one more waits at so many a second, 0 for any number; none when that is longer than `max`.
    pub(super) fn turn(&self, now: Instant, per_second: u32, max: Duration) -> Option<Duration> {
        let Some(gap) = nanos(Duration::from_secs(1)).checked_div(per_second.into()) else {
            return Some(Duration::ZERO);
        };
        let now = nanos(now.saturating_duration_since(self.begun) + BURST);
        let turn = |next: u64| next.max(now - nanos(BURST));
        let latest = now.saturating_add(nanos(max));
        let after = |next: u64| Some(turn(next) + gap).filter(|_| turn(next) <= latest);
        let before = self.next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, after).ok()?;
        Some(Duration::from_nanos(turn(before).saturating_sub(now)))
    }
}

fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX / 4)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_s_worth_goes_at_once_and_the_rest_in_turn() {
        let pace = Pace::new();
        let max = Duration::from_secs(1);
        let waits: Vec<_> = (0..40).map(|_| pace.turn(pace.begun, 10, max)).collect();
        let at_once = waits.iter().filter(|wait| **wait == Some(Duration::ZERO)).count();
        assert_eq!(at_once, 11);
        assert_eq!(waits[11], Some(Duration::from_millis(100)));
        assert_eq!(waits[20], Some(max));
        assert!(waits[21..].iter().all(Option::is_none), "{waits:?}");
        let later = pace.begun + Duration::from_millis(2100);
        assert_eq!(
            pace.turn(later, 10, max),
            Some(Duration::ZERO),
            "the refused have taken no turn"
        );
    }

    #[test]
    fn without_a_limit_nobody_waits() {
        let pace = Pace::new();
        for _ in 0..100 {
            assert_eq!(pace.turn(pace.begun, 0, Duration::ZERO), Some(Duration::ZERO));
        }
    }
}
