//! What one worker has published and others have not been told of. They are told when the tasks that are ready have had their turn: one
//! batch, and one waking, for all that these publish.

use harper_store::Event;
use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;

/// Messages that may wait: whoever gets them has them all at once.
const MESSAGES_MAX: usize = 64;
/// Bytes that may wait; a larger message goes alone.
const BYTES_MAX: usize = 32 * 1024;

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
    /// Whether a message may still wait with the others.
    pub(super) fn has_room_for(&self, event: &Event) -> bool {
        let waiting = self.events.borrow().len();
        waiting == 0 || waiting < MESSAGES_MAX && self.bytes.get() + event.bytes() <= BYTES_MAX
    }

    /// Adds a message.
    pub(super) fn add(&self, event: Arc<Event>, at: Instant) {
        if self.since.get().is_none() {
            self.since.set(Some(at));
            self.begun.notify_one();
        }
        self.bytes.set(self.bytes.get() + event.bytes());
        self.events.borrow_mut().push(event);
    }

    /// Takes them all, and since when they have waited; none when there are none.
    pub(super) fn take(&self) -> Option<(Vec<Arc<Event>>, Instant)> {
        let since = self.since.take()?;
        self.bytes.set(0);
        Some((self.events.take(), since))
    }
}
