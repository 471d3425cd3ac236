//! What one worker has published and others have not been told of. They are told when the tasks that are ready have had their turn: one
//! batch, and one waking, for all that these publish.

use harper_store::Event;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

/// Messages that may wait.
const MESSAGES_MAX: usize = 256;
/// Bytes that may wait, but for the last message.
const BYTES_MAX: usize = 64 * 1024;

/// Messages that wait to be passed on together.
#[derive(Default)]
pub(super) struct Published {
    /// In the order in which they came.
    events: RefCell<Vec<Arc<Event>>>,
    bytes: Cell<usize>,
    /// When the first of them came.
    since: Cell<Option<Instant>>,
    /// Told when the first comes.
    pub(super) begun: Notify,
}

impl Published {
    /// Adds a message; whether those that wait are so many that they should go at once.
    pub(super) fn add(&self, event: Arc<Event>, at: Instant) -> bool {
        if self.since.get().is_none() {
            self.since.set(Some(at));
            self.begun.notify_one();
        }
        self.bytes.set(self.bytes.get() + event.bytes());
        let mut events = self.events.borrow_mut();
        events.push(event);
        events.len() >= MESSAGES_MAX || self.bytes.get() >= BYTES_MAX
    }

    /// Takes them all, and since when they have waited; none when there are none.
    pub(super) fn take(&self) -> Option<(Vec<Arc<Event>>, Instant)> {
        let since = self.since.take()?;
        self.bytes.set(0);
        Some((self.events.take(), since))
    }
}
