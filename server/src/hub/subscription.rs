//! One subscription: what it watches, from where on, and where it stands.

use super::Keeper;
use super::filter::Filter;
use super::lens::Lens;
use super::local::{Feed, Local};
use super::outbox::Outbox;
use super::tree::Member;
use harper_store::{Database, Key, Query, Table};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// What is to be watched.
pub(crate) struct Watch {
    /// What the owner calls the subscription.
    pub tag: u64,
    /// The table.
    pub table: Table,
    /// Where it is kept.
    pub database: Arc<Database>,
    /// Which of its records.
    pub filter: Filter,
    /// What is told of them.
    pub lens: Rc<dyn Lens>,
    /// From where on.
    pub start: Start,
    /// How the records that are there are found: the conditions of the lens, so that an index helps. What it finds beyond
    /// the filter is left out.
    pub query: Query,
    /// What becomes of messages in no log that find no room, and have to arrive.
    pub overflow: Overflow,
}

/// From where on a subscription is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    /// What happens from now on.
    Now,
    /// The records that are there, then what happens.
    Current,
    /// What happened after a sequence number of the table, in the life of the database that has this epoch.
    After {
        /// [`Database::epoch`].
        epoch: u64,
        /// The last sequence number that is known.
        sequence: u64,
    },
    /// What happened at or after this time, in milliseconds since 1970.
    Since(u64),
    /// The last changes, at most this many, then what happens.
    Last(usize),
}

/// What becomes of a message that is in no log and finds the outbox full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// It is lost, and counted.
    Drop,
    /// The subscription ends.
    Disconnect,
}

/// An open subscription; dropped, it ends.
pub(crate) struct Subscription {
    pub(super) local: Rc<Local>,
    pub(super) feed: Rc<Feed>,
    pub(super) seat: Rc<Seat>,
}

impl Subscription {
    /// Another thing becomes of messages in no log that find no room.
    pub(crate) fn set_overflow(&self, overflow: Overflow) {
        let before = self.seat.overflow.replace(overflow);
        let is_reading = self.seat.mode.get() == Mode::Reading;
        if (before, overflow) == (Overflow::Drop, Overflow::Disconnect) && is_reading {
            self.seat.keeper.replace(Some(self.local.hub.keep(self.feed.id)));
            // from now on it misses nothing
            self.seat.was_live.set(true);
        }
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.local.leave(&self.feed, &self.seat);
    }
}

/// A subscription's place among those of its table.
pub(super) struct Seat {
    pub(super) tag: u64,
    pub(super) filter: Filter,
    pub(super) lens: Rc<dyn Lens>,
    pub(super) query: Query,
    pub(super) outbox: Rc<Outbox>,
    pub(super) overflow: Cell<Overflow>,
    pub(super) mode: Cell<Mode>,
    /// Whether it has been live.
    pub(super) was_live: Cell<bool>,
    /// Has messages go through the log while it reads that.
    pub(super) keeper: RefCell<Option<Keeper>>,
    /// Records that were told as they were after the cursor: what the log says of them up to there is known.
    pub(super) newer: RefCell<Newer>,
    /// The task that reads for it.
    pub(super) reading: RefCell<Option<AbortHandle>>,
    place: Cell<usize>,
}

/// Where a subscription stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// It is told of what happens, after this sequence number.
    Live(u64),
    /// It reads by itself.
    Reading,
    /// It is told nothing more.
    Ended,
}

/// Sequence numbers of records, by key.
#[derive(Default)]
pub(super) struct Newer {
    keys: HashMap<Key, u64>,
    last: u64,
}

/// Records beyond these are told again when they were changed while the records were read.
const NEWER_MAX: usize = 65_536;

impl Seat {
    pub(super) fn new(watch: Watch, outbox: &Rc<Outbox>) -> (Rc<Self>, Start) {
        let Watch { tag, table: _, database: _, filter, lens, start, query, overflow } = watch;
        let seat = Self {
            tag,
            filter,
            lens,
            query,
            outbox: Rc::clone(outbox),
            overflow: Cell::new(overflow),
            mode: Cell::new(Mode::Reading),
            was_live: Cell::new(false),
            keeper: RefCell::default(),
            newer: RefCell::default(),
            reading: RefCell::default(),
            place: Cell::new(0),
        };
        (Rc::new(seat), start)
    }

    /// Whether a change of the log is known already.
    pub(super) fn knows(&self, key: &Key, sequence: u64) -> bool {
        let mut newer = self.newer.borrow_mut();
        if newer.last == 0 {
            return false;
        }
        if sequence > newer.last {
            *newer = Newer::default();
            return false;
        }
        newer.keys.get(key).is_some_and(|known| sequence <= *known)
    }

    /// It is told of what happens from now on.
    pub(super) fn live(&self, after: u64) {
        self.mode.set(Mode::Live(after));
        self.was_live.set(true);
        self.keeper.take();
    }

    /// Ends what it reads.
    pub(super) fn stop_reading(&self) {
        self.keeper.take();
        if let Some(task) = self.reading.take() {
            task.abort();
        }
    }
}

impl Newer {
    /// Notes a record that was told.
    pub(super) fn note(&mut self, key: &Key, sequence: u64) {
        if self.keys.len() < NEWER_MAX {
            self.keys.insert(key.clone(), sequence);
            self.last = self.last.max(sequence);
        }
    }
}

impl Member for Seat {
    fn place(&self) -> &Cell<usize> {
        &self.place
    }
}
