//! What is told of commits to whoever opened the store, so that it can tell subscribers.
//!
//! A subscription is a cursor into a table's change log; being told is a short cut past reading it.
//! The rule that loses nothing: the subscriber registers its interest, then opens a snapshot with
//! [`Database::read_registered`](crate::Database::read_registered) and notes the table's last
//! sequence number; the writer asks for the interest after it has committed. What the snapshot does
//! not hold is told, as an [`Event`] or as a [`Reached`] that the subscriber reads from the log.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;

use crate::hlc;
use crate::key::Key;

/// A table among all tables that this process has opened; cheap to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TableId {
    /// Number of the database in this process.
    pub database: u32,
    /// Number of the table in its database.
    pub table: u32,
}

/// One committed change, or one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The table.
    pub table: TableId,
    /// Sequence number within the table, counted from 1 without gaps.
    pub sequence: u64,
    /// Version given to the record, to its deletion, or to the message.
    pub version: u64,
    /// Number of the node that wrote; 0: this one.
    pub origin: u32,
    /// What was done.
    pub operation: Operation,
    /// The record's key, or where the message belongs.
    pub key: Key,
    /// The record as compact JSON, key and timestamps included; the bytes of a message; `None` for
    /// a deletion.
    pub body: Option<Bytes>,
    /// Whether the record is bytes that were stored as they came, as in
    /// [`Meta::is_content`](crate::Meta::is_content).
    pub is_content: bool,
    /// When the record or the message expires, in milliseconds since 1970; 0: never.
    pub expires_ms: u64,
    /// What whoever wrote it told beside it, in an encoding of its own.
    pub extra: Bytes,
}

/// What a write did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// The record was created or changed.
    Put,
    /// The record was deleted.
    Delete,
    /// A message was published; no record changed.
    Message,
}

/// How much of a table's commits an observer wants to be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Interest {
    /// Nothing.
    None,
    /// Only how far the log has come.
    Notice,
    /// Every change with its body.
    Bodies,
    /// That, and the log shall keep each body, so that one who comes back later still finds values
    /// that were replaced meanwhile.
    Durable,
}

/// How far a table's log has come, where not every event up to there was told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Reached {
    /// The table.
    pub table: TableId,
    /// Its last sequence number.
    pub sequence: u64,
}

/// Is told of commits, on the writer's thread of each database: the methods must be quick and
/// never wait for a write.
pub trait Observer: Send + Sync {
    /// What is wanted of a table now. Asked before each commit that writes to it, since bodies are
    /// kept for those alone who want them by then, and again afterwards.
    fn interest(&self, table: TableId) -> Interest;

    /// Tells what one commit did, before those who wrote are answered. The events of a table come
    /// in the order of their sequence numbers; a table in `reached` has more than was told.
    fn committed(&self, events: Vec<Event>, reached: &[Reached]);
}

/// Whom a store tells, if anyone.
#[derive(Clone, Default)]
pub struct Observing(pub(crate) Option<Arc<dyn Observer>>);

impl Observing {
    /// One who is told.
    pub fn by(observer: Arc<dyn Observer>) -> Observing {
        Observing(Some(observer))
    }
}

impl fmt::Debug for Observing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Observing").field(&self.0.is_some()).finish()
    }
}

impl Event {
    /// When it was written by the clock of the log, in milliseconds since 1970; never less than
    /// for the event before.
    pub fn time_ms(&self) -> u64 {
        hlc::ms(self.version)
    }

    /// Memory that it takes, about.
    pub fn bytes(&self) -> usize {
        let body = self.body.as_ref().map_or(0, Bytes::len);
        size_of::<Event>() + self.key.as_bytes().len() + body + self.extra.len()
    }
}
