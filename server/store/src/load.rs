//! The bytes that wait for a writer: bodies and keys of the requests that have no answer yet.

use std::mem::size_of;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::side::{SideOp, Transaction};
use crate::writer::Op;

/// Bytes held at the moment, shared by all who submit.
#[derive(Debug, Default)]
pub(crate) struct Load(Arc<AtomicUsize>);

/// The bytes of one request, given back when this is dropped.
#[derive(Debug)]
pub(crate) struct Held {
    bytes: usize,
    total: Arc<AtomicUsize>,
}

impl Load {
    pub(crate) fn bytes(&self) -> usize {
        self.0.load(Ordering::Relaxed)
    }

    /// Takes room for a request. `None` when it would make more than `bytes_max`, unless it is the
    /// only one: what is too large for the limit waits for no one.
    pub(crate) fn hold(&self, bytes: usize, bytes_max: usize) -> Option<Held> {
        let admit = |held: usize| {
            let sum = held.saturating_add(bytes);
            (held == 0 || sum <= bytes_max).then_some(sum)
        };
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, admit).ok()?;
        Some(Held { bytes, total: self.0.clone() })
    }
}

impl Held {
    pub(crate) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// Memory that a transaction takes while it waits.
pub(crate) fn bytes(transaction: &Transaction) -> usize {
    let one = |op: &Op| match op {
        Op::Put { key, body, .. } | Op::Patch { key, body, .. } => {
            key.as_bytes().len() + body.bytes()
        }
        Op::Insert { key, body, .. } => {
            key.as_ref().map_or(0, |key| key.as_bytes().len()) + body.bytes()
        }
        Op::Message { key, message, .. } => {
            key.as_bytes().len() + message.body.len() + message.extra.len()
        }
        Op::Delete { key, extra, .. } => key.as_bytes().len() + extra.len(),
        Op::Expire { key, .. } => key.as_bytes().len(),
    };
    let Transaction { ops, side } = transaction;
    let ops: usize = ops.iter().map(|op| size_of::<Op>() + one(op)).sum();
    ops + side.iter().map(|op| size_of::<SideOp>() + op.bytes()).sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_held_within_the_limit_or_alone() {
        let load = Load::default();
        let first = load.hold(60, 100).unwrap();
        assert!(load.hold(41, 100).is_none());
        let second = load.hold(40, 100).unwrap();
        drop(first);
        drop(second);
        let large = load.hold(101, 100).unwrap();
        assert!(load.hold(1, 100).is_none());
        drop(large);
        assert!(load.hold(100, 100).is_some());
    }
}
