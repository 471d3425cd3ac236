//! Subscriptions: who hears of which change, on whatever protocol.
//!
//! A subscription is a cursor into a table's change log; being told of a commit is a short cut past reading it. The store's
//! writer hands each commit to the [`Hub`], which passes it to the workers that have subscribers of the table, over one
//! bounded inbox for each; a worker's [`Local`] finds the subscriptions by the record's key and puts the event into the
//! [`Outbox`] of their connections. Wherever there is no room, what is in the log is not lost: a subscription whose outbox
//! is full, or a worker's whole table when its inbox is, goes back to reading the log and is only late.
//!
//! How a protocol uses it: make an [`Outbox`] for a connection, make a [`Watch`] for each subscription (`TableResource::watch`
//! does, for the target of a URL), hand both to [`Local::subscribe`], keep the [`Subscription`] that it gives for as long as
//! it is wanted, and take [`Delivery`]s out with [`Outbox::next`]. What is encoded once for all subscribers alike,
//! [`Told::form`] keeps. Several subscriptions may share an outbox; their tags tell them apart. A message that need not
//! last goes to [`Local::publish`]; one that has to is an operation of the store.
//!
//! The hub knows no protocol, no query and no permission: a [`Lens`] stands for the last two.

mod filter;
mod follow;
mod inbox;
mod lens;
mod local;
mod outbox;
mod published;
mod subscription;
mod told;
mod tree;

pub(crate) use filter::{Filter, Pattern};
pub(crate) use lens::{Lens, Wanted};
pub(crate) use local::Local;
pub(crate) use outbox::{Delivery, End, Outbox, What};
pub(crate) use subscription::{Overflow, Start, Subscription, Watch};
pub(crate) use told::{Told, Way};

use arc_swap::ArcSwap;
use harper_store::{Event, Interest, Observer, Reached, TableId};
use inbox::{Batch, Inbox};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

/// The process's part: which workers, and who else, want to hear of a table.
#[derive(Default)]
pub(crate) struct Hub {
    listeners: ArcSwap<HashMap<TableId, Listeners>>,
    /// Held while the listeners are changed.
    changing: Mutex<()>,
    /// Open subscriptions of the process.
    subscriptions: AtomicUsize,
}

/// Who wants to hear of one table.
#[derive(Clone, Default)]
struct Listeners {
    inboxes: Vec<Arc<Inbox>>,
    /// How many want the log to keep every value.
    keepers: usize,
}

/// Has the log keep every value of a table, for as long as this lives: somebody who is away may come back for them.
pub(crate) struct Keeper {
    hub: Arc<Hub>,
    table: TableId,
}

impl Drop for Keeper {
    fn drop(&mut self) {
        self.hub.change(self.table, |listeners| listeners.keepers -= 1);
    }
}

impl Hub {
    /// Has the log keep every value of a table, also those that are replaced soon.
    #[must_use]
    pub(crate) fn keep(self: &Arc<Self>, table: TableId) -> Keeper {
        self.change(table, |listeners| listeners.keepers += 1);
        Keeper { hub: Arc::clone(self), table }
    }

    /// Tells `inbox` of a table from now on.
    fn listen(&self, table: TableId, inbox: &Arc<Inbox>) {
        self.change(table, |listeners| listeners.inboxes.push(Arc::clone(inbox)));
    }

    /// Tells it no more.
    fn forget(&self, table: TableId, inbox: &Arc<Inbox>) {
        self.change(table, |listeners| {
            listeners.inboxes.retain(|known| !Arc::ptr_eq(known, inbox))
        });
    }

    fn change(&self, table: TableId, change: impl FnOnce(&mut Listeners)) {
        let _guard = self.changing.lock().unwrap_or_else(PoisonError::into_inner);
        let mut all = HashMap::clone(&self.listeners.load());
        let listeners = all.entry(table).or_default();
        change(listeners);
        if listeners.inboxes.is_empty() && listeners.keepers == 0 {
            all.remove(&table);
        }
        self.listeners.store(Arc::new(all));
    }

    /// Whether another worker than `own` wants to hear of a table.
    fn is_heard_beside(&self, own: &Arc<Inbox>, table: TableId) -> bool {
        let listeners = self.listeners.load();
        let inboxes = listeners.get(&table).map(|listeners| &*listeners.inboxes);
        inboxes.unwrap_or_default().iter().any(|inbox| !Arc::ptr_eq(inbox, own))
    }

    /// Passes what one worker has published since `at` to the others.
    fn pass_on(&self, events: Vec<Arc<Event>>, at: Instant, own: &Arc<Inbox>) {
        let listeners = self.listeners.load();
        let inboxes = inboxes_of(&listeners, events.iter().map(|event| event.table));
        let batch = Arc::new(Batch::new(events, Vec::new(), at));
        for inbox in inboxes.into_iter().filter(|inbox| !Arc::ptr_eq(inbox, own)) {
            inbox.push(&batch);
        }
    }

    /// Takes the place of one subscription; false when `max` are open.
    fn begin_subscription(&self, max: usize) -> bool {
        let is_free = |open| (open < max).then_some(open + 1);
        self.subscriptions.fetch_update(Ordering::Relaxed, Ordering::Relaxed, is_free).is_ok()
    }

    fn end_subscription(&self) {
        self.subscriptions.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Observer for Hub {
    fn interest(&self, table: TableId) -> Interest {
        match self.listeners.load().get(&table) {
            None => Interest::None,
            Some(listeners) if listeners.keepers > 0 => Interest::Durable,
            Some(_) => Interest::Bodies,
        }
    }

    fn committed(&self, events: Vec<Event>, reached: &[Reached]) {
        let at = Instant::now();
        let listeners = self.listeners.load();
        let told = events.iter().map(|event| event.table);
        let tables = told.chain(reached.iter().map(|reached| reached.table));
        let inboxes = inboxes_of(&listeners, tables);
        if inboxes.is_empty() {
            return;
        }
        let events = events.into_iter().map(Arc::new).collect();
        let batch = Arc::new(Batch::new(events, reached.to_vec(), at));
        for inbox in inboxes {
            inbox.push(&batch);
        }
    }
}

/// The inboxes of those who want to hear of any of these tables, each once.
fn inboxes_of(
    listeners: &HashMap<TableId, Listeners>,
    of: impl Iterator<Item = TableId>,
) -> Vec<&Arc<Inbox>> {
    let mut tables: Vec<TableId> = Vec::new();
    for table in of {
        if tables.last() != Some(&table) && !tables.contains(&table) {
            tables.push(table);
        }
    }
    let mut inboxes: Vec<&Arc<Inbox>> = Vec::new();
    for Listeners { inboxes: more, .. } in tables.iter().filter_map(|id| listeners.get(id)) {
        for inbox in more {
            if !inboxes.iter().any(|known| Arc::ptr_eq(known, inbox)) {
                inboxes.push(inbox);
            }
        }
    }
    inboxes
}

#[cfg(test)]
mod tests;
