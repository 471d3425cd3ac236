//! How late a worker's loop is: how long something that is ready waits until the worker comes to it. Each worker measures its
//! own with a timer that it sets anyway, so a request only compares two times.

use std::cell::Cell;
use std::time::{Duration, Instant};

/// The lateness of one worker.
pub(crate) struct Lag {
    /// When the worker should next look at its clock.
    due: Cell<Instant>,
    measured: Cell<Duration>,
}

impl Lag {
    /// Nothing is late yet.
    #[must_use]
    pub(crate) fn new(now: Instant) -> Self {
        Self { due: Cell::new(now), measured: Cell::new(Duration::ZERO) }
    }

    /// The worker looks at its clock at `now`, and should again after `period`; how late it was.
    pub(crate) fn tick(&self, now: Instant, period: Duration) -> Duration {
        let late = now.saturating_duration_since(self.due.get());
        self.due.set(now + period);
        self.measured.set(late);
        late
    }

    /// A round of everything that was ready took this long.
    pub(crate) fn round(&self, took: Duration) {
        self.measured.set(took);
    }

    /// How long what is begun at `now` has waited: as long as the clock is overdue, or was when it was last looked at.
    #[must_use]
    pub(crate) fn wait(&self, now: Instant) -> Duration {
        let (due, measured) = (self.due.get(), self.measured.get());
        if now <= due { measured } else { (now - due).max(measured) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_loop_that_was_stuck_is_late_until_it_has_gone_round() {
        let begin = Instant::now();
        let at = |ms| begin + Duration::from_millis(ms);
        let lag = Lag::new(begin);
        assert_eq!(lag.tick(at(0), Duration::from_millis(250)), Duration::ZERO);
        assert_eq!(lag.wait(at(250)), Duration::ZERO);
        assert_eq!(lag.wait(at(3250)), Duration::from_secs(3), "requests come before the clock");
        assert_eq!(lag.tick(at(3260), Duration::from_millis(250)), Duration::from_millis(3010));
        assert_eq!(lag.wait(at(3261)), Duration::from_millis(3010), "and after it");
        lag.round(Duration::from_millis(2));
        assert_eq!(lag.wait(at(3262)), Duration::from_millis(2));
    }
}
