//! A worker's part: its subscriptions by table and key, and the task that tells them what has come.

use super::inbox::{Batch, Inbox, is_owed};
use super::lens::Wanted;
use super::outbox::{Delivery, End, Outbox, What};
use super::published::Published;
use super::subscription::{Mode, Overflow, Seat, Subscription, Watch};
use super::told::{HeldTotal, Told, Way};
use super::tree::Tree;
use super::{Hub, follow};
use crate::auth::authority::Authority;
use crate::error::{Answer, Code, Failure};
use crate::metrics::{CatchUp, Dropped, Rejected, WorkerMetrics};
use crate::pool::Pool;
use futures_util::future::join;
use harper_config::Realtime;
use harper_store::{Database, Event, Table, TableId};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;
use tokio::task::spawn_local;

/// Events that are told before other tasks of the worker have their turn, but for the rest of a batch.
const TURN_EVENTS: usize = 64;

/// The subscriptions of one worker.
pub(crate) struct Local {
    pub(super) hub: Arc<Hub>,
    inbox: Arc<Inbox>,
    published: Published,
    pub(super) pool: Pool,
    pub(super) metrics: Arc<WorkerMetrics>,
    authority: Arc<Authority>,
    /// The generation of users and roles with which rights were last looked at.
    generation: Cell<u64>,
    limits: Cell<Realtime>,
    feeds: RefCell<HashMap<TableId, Rc<Feed>>>,
    /// Outboxes whose connections have to be woken.
    touched: RefCell<Vec<Rc<Outbox>>>,
    pub(super) held: HeldTotal,
    /// Why new subscriptions end at once.
    ending: Cell<Option<End>>,
}

/// The subscriptions of one table. They share a place in its log.
pub(super) struct Feed {
    pub(super) id: TableId,
    pub(super) table: Table,
    pub(super) database: Arc<Database>,
    seats: RefCell<Tree<Seat>>,
    /// Sequence number up to which the live subscriptions have been told.
    pub(super) position: Cell<u64>,
    /// Up to where the log is known to go.
    pub(super) known: Cell<u64>,
    /// Whether a task reads the log for all of them.
    pub(super) is_reading: Cell<bool>,
}

impl Local {
    /// A worker's subscriptions: none yet. [`Local::run`] has to be spawned.
    #[must_use]
    pub(crate) fn new(
        hub: Arc<Hub>,
        pool: Pool,
        metrics: Arc<WorkerMetrics>,
        authority: Arc<Authority>,
        limits: Realtime,
    ) -> Rc<Self> {
        Rc::new(Self {
            hub,
            inbox: Inbox::new(limits.inbox_bytes_max),
            published: Published::default(),
            pool,
            metrics,
            generation: Cell::new(authority.users.generation()),
            authority,
            limits: Cell::new(limits),
            feeds: RefCell::default(),
            touched: RefCell::default(),
            held: HeldTotal::default(),
            ending: Cell::new(None),
        })
    }

    /// Tells the subscriptions what arrives, and other workers what is published here; never returns.
    pub(crate) async fn run(self: Rc<Self>) {
        join(self.hear(), self.speak()).await;
    }

    async fn speak(&self) {
        loop {
            self.published.begun.notified().await;
            self.pass_on();
        }
    }

    async fn hear(self: &Rc<Self>) {
        loop {
            self.inbox.arrived().await;
            let mut told = 0;
            while let Some(batch) = self.inbox.take() {
                self.tell_batch(&batch);
                told += batch.events.len().max(1);
                if told >= TURN_EVENTS {
                    told = 0;
                    self.wake();
                    tokio::task::yield_now().await;
                }
            }
            let lost = self.inbox.take_lost();
            self.metrics.realtime.dropped(Dropped::Inbox, lost.messages);
            if lost.is_behind {
                self.feeds().iter().for_each(|feed| self.read_on(feed));
            }
            for table in lost.owed {
                let feed = self.feeds.borrow().get(&table).cloned();
                feed.iter().for_each(|feed| feed.each(|seat| self.owe(seat)));
            }
            self.wake();
        }
    }

    /// Takes other limits from now on.
    pub(crate) fn configure(&self, limits: Realtime) {
        self.limits.set(limits);
        self.inbox.set_bytes_max(limits.inbox_bytes_max);
    }

    /// An outbox for a connection of this worker.
    #[must_use]
    pub(crate) fn outbox(&self, protocol: crate::metrics::Protocol) -> Rc<Outbox> {
        Outbox::new(protocol, self.limits.get().outbox_bytes_max, Arc::clone(&self.metrics))
    }

    /// Subscribes; what there is to tell goes to `outbox`.
    ///
    /// # Errors
    /// 503 when `realtime.subscriptionsMax` are open, 500 when the table cannot be read.
    pub(crate) fn subscribe(
        self: &Rc<Self>,
        outbox: &Rc<Outbox>,
        watch: Watch,
    ) -> Answer<Subscription> {
        let max = self.limits.get().subscriptions_max;
        if !self.hub.begin_subscription(max) {
            self.metrics.rejected(Rejected::Subscriptions);
            let sentence = format!("More than {max} subscriptions are open; try again");
            return Err(Failure::new(Code::Overloaded, sentence));
        }
        let opened = self.feed(&watch.table, &watch.database);
        let feed = opened.inspect_err(|_| self.hub.end_subscription())?;
        let (seat, start) = Seat::new(watch, outbox);
        self.metrics.realtime.subscribed(outbox.protocol, 1);
        feed.seats.borrow_mut().insert(&seat.filter, Rc::clone(&seat));
        match self.ending.get() {
            Some(end) => self.end(&seat, end),
            None => follow::begin(self, &feed, &seat, start),
        }
        self.wake();
        Ok(Subscription { local: Rc::clone(self), feed, seat })
    }

    /// Tells everybody who listens now of a message that is in no log. Its sequence number is 0.
    pub(crate) fn publish(self: &Rc<Self>, event: Event) {
        debug_assert_eq!(event.sequence, 0, "what is in the log is told by the store");
        self.check_rights();
        let (event, at) = (Arc::new(event), Instant::now());
        if self.hub.is_heard_beside(&self.inbox, event.table) {
            if !self.published.has_room_for(&event) {
                self.pass_on();
            }
            self.published.add(Arc::clone(&event), at);
        }
        let feed = self.feeds.borrow().get(&event.table).cloned();
        if let Some(feed) = feed {
            self.tell(&feed, event, Some(at));
            self.wake();
        }
    }

    /// Tells the other workers what was published here. Whoever writes something that has to come after it calls this before.
    pub(crate) fn pass_on(&self) {
        if let Some((events, since)) = self.published.take() {
            self.hub.pass_on(events, since, &self.inbox);
        }
    }

    /// Ends all subscriptions, and those to come.
    pub(crate) fn end_all(&self, end: End) {
        self.ending.set(Some(end));
        for feed in self.feeds() {
            feed.each(|seat| self.end(seat, end));
        }
        self.wake();
    }

    /// Lets subscriptions be opened again.
    pub(crate) fn reopen(&self) {
        self.ending.set(None);
    }

    /// Ends the subscriptions of those who have lost their rights. To be called now and then; before anything is told, it
    /// is called in any case.
    pub(crate) fn check_rights(&self) {
        let generation = self.authority.users.generation();
        if self.generation.replace(generation) == generation {
            return;
        }
        for feed in self.feeds() {
            feed.each(|seat| {
                if seat.mode.get() != Mode::Ended && !seat.lens.may_go_on() {
                    self.end(seat, End::Rights);
                }
            });
        }
        self.wake();
    }

    /// Whether this worker holds as many bytes of events as it may.
    pub(super) fn is_full(&self) -> bool {
        self.held.get() > self.limits.get().held_bytes_max
    }

    /// Wakes the connections that have something to take.
    pub(super) fn wake(&self) {
        for outbox in self.touched.borrow_mut().drain(..) {
            outbox.wake();
        }
    }

    /// Puts something into a subscription's outbox.
    pub(super) fn put(&self, seat: &Seat, what: What) {
        if seat.outbox.put(Delivery { tag: seat.tag, what }) {
            self.touched.borrow_mut().push(Rc::clone(&seat.outbox));
        }
    }

    /// Ends one subscription, with the reason as its last word.
    pub(super) fn end(&self, seat: &Seat, end: End) {
        if seat.mode.replace(Mode::Ended) != Mode::Ended {
            seat.stop_reading();
            self.put(seat, What::End(end));
        }
    }

    /// The feed of a table, begun if need be.
    fn feed(&self, table: &Table, database: &Arc<Database>) -> Answer<Rc<Feed>> {
        let id = table.identity();
        if let Some(feed) = self.feeds.borrow().get(&id) {
            return Ok(Rc::clone(feed));
        }
        // first the interest, then the look: what is committed after the look is told
        self.hub.listen(id, &self.inbox);
        let looked = database.read_registered().and_then(|txn| table.last_sequence(&txn));
        let last = looked.map_err(|error| {
            self.hub.forget(id, &self.inbox);
            Failure::internal("a subscription could not be opened", &error)
        })?;
        let feed = Rc::new(Feed {
            id,
            table: table.clone(),
            database: Arc::clone(database),
            seats: RefCell::default(),
            position: Cell::new(last),
            known: Cell::new(last),
            is_reading: Cell::new(false),
        });
        self.feeds.borrow_mut().insert(id, Rc::clone(&feed));
        Ok(feed)
    }

    /// Gives up a subscription's seat.
    pub(super) fn leave(&self, feed: &Rc<Feed>, seat: &Seat) {
        seat.mode.set(Mode::Ended);
        seat.stop_reading();
        self.hub.end_subscription();
        self.metrics.realtime.subscribed(seat.outbox.protocol, -1);
        let is_empty = {
            let mut seats = feed.seats.borrow_mut();
            seats.remove(&seat.filter, seat);
            seats.len() == 0
        };
        if is_empty {
            self.feeds.borrow_mut().remove(&feed.id);
            self.hub.forget(feed.id, &self.inbox);
        }
    }

    fn feeds(&self) -> Vec<Rc<Feed>> {
        self.feeds.borrow().values().cloned().collect()
    }

    fn tell_batch(self: &Rc<Self>, batch: &Batch) {
        self.check_rights();
        let mut feed: Option<Rc<Feed>> = None;
        for event in &batch.events {
            if feed.as_ref().is_none_or(|feed| feed.id != event.table) {
                feed = self.feeds.borrow().get(&event.table).cloned();
            }
            let Some(feed) = &feed else { continue };
            if event.sequence == 0 || feed.follows(event.sequence) {
                self.tell(feed, Arc::clone(event), Some(batch.at));
            } else if feed.known.get() > feed.position.get() {
                self.read_on(feed);
            }
        }
        for reached in &batch.reached {
            let feed = self.feeds.borrow().get(&reached.table).cloned();
            let Some(feed) = feed else { continue };
            feed.known.set(feed.known.get().max(reached.sequence));
            if feed.known.get() > feed.position.get() {
                self.read_on(&feed);
            }
        }
    }

    /// Has the log read for all of a table, unless that is being done.
    fn read_on(self: &Rc<Self>, feed: &Rc<Feed>) {
        if !feed.is_reading.replace(true) {
            self.metrics.realtime.caught_up(CatchUp::Table);
            spawn_local(follow::feed(Rc::clone(self), Rc::clone(feed)));
        }
    }

    /// Tells the live subscriptions of a table.
    pub(super) fn tell(
        self: &Rc<Self>,
        feed: &Rc<Feed>,
        event: Arc<Event>,
        committed: Option<Instant>,
    ) {
        let told = Told::new(event, committed, &self.held);
        let seats = feed.seats.borrow();
        seats.each_match(&told.event.key, &mut |seat| self.offer(feed, seat, &told));
    }

    /// Tells one subscription, if it is live. One whose outbox is full goes back to the log.
    fn offer(self: &Rc<Self>, feed: &Rc<Feed>, seat: &Rc<Seat>, told: &Rc<Told>) {
        let sequence = told.event.sequence;
        match seat.mode.get() {
            Mode::Live(after) if sequence == 0 || sequence > after => {}
            Mode::Reading if sequence == 0 => {
                self.metrics.realtime.dropped(Dropped::Reading, 1);
                // what came before it began to listen it may miss
                if seat.was_live.get() && is_owed(&told.event) {
                    self.owe(seat);
                }
                return;
            }
            Mode::Live(_) | Mode::Reading | Mode::Ended => return,
        }
        let outbox = &seat.outbox;
        if outbox.has_room_for(told.bytes()) && (outbox.is_empty() || !self.is_full()) {
            self.select(seat, told, Way::Change);
        } else if sequence != 0 {
            self.metrics.realtime.caught_up(CatchUp::Subscription);
            follow::from_log(self, feed, seat, sequence - 1);
        } else {
            self.metrics.realtime.dropped(Dropped::Outbox, 1);
            if is_owed(&told.event) {
                self.owe(seat);
            }
        }
    }

    /// A message could not be told: who must not miss one is ended, and begins anew.
    fn owe(&self, seat: &Seat) {
        if seat.overflow.get() == Overflow::Disconnect {
            self.end(seat, End::TooSlow);
        }
    }

    /// Puts an event into a subscription's outbox, if the subscription wants it.
    pub(super) fn select(&self, seat: &Seat, told: &Rc<Told>, way: Way) {
        let (key, sequence) = (&told.event.key, told.event.sequence);
        if way == Way::Change && sequence != 0 && seat.knows(key, sequence) {
            return;
        }
        let way = match seat.lens.wants(&told.event) {
            Wanted::Yes => way,
            Wanted::No => return,
            Wanted::Gone => Way::Gone,
        };
        self.put(seat, What::Told(Rc::clone(told), way));
    }
}

/// What was published is passed on, though the worker ends.
impl Drop for Local {
    fn drop(&mut self) {
        self.pass_on();
    }
}

impl Feed {
    /// Takes the next place in the log; false when that is not the next, or the log is being read.
    fn follows(&self, sequence: u64) -> bool {
        self.known.set(self.known.get().max(sequence));
        let is_next = !self.is_reading.get() && sequence == self.position.get() + 1;
        if is_next {
            self.position.set(sequence);
        }
        is_next
    }

    /// Hands every subscription to `visit`.
    pub(super) fn each(&self, mut visit: impl FnMut(&Rc<Seat>)) {
        self.seats.borrow().each(&mut visit);
    }

    /// Whether nobody is left.
    pub(super) fn is_deserted(&self) -> bool {
        self.seats.borrow().len() == 0
    }
}
