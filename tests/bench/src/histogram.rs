//! Latencies in buckets whose width grows with the value: at most 1.6 % off, 30 KB, no allocation while recording.

use std::time::Duration;

/// Values below `2 * STEPS` nanoseconds have buckets of their own; each later power of two is cut into `STEPS`.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();
const BUCKETS: usize = (STEPS as usize) * (64 - STEP_BITS as usize + 1);

/// Counts of durations by size.
#[derive(Clone)]
pub(crate) struct Histogram {
    counts: Box<[u64]>,
    total: u64,
}

impl Histogram {
    pub(crate) fn new() -> Self {
        Self { counts: vec![0; BUCKETS].into_boxed_slice(), total: 0 }
    }

    pub(crate) fn record(&mut self, latency: Duration) {
        let nanoseconds = u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX);
        self.counts[bucket(nanoseconds)] += 1;
        self.total += 1;
    }

    /// How many durations were recorded.
    pub(crate) fn count(&self) -> u64 {
        self.total
    }

    /// The smallest duration, to the width of a bucket, that `share` (0 to 1) of all do not exceed; zero when empty.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        let rank = (self.total as f64 * share).ceil() as u64;
        let mut seen = 0;
        for (index, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank && seen > 0 {
                return Duration::from_nanos(lowest(index));
            }
        }
        Duration::ZERO
    }
}

fn bucket(nanoseconds: u64) -> usize {
    let power = (nanoseconds | (STEPS - 1)).ilog2() + 1 - STEP_BITS;
    let shift = power.saturating_sub(1);
    (u64::from(shift) * STEPS + (nanoseconds >> shift)) as usize
}

/// The lowest value of a bucket: the inverse of `bucket`.
fn lowest(index: usize) -> u64 {
    let index = index as u64;
    if index < 2 * STEPS {
        return index;
    }
    let shift = index / STEPS - 1;
    (index - shift * STEPS) << shift
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bucket_holds_its_lowest_value_and_is_narrow() {
        for value in (0..64)
            .flat_map(|bit| [1u64 << bit, (1u64 << bit) + 1, (1u64 << bit) | (1u64 << bit >> 1)])
        {
            let low = lowest(bucket(value));
            assert!(low <= value, "{value} is below its bucket {low}");
            assert!(
                (value - low) as f64 <= value as f64 / STEPS as f64,
                "{value} is far from {low}"
            );
            assert_eq!(bucket(low), bucket(value));
        }
    }

    #[test]
    fn the_largest_value_has_a_bucket() {
        let mut histogram = Histogram::new();
        histogram.record(Duration::MAX);
        assert_eq!(histogram.count(), 1);
    }

    #[test]
    fn quantiles_of_a_ramp_lie_on_the_ramp() {
        let mut histogram = Histogram::new();
        (1..=1000).for_each(|micros| histogram.record(Duration::from_micros(micros)));
        for share in [0.5, 0.99, 1.0] {
            let got = histogram.quantile(share).as_micros() as f64;
            assert!((got / (share * 1000.0) - 1.0).abs() < 0.02, "quantile {share} is {got}");
        }
        assert_eq!(Histogram::new().quantile(0.5), Duration::ZERO);
    }
}
