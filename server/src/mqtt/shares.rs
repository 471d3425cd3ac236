//! Shared subscriptions (§4.8.2): which of their clients gets a message.
//!
//! Every client looks at every message and decides for itself; all must come to the same answer, however far each of them
//! is, and after a restart, too. So it is noted from which place in the table's log on who takes part, for as long as a
//! client may still come to an earlier place. Whoever is connected takes part; sessions that are away do while nobody is.

use super::stored::{Hash, hash};
use bytes::{BufMut, Bytes, BytesMut};
use harper_mqtt::Text;
use harper_mqtt::session::choose;
use harper_store::{Database, Error, SideOp, SideTree};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// The periods of shares that sessions are in.
const PERIODS: SideTree = SideTree("mqtt-shares");
/// Periods of a share. Who comes back after more changes than these takes the oldest that is known for all before it.
const PERIODS_MAX: usize = 1024;
/// Periods that are known for messages in no log: those wait nowhere for long.
const MOMENTS_MAX: usize = 64;

/// The shared subscriptions of the process.
#[derive(Default)]
pub(super) struct Shares {
    // who takes part must not change between a look and a decision: the place from which on it changes would be behind
    all: RwLock<HashMap<Text, Share>>,
}

/// Those who share one filter.
#[derive(Default)]
struct Share {
    members: BTreeMap<u64, Member>,
    /// By sequence numbers of the table.
    periods: VecDeque<Period>,
    /// By versions, for messages in no log.
    moments: VecDeque<Period>,
    /// Whether the periods are stored: there are sessions that may come back.
    is_stored: bool,
}

/// A client of a share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// Whether it is connected.
    pub is_here: bool,
    /// How far it has come in the table's log, if its session outlives the connection.
    pub cursor: Option<u64>,
}

/// A client whose session is stored, and its cursor.
pub(super) type Seen = (u64, u64);

/// Who takes part from some place on.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Period {
    from: u64,
    members: Arc<[u64]>,
}

/// From where on a change holds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now {
    /// The last sequence number of the table.
    pub last: u64,
    /// The version of a message that is in no log and comes after the change.
    pub version: u64,
}

impl Shares {
    /// Whether a client is the one that gets a message.
    pub(super) fn is_chosen(&self, share: &Text, client: u64, sequence: u64, version: u64) -> bool {
        let all = self.read();
        let Some(share) = all.get(share) else { return false };
        let period = match sequence {
            0 => at(&share.moments, version),
            sequence => at(&share.periods, sequence),
        };
        period.and_then(|period| choose(period.members.iter().copied(), version)) == Some(client)
    }

    /// A client joins, comes back, or goes away for a while; what is to be stored of it. `now` is asked while no message is
    /// decided about.
    ///
    /// # Errors
    /// Those of `now`.
    pub(super) fn set(
        &self,
        share: &Text,
        client: u64,
        member: Member,
        now: impl FnOnce() -> Result<Now, Error>,
    ) -> Result<Vec<SideOp>, Error> {
        let mut all = self.write();
        let now = now()?;
        let known = all.entry(share.detached()).or_default();
        known.members.insert(client, member);
        Ok(known.change(share, now))
    }

    /// A client leaves for good; what is to be stored of it.
    ///
    /// # Errors
    /// Those of `now`.
    pub(super) fn leave(
        &self,
        share: &Text,
        client: u64,
        now: impl FnOnce() -> Result<Now, Error>,
    ) -> Result<Vec<SideOp>, Error> {
        let mut all = self.write();
        let Some(known) = all.get_mut(share) else { return Ok(Vec::new()) };
        if known.members.remove(&client).is_none() {
            return Ok(Vec::new());
        }
        let ops = known.change(share, now()?);
        if known.members.is_empty() {
            all.remove(share);
        }
        Ok(ops)
    }

    /// A client whose session outlives the connection has come further.
    pub(super) fn came(&self, share: &Text, client: u64, cursor: u64) {
        let mut all = self.write();
        if let Some(member) = all.get_mut(share).and_then(|share| share.members.get_mut(&client)) {
            member.cursor = member.cursor.map(|_| cursor);
        }
    }

    /// The share as it was when the process before ended, whose connections have ended with it. `sessions` are those that are
    /// in it.
    ///
    /// # Errors
    /// The store's.
    pub(super) fn restore(
        &self,
        share: &Text,
        sessions: &[Seen],
        system: &Database,
        now: Now,
    ) -> Result<Vec<SideOp>, Error> {
        let away = |cursor| Member { is_here: false, cursor: Some(cursor) };
        let members = sessions.iter().map(|(client, cursor)| (*client, away(*cursor))).collect();
        let periods = stored_periods(system, &hash(share))?;
        let mut known = Share { members, periods, is_stored: true, ..Share::default() };
        let ops = known.change(share, now);
        self.write().insert(share.detached(), known);
        Ok(ops)
    }

    /// How many clients are connected, each counted once for each share.
    pub(super) fn count(&self) -> usize {
        let here = |share: &Share| share.members.values().filter(|member| member.is_here).count();
        self.read().values().map(here).sum()
    }

    fn read(&self) -> RwLockReadGuard<'_, HashMap<Text, Share>> {
        self.all.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, HashMap<Text, Share>> {
        self.all.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Begins a period; what is to be stored of it.
    fn change(&mut self, share: &Text, now: Now) -> Vec<SideOp> {
        let hash = hash(share);
        let members = self.active();
        begin(&mut self.moments, now.version, &members, MOMENTS_MAX);
        let is_stored = self.members.values().any(|member| member.cursor.is_some());
        let was_stored = std::mem::replace(&mut self.is_stored, is_stored);
        let max = if is_stored { PERIODS_MAX } else { MOMENTS_MAX };
        let mut past = begin(&mut self.periods, now.last + 1, &members, max);
        past.extend(self.past());
        let gone = past.iter().filter(|_| was_stored).map(|period| delete(&hash, period));
        let mut ops: Vec<_> = gone.collect();
        match (was_stored, is_stored) {
            (true, true) => ops.extend(self.periods.back().map(|period| put(&hash, period))),
            (false, true) => ops.extend(self.periods.iter().map(|period| put(&hash, period))),
            (true, false) => ops.extend(self.periods.iter().map(|period| delete(&hash, period))),
            (false, false) => {}
        }
        ops
    }

    /// Who takes part now.
    fn active(&self) -> Arc<[u64]> {
        let is_anybody_here = self.members.values().any(|member| member.is_here);
        let active = self.members.iter().filter(|(_, member)| member.is_here == is_anybody_here);
        active.map(|(client, _)| *client).collect()
    }

    /// Takes out the periods to which no session will come back.
    fn past(&mut self) -> Vec<Period> {
        let Some(behind) = self.members.values().filter_map(|member| member.cursor).min() else {
            return Vec::new();
        };
        let next = self.periods.partition_point(|period| period.from <= behind + 1);
        self.periods.drain(..next.saturating_sub(1)).collect()
    }
}

fn stored_periods(system: &Database, hash: &Hash) -> Result<VecDeque<Period>, Error> {
    let txn = system.read()?;
    let mut periods = VecDeque::new();
    for item in txn.side_range(PERIODS, hash, None)? {
        let (key, value) = item?;
        let from = key.last_chunk().copied().map_or(0, u64::from_be_bytes);
        let (members, _) = value.as_chunks();
        let members = members.iter().map(|member| u64::from_be_bytes(*member)).collect();
        periods.push_back(Period { from, members });
    }
    Ok(periods)
}

/// The period that a place is in.
fn at(periods: &VecDeque<Period>, place: u64) -> Option<&Period> {
    let next = periods.partition_point(|period| period.from <= place);
    // what is older than all that is known is decided as the oldest is
    periods.get(next.saturating_sub(1))
}

/// Begins a period; those that it replaces, and the oldest beyond `max`.
fn begin(
    periods: &mut VecDeque<Period>,
    from: u64,
    members: &Arc<[u64]>,
    max: usize,
) -> Vec<Period> {
    // nothing has been decided in one that begins at the same place; one that begins later is of a table that is gone
    let replaced = periods.partition_point(|period| period.from < from);
    let mut past: Vec<_> = periods.drain(replaced..).collect();
    periods.push_back(Period { from, members: Arc::clone(members) });
    past.extend(periods.drain(..periods.len().saturating_sub(max)));
    past
}

fn put(hash: &Hash, period: &Period) -> SideOp {
    let mut value = BytesMut::with_capacity(period.members.len() * 8);
    period.members.iter().for_each(|member| value.put_u64(*member));
    SideOp::Put { tree: PERIODS, key: key(hash, period), value: value.freeze() }
}

fn delete(hash: &Hash, period: &Period) -> SideOp {
    SideOp::Delete { tree: PERIODS, key: key(hash, period) }
}

fn key(hash: &Hash, period: &Period) -> Bytes {
    Bytes::from([&hash[..], &period.from.to_be_bytes()].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHARE: &str = "$share/g/Dog/#";
    const HERE: Member = Member { is_here: true, cursor: None };

    fn away(cursor: u64) -> Member {
        Member { is_here: false, cursor: Some(cursor) }
    }

    fn share() -> Text {
        Text::try_from(SHARE).unwrap()
    }

    fn set(shares: &Shares, client: u64, member: Member, last: u64) -> Vec<SideOp> {
        shares.set(&share(), client, member, || Ok(Now { last, version: last << 16 })).unwrap()
    }

    /// Which of some clients would take a message.
    fn takers(shares: &Shares, sequence: u64) -> Vec<u64> {
        let is_taker = |client: &u64| shares.is_chosen(&share(), *client, sequence, sequence << 16);
        (1..=4).filter(is_taker).collect()
    }

    #[test]
    fn a_message_is_one_clients_whoever_came_or_went_since() {
        let shares = Shares::default();
        set(&shares, 1, HERE, 0);
        set(&shares, 2, HERE, 10);
        let before: Vec<_> = (1..=20).map(|sequence| takers(&shares, sequence)).collect();
        assert!(before.iter().all(|takers| takers.len() == 1));
        assert!(
            before[..10].iter().all(|takers| takers == &[1]) && before[10..].contains(&vec![2])
        );
        set(&shares, 3, HERE, 20);
        shares.leave(&share(), 1, || Ok(Now { last: 30, version: 30 << 16 })).unwrap();
        let after: Vec<_> = (1..=20).map(|sequence| takers(&shares, sequence)).collect();
        assert_eq!(after, before);
        assert!((31..99).all(|sequence| matches!(takers(&shares, sequence)[..], [2 | 3])));
    }

    #[test]
    fn a_session_that_is_away_takes_part_while_nobody_is_there() {
        let shares = Shares::default();
        assert_eq!(set(&shares, 1, Member { is_here: true, cursor: Some(0) }, 0).len(), 1);
        assert_eq!(set(&shares, 1, away(5), 10).len(), 1);
        assert_eq!(takers(&shares, 11), [1]);
        set(&shares, 2, HERE, 20);
        assert!((21..40).all(|sequence| takers(&shares, sequence) == [2]));
        assert!((11..=20).all(|sequence| takers(&shares, sequence) == [1]));
    }

    #[test]
    fn periods_are_kept_while_a_session_may_come_back_to_them() {
        let shares = Shares::default();
        set(&shares, 1, away(0), 0);
        for last in 1..=2 * PERIODS_MAX as u64 {
            set(&shares, 2, HERE, last);
        }
        let periods = |shares: &Shares| shares.read()[&share()].periods.len();
        assert_eq!(periods(&shares), PERIODS_MAX);
        shares.came(&share(), 1, 2 * PERIODS_MAX as u64);
        let ops = set(&shares, 2, HERE, 5000);
        assert_eq!((periods(&shares), ops.len()), (2, PERIODS_MAX));
        // the last session is gone, and with it all that was stored
        let ops = shares.leave(&share(), 1, || Ok(Now { last: 6000, version: 0 })).unwrap();
        assert_eq!(ops.iter().filter(|op| matches!(op, SideOp::Put { .. })).count(), 0);
        assert!(set(&shares, 3, HERE, 7000).is_empty());
    }
}
