//! Versions: a hybrid logical clock, 48 bits of milliseconds and 16 bits of counter.

use std::time::{SystemTime, UNIX_EPOCH};

const COUNTER_BITS: u32 = 16;

/// Milliseconds since 1970 by the system's clock.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

/// The version after `last` at the time `now_ms`: always greater, whatever the clock does.
pub(crate) fn next(last: u64, now_ms: u64) -> u64 {
    (now_ms << COUNTER_BITS).max(last + 1)
}

/// The milliseconds in a version.
pub(crate) fn ms(version: u64) -> u64 {
    version >> COUNTER_BITS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_grow_when_the_clock_stands_or_goes_back() {
        let first = next(0, 1000);
        assert_eq!((ms(first), first & 0xffff), (1000, 0));
        let second = next(first, 1000);
        let third = next(second, 10);
        assert!(first < second && second < third);
        assert_eq!(ms(third), 1000);
    }
}
