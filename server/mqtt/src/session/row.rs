//! What is stored of QoS 2 messages that go, and what is made of it after a crash. The module above says when.

use crate::basic::PacketId;
use std::collections::HashMap;

/// How far a message has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// PUBLISH was sent.
    Sent,
    /// PUBREC has come; PUBREL was, or is being, sent. The message itself is not needed any more.
    Released,
}

/// A QoS 2 message in storage; `P` is its place in a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row<P> {
    /// Where the message is.
    pub place: P,
    /// Its identifier.
    pub id: PacketId,
    /// Its place among all messages of the session: of two with one identifier, the earlier is done.
    pub turn: u64,
    /// How far it has come.
    pub phase: Phase,
}

/// What the rows of a session tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recovered<P> {
    /// To be sent again, in this order.
    pub unanswered: Vec<Row<P>>,
    /// Places of messages that are done, although they follow the cursor.
    pub done: Vec<P>,
}

/// Tells what is to be done of what is done.
#[must_use]
pub fn recover<P: Copy>(mut rows: Vec<Row<P>>) -> Recovered<P> {
    rows.sort_unstable_by_key(|row| row.turn);
    let latest: HashMap<PacketId, u64> = rows.iter().map(|row| (row.id, row.turn)).collect();
    let (unanswered, done): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| latest.get(&row.id) == Some(&row.turn));
    Recovered { unanswered, done: done.into_iter().map(|row| row.place).collect() }
}
