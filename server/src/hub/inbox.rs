//! What waits for one worker: commits from the writers of the databases, messages from other workers. Bounded in batches
//! and in bytes; what finds no room is lost here, and the worker is told that something was.

use crossbeam_channel::{Receiver, Sender, bounded};
use harper_store::{Event, Reached, TableId};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio::sync::Notify;

/// Batches that may wait.
const BATCHES_MAX: usize = 1024;
/// What a batch takes besides its events.
const BATCH_BYTES: usize = 128;

/// What was committed at once, or messages that a worker published in one turn.
pub(super) struct Batch {
    /// In the order in which they happened.
    pub(super) events: Vec<Arc<Event>>,
    /// How far tables have come of which not all is told.
    pub(super) reached: Vec<Reached>,
    /// When that was; of messages, when the first came.
    pub(super) at: Instant,
    bytes: usize,
}

/// The queue to one worker.
pub(super) struct Inbox {
    sender: Sender<Arc<Batch>>,
    receiver: Receiver<Arc<Batch>>,
    bytes: AtomicUsize,
    bytes_max: AtomicUsize,
    /// Whether something in the log was lost here.
    is_behind: AtomicBool,
    /// Messages in no log that were lost here.
    lost: AtomicU64,
    /// The tables of those that have to arrive.
    owed: Mutex<Vec<TableId>>,
    arrived: Notify,
}

/// What an inbox lost since it was last asked.
pub(super) struct Lost {
    /// Whether the log has to be looked at.
    pub(super) is_behind: bool,
    /// Messages that are gone.
    pub(super) messages: u64,
    /// The tables of those that have to arrive.
    pub(super) owed: Vec<TableId>,
}

impl Batch {
    pub(super) fn new(events: Vec<Arc<Event>>, reached: Vec<Reached>, at: Instant) -> Self {
        let bytes = BATCH_BYTES + events.iter().map(|event| event.bytes()).sum::<usize>();
        Self { events, reached, at, bytes }
    }
}

impl Inbox {
    pub(super) fn new(bytes_max: usize) -> Arc<Self> {
        let (sender, receiver) = bounded(BATCHES_MAX);
        Arc::new(Self {
            sender,
            receiver,
            bytes: AtomicUsize::new(0),
            bytes_max: AtomicUsize::new(bytes_max),
            is_behind: AtomicBool::new(false),
            lost: AtomicU64::new(0),
            owed: Mutex::default(),
            arrived: Notify::new(),
        })
    }

    /// Takes another limit from now on.
    pub(super) fn set_bytes_max(&self, bytes_max: usize) {
        self.bytes_max.store(bytes_max, Ordering::Relaxed);
    }

    /// Puts a batch in, or notes that it was lost.
    pub(super) fn push(&self, batch: &Arc<Batch>) {
        let before = self.bytes.fetch_add(batch.bytes, Ordering::Relaxed);
        let has_room = before + batch.bytes <= self.bytes_max.load(Ordering::Relaxed);
        if !has_room || self.sender.try_send(Arc::clone(batch)).is_err() {
            self.bytes.fetch_sub(batch.bytes, Ordering::Relaxed);
            self.lose(batch);
        }
        self.arrived.notify_one();
    }

    fn lose(&self, batch: &Batch) {
        // those that are in the log have a place there
        let messages = batch.events.iter().filter(|event| event.sequence == 0).count();
        self.lost.fetch_add(messages as u64, Ordering::Relaxed);
        for event in batch.events.iter().filter(|event| event.sequence == 0 && is_owed(event)) {
            let mut owed = lock(&self.owed);
            if !owed.contains(&event.table) {
                owed.push(event.table);
            }
        }
        if messages < batch.events.len() || !batch.reached.is_empty() {
            self.is_behind.store(true, Ordering::Release);
        }
    }

    /// Waits until something has come or was lost.
    pub(super) async fn arrived(&self) {
        self.arrived.notified().await;
    }

    /// Takes the next batch, if there is one.
    pub(super) fn take(&self) -> Option<Arc<Batch>> {
        let batch = self.receiver.try_recv().ok()?;
        self.bytes.fetch_sub(batch.bytes, Ordering::Relaxed);
        Some(batch)
    }

    /// What was lost since this was last asked.
    pub(super) fn take_lost(&self) -> Lost {
        Lost {
            is_behind: self.is_behind.swap(false, Ordering::Acquire),
            messages: self.lost.swap(0, Ordering::Relaxed),
            owed: std::mem::take(&mut *lock(&self.owed)),
        }
    }
}

/// Whether a message has to arrive where a subscription asks for that: what MQTT keeps with one begins with the quality of
/// service that it was published with.
pub(super) fn is_owed(event: &Event) -> bool {
    event.extra.first().is_some_and(|qos| *qos > 0)
}

fn lock(owed: &Mutex<Vec<TableId>>) -> MutexGuard<'_, Vec<TableId>> {
    owed.lock().unwrap_or_else(PoisonError::into_inner)
}
