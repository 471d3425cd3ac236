//! Shared subscriptions (§4.8.2): which of their clients gets a message.
//!
//! Every client looks at every message and decides for itself; all must come to the same answer, however far each of them
//! is, and after a restart, too. So it is noted from which place in the table's log on who takes part, for as long as a
//! client may still come to an earlier place. Whoever is connected takes part; sessions that are away do while nobody is.

use super::stored::{Hash, Outcome, StoredError, hash};
use bytes::{BufMut, Bytes, BytesMut};
use harper_mqtt::Text;
use harper_mqtt::session::choose;
use harper_store::{Database, Error, SideOp, SideTree};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use tokio::sync::oneshot::error::TryRecvError;

/// The periods of shares that sessions are in.
const PERIODS: SideTree = SideTree("mqtt-shares");
/// Periods of a share. Who comes back after more changes than these takes the oldest that is known for all before it.
const PERIODS_MAX: usize = 1024;
/// Members of all periods of a share together, each counted in each.
const ENTRIES_MAX: usize = 131_072;
/// Periods that are known for messages in no log: those wait nowhere for long.
const MOMENTS_MAX: usize = 64;
/// Clients of one share: whoever comes or goes has all of them noted.
const MEMBERS_MAX: usize = 4096;

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
    /// Whether all periods are stored, as far as is known.
    is_stored: bool,
    /// Whether any may be.
    has_rows: bool,
    /// What becomes of what was handed to the store.
    outcomes: Vec<Outcome>,
}

/// A client of a share.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    /// Whether it is connected.
    pub is_here: bool,
    /// Whether its session outlives the connection.
    pub is_durable: bool,
    /// How far it has come in the table's log, at least.
    pub cursor: u64,
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

    /// Whether one more client may share a filter.
    pub(super) fn has_room(&self, share: &Text) -> bool {
        self.read().get(share).is_none_or(|share| share.members.len() < MEMBERS_MAX)
    }

    /// A client joins, comes back, or goes away for a while; one without a member leaves for good. `now` is asked while no
    /// message is decided about; `store` takes what is to be stored, in the order of the changes.
    ///
    /// # Errors
    /// Those of `now`.
    pub(super) fn set(
        &self,
        share: &Text,
        client: u64,
        member: Option<Member>,
        now: impl FnOnce() -> Result<Now, Error>,
        store: impl FnOnce(Vec<SideOp>) -> Result<Outcome, StoredError>,
    ) -> Result<(), Error> {
        let mut all = self.write();
        let is_known = all.get(share).is_some_and(|share| share.members.contains_key(&client));
        if !is_known && member.is_none() {
            return Ok(());
        }
        let now = now()?;
        let known = all.entry(share.detached()).or_default();
        match member {
            Some(member) => known.members.insert(client, member),
            None => known.members.remove(&client),
        };
        known.change(share, now, store);
        if known.members.is_empty() {
            all.remove(share);
        }
        Ok(())
    }

    /// A client has come further, and what is stored of it, too.
    pub(super) fn came(&self, share: &Text, client: u64, cursor: u64) {
        let mut all = self.write();
        if let Some(member) = all.get_mut(share).and_then(|share| share.members.get_mut(&client)) {
            member.cursor = cursor;
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
        store: impl FnOnce(Vec<SideOp>) -> Result<Outcome, StoredError>,
    ) -> Result<(), Error> {
        let away = |cursor| Member { is_here: false, is_durable: true, cursor };
        let members = sessions.iter().map(|(client, cursor)| (*client, away(*cursor))).collect();
        let periods = stored_periods(system, &hash(share))?;
        let mut known =
            Share { members, periods, is_stored: true, has_rows: true, ..Share::default() };
        known.change(share, now, store);
        self.write().insert(share.detached(), known);
        Ok(())
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
    /// Begins a period, if others take part now, and has it stored.
    fn change(
        &mut self,
        share: &Text,
        now: Now,
        store: impl FnOnce(Vec<SideOp>) -> Result<Outcome, StoredError>,
    ) {
        let (hash, members) = (hash(share), self.active());
        let (mut past, is_new) = begin(&mut self.periods, now.last + 1, &members);
        if is_new {
            begin(&mut self.moments, now.version, &members);
            self.moments.drain(..self.moments.len().saturating_sub(MOMENTS_MAX));
        }
        past.extend(self.past());
        self.look_at_outcomes();
        let is_stored = self.members.values().any(|member| member.is_durable);
        let mut ops: Vec<_> = past.iter().map(|period| delete(&hash, period)).collect();
        match (self.is_stored, is_stored) {
            (_, false) => ops.extend(self.periods.iter().map(|period| delete(&hash, period))),
            (false, true) => ops.extend(self.periods.iter().map(|period| put(&hash, period))),
            (true, true) if is_new => {
                ops.extend(self.periods.back().map(|period| put(&hash, period)));
            }
            (true, true) => {}
        }
        if !ops.is_empty() && (is_stored || self.has_rows) {
            self.hand_over(is_stored, store(ops));
        }
    }

    /// Notes what is stored from now on.
    fn hand_over(&mut self, is_stored: bool, handed: Result<Outcome, StoredError>) {
        match handed {
            Ok(outcome) => {
                self.outcomes.push(outcome);
                (self.is_stored, self.has_rows) = (is_stored, is_stored);
            }
            Err(error) => {
                tracing::error!(%error, "who takes part in a shared subscription cannot be stored");
                (self.is_stored, self.has_rows) = (false, true);
            }
        }
    }

    /// Has everything stored again if something could not be.
    fn look_at_outcomes(&mut self) {
        let mut has_failed = false;
        self.outcomes.retain_mut(|outcome| match outcome.try_recv() {
            Err(TryRecvError::Empty) => true,
            Ok(Ok(())) => false,
            Ok(Err(_)) | Err(TryRecvError::Closed) => {
                has_failed = true;
                false
            }
        });
        if has_failed {
            (self.is_stored, self.has_rows) = (false, true);
        }
    }

    /// Who takes part now.
    fn active(&self) -> Arc<[u64]> {
        let is_anybody_here = self.members.values().any(|member| member.is_here);
        let active = self.members.iter().filter(|(_, member)| member.is_here == is_anybody_here);
        active.map(|(client, _)| *client).collect()
    }

    /// Takes out the periods to which nobody will come back, and the oldest where there are too many.
    fn past(&mut self) -> Vec<Period> {
        let behind = self.members.values().map(|member| member.cursor).min().unwrap_or(u64::MAX);
        let next = behind.saturating_add(1);
        let next = self.periods.partition_point(|period| period.from <= next);
        let mut past: Vec<_> = self.periods.drain(..next.saturating_sub(1)).collect();
        let mut entries: usize = self.periods.iter().map(|period| period.members.len()).sum();
        while self.periods.len() > PERIODS_MAX || entries > ENTRIES_MAX {
            let Some(oldest) = self.periods.pop_front() else { break };
            entries -= oldest.members.len();
            past.push(oldest);
        }
        past
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

/// Begins a period, unless the same take part as before; those that it replaces, and whether it has begun.
fn begin(periods: &mut VecDeque<Period>, from: u64, members: &Arc<[u64]>) -> (Vec<Period>, bool) {
    // nothing has been decided in one that begins at the same place; one that begins later is of a table that is gone
    let replaced = periods.partition_point(|period| period.from < from);
    let past: Vec<_> = periods.drain(replaced..).collect();
    let is_new = periods.back().is_none_or(|last| last.members != *members);
    if is_new {
        periods.push_back(Period { from, members: Arc::clone(members) });
    }
    (past, is_new)
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
    use tokio::sync::oneshot;

    const SHARE: &str = "$share/g/Dog/#";
    const FAR: u64 = 1 << 40;

    fn here(cursor: u64) -> Option<Member> {
        Some(Member { is_here: true, is_durable: false, cursor })
    }

    fn away(cursor: u64) -> Option<Member> {
        Some(Member { is_here: false, is_durable: true, cursor })
    }

    fn share() -> Text {
        Text::try_from(SHARE).unwrap()
    }

    /// What is to be stored of a change.
    fn set(shares: &Shares, client: u64, member: Option<Member>, last: u64) -> Vec<SideOp> {
        let now = || Ok(Now { last, version: last << 16 });
        let mut stored = Vec::new();
        let (done, outcome) = oneshot::channel();
        let store = |ops| {
            stored = ops;
            Ok(outcome)
        };
        shares.set(&share(), client, member, now, store).unwrap();
        let _ = done.send(Ok(()));
        stored
    }

    /// Which of some clients would take a message.
    fn takers(shares: &Shares, sequence: u64) -> Vec<u64> {
        let is_taker = |client: &u64| shares.is_chosen(&share(), *client, sequence, sequence << 16);
        (1..=4).filter(is_taker).collect()
    }

    fn periods(shares: &Shares) -> usize {
        shares.read()[&share()].periods.len()
    }

    #[test]
    fn a_message_is_one_clients_whoever_came_or_went_since() {
        let shares = Shares::default();
        set(&shares, 1, here(0), 0);
        set(&shares, 2, here(10), 10);
        let before: Vec<_> = (1..=20).map(|sequence| takers(&shares, sequence)).collect();
        assert!(before.iter().all(|takers| takers.len() == 1));
        assert!(
            before[..10].iter().all(|takers| takers == &[1]) && before[10..].contains(&vec![2])
        );
        set(&shares, 3, here(20), 20);
        // somebody who is late still comes to what was before
        set(&shares, 4, away(0), 25);
        set(&shares, 1, None, 30);
        let after: Vec<_> = (1..=20).map(|sequence| takers(&shares, sequence)).collect();
        assert_eq!(after, before);
        assert!((31..99).all(|sequence| matches!(takers(&shares, sequence)[..], [2 | 3])));
    }

    #[test]
    fn a_session_that_is_away_takes_part_while_nobody_is_there() {
        let shares = Shares::default();
        let durable = Member { is_here: true, is_durable: true, cursor: 0 };
        assert_eq!(set(&shares, 1, Some(durable), 0).len(), 1);
        // the same clients take part
        assert!(set(&shares, 1, away(5), 10).is_empty());
        assert_eq!(takers(&shares, 11), [1]);
        assert_eq!(set(&shares, 2, here(20), 20).len(), 1);
        assert!((21..40).all(|sequence| takers(&shares, sequence) == [2]));
        assert!((11..=20).all(|sequence| takers(&shares, sequence) == [1]));
    }

    #[test]
    fn periods_are_kept_while_somebody_may_come_back_to_them() {
        let shares = Shares::default();
        set(&shares, 1, away(0), 0);
        for last in (2..4 * PERIODS_MAX as u64).step_by(2) {
            set(&shares, 2, here(FAR), last);
            set(&shares, 3, here(FAR), last + 1);
            set(&shares, 3, None, last + 1);
        }
        assert!(periods(&shares) <= PERIODS_MAX);
        let changes = |shares: &Shares, last| {
            set(shares, 3, here(FAR), last);
            set(shares, 3, None, last + 1)
        };
        changes(&shares, 9000);
        assert_eq!(periods(&shares), 4);
        shares.came(&share(), 1, 9001);
        let ops = changes(&shares, 9010);
        assert_eq!((periods(&shares), ops.len()), (3, 1));
        // the last session is gone, and with it all that was stored
        let ops = set(&shares, 1, None, 9020);
        assert!(!ops.is_empty() && ops.iter().all(|op| matches!(op, SideOp::Delete { .. })));
        assert!(changes(&shares, 9030).is_empty());
    }

    #[test]
    fn what_could_not_be_stored_is_stored_with_the_next_change() {
        let shares = Shares::default();
        set(&shares, 1, away(0), 0);
        let refuse = |_| Err(StoredError::Store(Error::Stopped));
        let now = || Ok(Now { last: 10, version: 0 });
        shares.set(&share(), 2, here(10), now, refuse).unwrap();
        let (done, outcome) = oneshot::channel();
        let now = || Ok(Now { last: 20, version: 0 });
        let count = |ops: Vec<_>| {
            assert_eq!(ops.len(), 3);
            Ok(outcome)
        };
        shares.set(&share(), 3, here(20), now, count).unwrap();
        done.send(Err(Error::Stopped)).unwrap();
        assert_eq!(set(&shares, 4, here(30), 30).len(), 4);
        assert_eq!(set(&shares, 4, None, 40).len(), 1);
    }

    #[test]
    fn clients_of_a_share_are_bounded() {
        let shares = Shares::default();
        for client in 0..MEMBERS_MAX as u64 {
            assert!(shares.has_room(&share()));
            set(&shares, client, here(client), client);
        }
        assert!(!shares.has_room(&share()));
        let all = shares.read();
        let entries = all[&share()].periods.iter().map(|period| period.members.len());
        assert!(entries.sum::<usize>() <= ENTRIES_MAX);
    }
}
