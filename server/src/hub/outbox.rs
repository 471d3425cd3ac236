//! What waits for one connection, bounded in bytes. Its subscriptions put in, the connection takes out.
//!
//! A full outbox loses no change that is in the log: the subscription that found no room goes back to reading the log
//! once there is some. What is in no log is lost then, and counted.

use super::told::{Told, Way};
use crate::metrics::{Protocol, WorkerMetrics};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
#[cfg(test)]
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

/// What an entry takes besides the bytes of its event.
const ENTRY_BYTES: usize = 64;

/// Something for a subscriber.
#[derive(Clone)]
pub(crate) struct Delivery {
    /// The subscription's number, as its owner gave it.
    pub tag: u64,
    /// What it is told.
    pub what: What,
}

/// What a subscriber is told.
#[derive(Clone)]
pub(crate) enum What {
    /// A record that is there, a change, or a message.
    Told(Rc<Told>, Way),
    /// The records that were there have all been told; changes after this sequence number follow.
    Complete(u64),
    /// The log does not reach back to where the subscriber was: what it knows is worth nothing. The records that are there
    /// follow.
    Reset,
    /// Nothing more will come.
    End(End),
}

/// Why a subscription ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum End {
    /// The subscriber may not read this any more, or not all of it.
    Rights,
    /// The process stops, or this worker does; others serve on.
    Stopping,
    /// The records could not be read.
    Failed,
    /// What is in no log came faster than it was taken, and the subscriber would rather end than miss it.
    TooSlow,
}

/// The queue between the subscriptions of a connection and the connection.
pub(crate) struct Outbox {
    /// Whom the connection speaks.
    pub protocol: Protocol,
    bytes_max: usize,
    queue: RefCell<VecDeque<Delivery>>,
    bytes: Cell<usize>,
    waker: RefCell<Option<Waker>>,
    /// Whether something came in since the connection was last woken.
    is_touched: Cell<bool>,
    room: Notify,
    /// Who reads for a subscription takes it: one at a time fills what room there is.
    turn: Semaphore,
    metrics: Arc<WorkerMetrics>,
}

impl Outbox {
    /// An empty outbox that holds `bytes_max`, and always one entry.
    #[must_use]
    pub(crate) fn new(
        protocol: Protocol,
        bytes_max: usize,
        metrics: Arc<WorkerMetrics>,
    ) -> Rc<Self> {
        Rc::new(Self {
            protocol,
            bytes_max,
            queue: RefCell::default(),
            bytes: Cell::new(0),
            waker: RefCell::default(),
            is_touched: Cell::new(false),
            room: Notify::new(),
            turn: Semaphore::new(1),
            metrics,
        })
    }

    /// Takes the next entry; waits for one.
    #[cfg(test)]
    pub(crate) async fn next(&self) -> Delivery {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// Takes the next entry, or has the task woken when there is one.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Delivery> {
        if let Some(delivery) = self.take() {
            return Poll::Ready(delivery);
        }
        let mut waker = self.waker.borrow_mut();
        if waker.as_ref().is_none_or(|known| !known.will_wake(cx.waker())) {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Takes the next entry, if there is one.
    pub(crate) fn take(&self) -> Option<Delivery> {
        let delivery = self.queue.borrow_mut().pop_front()?;
        let before = self.bytes.get();
        let after = before - delivery.bytes();
        self.bytes.set(after);
        let half = self.bytes_max / 2;
        if after == 0 || (before > half && after <= half) {
            self.room.notify_waiters();
        }
        if let What::Told(told, _) = &delivery.what {
            self.metrics.realtime.delivered(self.protocol, told.latency());
        }
        Some(delivery)
    }

    /// Whether there is room for an event of this size; an empty outbox has room for any.
    pub(super) fn has_room_for(&self, bytes: usize) -> bool {
        self.bytes.get() + bytes + ENTRY_BYTES <= self.bytes_max || self.is_empty()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.borrow().is_empty()
    }

    /// Puts an entry in, room or not. The connection is woken by [`Outbox::wake`]; true when it has not been yet.
    pub(super) fn put(&self, delivery: Delivery) -> bool {
        let bytes = self.bytes.get() + delivery.bytes();
        self.bytes.set(bytes);
        self.metrics.realtime.held(bytes);
        self.queue.borrow_mut().push_back(delivery);
        !self.is_touched.replace(true)
    }

    /// Tells the connection that there is something.
    pub(super) fn wake(&self) {
        self.is_touched.set(false);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Bytes that it holds at most, but for a single entry.
    pub(super) fn bytes_max(&self) -> usize {
        self.bytes_max
    }

    /// Waits until half of the outbox is free, or all of it while `is_full` says that others hold too much. Until what is
    /// given is dropped, nobody else fills the room.
    pub(super) async fn room(&self, is_full: impl Fn() -> bool) -> Option<SemaphorePermit<'_>> {
        // it is never closed
        let turn = self.turn.acquire().await.ok();
        // nothing is taken between the look and the wait: this is the only thread
        while self.bytes.get() > if is_full() { 0 } else { self.bytes_max / 2 } {
            self.room.notified().await;
        }
        turn
    }
}

impl Delivery {
    fn bytes(&self) -> usize {
        ENTRY_BYTES
            + match &self.what {
                What::Told(told, _) => told.bytes(),
                What::Complete(_) | What::Reset | What::End(_) => 0,
            }
    }
}
