//! The generic cell rate algorithm over a table of fixed size: for each client one number, the time at which it will
//! have its whole allowance again. A client that is not in the table has it.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Parts of the table that are locked apart from each other.
const SHARDS: usize = 64;
/// Clients among which the one that is missed least gives way to a new one.
const WAYS: usize = 8;
/// Places for each client that there may be, so that hardly any has to give way before so many are there.
const SPARE: usize = 2;

/// One request in each interval, and at most so many at once.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rate {
    pub(super) interval: Duration,
    pub(super) burst: u32,
}

/// What a client has left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Left {
    /// Requests that it may make now.
    pub(super) requests: u64,
    /// Time until it has its whole allowance again.
    pub(super) full_after: Duration,
    /// How long it has to wait; none when this request was one that it may make.
    pub(super) wait: Option<Duration>,
}

/// A client, by the keyed hash of who it is, and when, in nanoseconds, it has its whole allowance again.
#[derive(Clone, Copy, Default)]
struct Client {
    hash: u64,
    full_at: u64,
}

type Set = [Client; WAYS];

/// What every client has left.
pub(super) struct Table {
    hasher: RandomState,
    shards: [Mutex<Vec<Set>>; SHARDS],
}

impl Default for Table {
    fn default() -> Self {
        Self { hasher: RandomState::new(), shards: std::array::from_fn(|_| Mutex::default()) }
    }
}

impl Table {
    /// Counts one request of `who`. About `clients_max` clients are remembered; of more, those that are nearest to
    /// their whole allowance are forgotten.
    pub(super) fn count(
        &self,
        who: &impl Hash,
        now: Duration,
        rate: Rate,
        clients_max: usize,
    ) -> Left {
        let hash = self.hasher.hash_one(who);
        let sets = (clients_max * SPARE).div_ceil(SHARDS * WAYS);
        let (shard, set) = (hash as usize % SHARDS, (hash >> 32) as usize % sets);
        let mut shard = self.shards[shard].lock().unwrap_or_else(PoisonError::into_inner);
        if shard.len() != sets {
            // made when it is first needed; another size begins anew
            *shard = vec![Set::default(); sets];
        }
        let (left, full_at) = admit(full_at(&shard[set], hash), now, rate);
        if left.wait.is_none()
            && let Some(place) = place(&mut shard[set], hash)
        {
            *place = Client { hash, full_at };
        }
        left
    }
}

fn full_at(set: &Set, hash: u64) -> u64 {
    set.iter().find(|client| client.hash == hash).map_or(0, |client| client.full_at)
}

/// Where the client is kept: where it is, else in place of the one that is missed least.
fn place(set: &mut Set, hash: u64) -> Option<&mut Client> {
    set.iter_mut().min_by_key(|client| match client.hash == hash {
        true => (0, 0),
        false => (1, client.full_at),
    })
}

/// Whether a client that has its whole allowance at `full_at` may make a request now, and when it has it then.
fn admit(full_at: u64, now: Duration, rate: Rate) -> (Left, u64) {
    let nanos = |time: Duration| u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
    let (now, interval) = (nanos(now), nanos(rate.interval));
    let allowance = interval.saturating_mul(u64::from(rate.burst));
    let before = full_at.max(now);
    let after = before.saturating_add(interval);
    let over = (after - now).saturating_sub(allowance);
    let owed = if over == 0 { after - now } else { before - now };
    let left = Left {
        requests: allowance.saturating_sub(owed) / interval.max(1),
        full_after: Duration::from_nanos(owed),
        wait: (over > 0).then(|| Duration::from_nanos(over)),
    };
    (left, now.saturating_add(owed))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn rate(burst: u32) -> Rate {
        Rate { interval: SECOND, burst }
    }

    #[test]
    fn a_burst_is_admitted_and_then_one_in_each_interval() {
        let table = Table::default();
        let count = |now: Duration| table.count(&"a", now, rate(3), 100);
        for left in [2, 1, 0] {
            let counted = count(SECOND);
            assert_eq!((counted.requests, counted.wait), (left, None));
        }
        let refused = count(SECOND);
        assert_eq!(refused.wait, Some(SECOND));
        assert_eq!(refused.full_after, 3 * SECOND);
        assert_eq!(count(SECOND + SECOND / 2).wait, Some(SECOND / 2), "a refusal costs nothing");
        assert_eq!(count(2 * SECOND).wait, None);
        assert_eq!(count(2 * SECOND).wait, Some(SECOND));
        assert_eq!(count(60 * SECOND).requests, 2, "the allowance does not grow beyond itself");
        assert_eq!(table.count(&"b", SECOND, rate(3), 100).requests, 2, "others have their own");
    }

    #[test]
    fn the_table_keeps_its_size_and_whom_it_matters_to_keep() {
        let table = Table::default();
        for number in 0..50_000_u32 {
            table.count(&number, SECOND, rate(3), 1000);
        }
        let kept: usize = table.shards.iter().map(|shard| shard.lock().unwrap().len() * WAYS).sum();
        assert!((1000..=2 * 1000 + SHARDS * WAYS).contains(&kept), "{kept}");
        let table = Table::default();
        for _ in 0..3 {
            table.count(&"busy", SECOND, rate(3), 1000);
        }
        for number in 0..50_000_u32 {
            table.count(&number, SECOND, rate(3), 1000);
        }
        assert!(table.count(&"busy", SECOND, rate(3), 1000).wait.is_some());
    }

    #[test]
    fn threads_together_get_what_one_would() {
        let table = Table::default();
        let admitted = || {
            (0..500).filter(|_| table.count(&"a", SECOND, rate(700), 100).wait.is_none()).count()
        };
        let total: usize = std::thread::scope(|scope| {
            let threads: Vec<_> = (0..4).map(|_| scope.spawn(admitted)).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).sum()
        });
        assert_eq!(total, 700);
    }

    proptest! {
        #[test]
        fn in_no_stretch_of_time_is_more_admitted_than_the_burst_and_one_for_each_interval(
            steps in proptest::collection::vec(0_u64..1500, 1..200),
            burst in 1_u32..10,
        ) {
            let (mut now, mut full_at) = (Duration::ZERO, 0);
            let mut admitted = Vec::new();
            for step in steps {
                now += Duration::from_millis(step);
                let (left, after) = admit(full_at, now, rate(burst));
                if left.wait.is_none() {
                    full_at = after;
                    admitted.push(now);
                }
            }
            for (number, from) in admitted.iter().enumerate() {
                for (count, to) in admitted[number..].iter().enumerate() {
                    let most = u64::from(burst) + (*to - *from).as_secs();
                    prop_assert!((count as u64) < most);
                }
            }
        }
    }
}
