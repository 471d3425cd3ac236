//! What one batch of the writer will tell the observer, gathered while it is applied.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{Ordering, fence};

use crate::ledger::Ledger;
use crate::observer::{Event, Interest, Observing, Reached, TableId};
use crate::writer::Request;

/// Gathers events; keeps its lists from one batch to the next.
pub(crate) struct Collector {
    observing: Observing,
    /// Number of the database.
    database: u32,
    /// The tables that the batch writes to, and what was wanted of each when it began.
    tables: Vec<(u32, Interest)>,
    events: Vec<Event>,
    bytes: usize,
    bytes_max: usize,
    /// Whether events were left out since there were too many.
    is_cut: bool,
}

/// A place among the events to go back to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Mark {
    events: usize,
    bytes: usize,
}

impl Collector {
    pub(crate) fn new(observing: Observing, database: u32) -> Collector {
        let (tables, events) = (Vec::new(), Vec::new());
        Collector { observing, database, tables, events, bytes: 0, bytes_max: 0, is_cut: false }
    }

    /// Forgets the last batch and asks what is wanted of the tables of this one. Of its events,
    /// about `bytes_max` are held.
    pub(crate) fn begin(&mut self, requests: &[Request], bytes_max: usize) {
        let Collector { observing, database, tables, .. } = self;
        let Some(observer) = &observing.0 else { return };
        tables.clear();
        for op in requests.iter().flat_map(|request| &request.transaction.ops) {
            let table = op.table().id();
            if tables.iter().all(|(known, _)| *known != table) {
                let id = TableId { database: *database, table };
                tables.push((table, observer.interest(id)));
            }
        }
        self.events.clear();
        (self.bytes, self.bytes_max, self.is_cut) = (0, bytes_max, false);
    }

    /// What was wanted of a table when the batch began.
    pub(crate) fn interest(&self, table: u32) -> Interest {
        let found = self.tables.iter().find(|(known, _)| *known == table);
        found.map_or(Interest::None, |(_, interest)| *interest)
    }

    /// Keeps an event, if its body is wanted and there is room.
    pub(crate) fn keep(&mut self, interest: Interest, event: impl FnOnce() -> Event) {
        if interest < Interest::Bodies || self.is_cut {
            return;
        }
        if self.bytes >= self.bytes_max {
            self.is_cut = true;
            return;
        }
        let event = event();
        self.bytes += event.bytes();
        self.events.push(event);
    }

    pub(crate) fn mark(&self) -> Mark {
        Mark { events: self.events.len(), bytes: self.bytes }
    }

    /// Forgets what was kept since the mark, as it was taken back.
    pub(crate) fn rewind(&mut self, mark: Mark) {
        self.events.truncate(mark.events);
        self.bytes = mark.bytes;
    }

    /// Tells what the batch did, once that is committed.
    pub(crate) fn tell(&mut self, ledger: &Ledger) {
        let Some(observer) = &self.observing.0 else { return };
        // Either a snapshot opened after registering sees the commit, or this sees the interest.
        fence(Ordering::SeqCst);
        let (mut reached, mut unwanted) = (Vec::new(), Vec::new());
        for (table, kept) in &self.tables {
            let id = TableId { database: self.database, table: *table };
            let wanted = observer.interest(id);
            let is_told = *kept >= Interest::Bodies && wanted >= Interest::Bodies;
            if *kept >= Interest::Bodies && !is_told {
                unwanted.push(id);
            }
            if wanted != Interest::None
                && (!is_told || self.is_cut)
                && let Some(sequence) = ledger.last_sequence(*table)
            {
                reached.push(Reached { table: id, sequence });
            }
        }
        let mut events = std::mem::take(&mut self.events);
        if !unwanted.is_empty() {
            events.retain(|event| !unwanted.contains(&event.table));
        }
        if events.is_empty() && reached.is_empty() {
            return;
        }
        let told = catch_unwind(AssertUnwindSafe(|| observer.committed(events, &reached)));
        if told.is_err() {
            tracing::error!("the observer of commits panicked");
        }
    }
}
