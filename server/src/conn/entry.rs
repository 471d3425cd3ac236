//! The entry of HTTP/1: a second reader of the framing, between the socket and hyper.
//!
//! hyper parses requests; where RFC 9112 lets a recipient be lenient, it is, and a proxy in front of it may have read
//! the same bytes in another way. So every byte passes here first, and what is ambiguous or malformed never reaches
//! hyper. In its place hyper gets a request that it can read, and the chain answers that one with the
//! [`Refusal`]: in its turn, with a log line and counted like any other.
//!
//! This file does no I/O. It keeps bytes only while a head is incomplete, never more than `head_bytes_max` and one read.

mod chunks;
#[cfg(any(test, fuzzing))]
pub(super) mod fuzz;
mod head;
mod refusal;

pub(super) use head::is_host;
pub(crate) use refusal::Refusal;

use chunks::Chunks;
use head::{Framing, Head};

/// Reads the framing of one connection's requests.
pub(crate) struct Entry {
    expected: Expected,
    head_bytes_max: usize,
    /// Heads handed on, the stand-in for a refused one included.
    heads: u64,
    refused: Option<(u64, Refusal)>,
    broken: Option<Refusal>,
    /// An incomplete head.
    held: Vec<u8>,
    /// Bytes to be handed on before any others; those before `ready_from` have been.
    ready: Vec<u8>,
    ready_from: usize,
}

/// What comes next on the connection.
enum Expected {
    Head,
    Body(u64),
    Chunks(Chunks),
    /// Nothing that will be looked at.
    Nothing,
}

/// Why the bytes could not all be handed on as they are.
enum Stop {
    /// They could.
    Nowhere,
    /// The rest begins a head.
    Incomplete,
    /// The rest begins with a head that hyper must see in other words.
    Rewrite(Head),
    /// The rest is not HTTP/1, or is not wanted.
    Refused(Refusal),
}

impl Entry {
    /// The entry of a new connection, for heads of at most `head_bytes_max` bytes.
    #[must_use]
    pub(crate) fn new(head_bytes_max: usize) -> Self {
        Self {
            expected: Expected::Head,
            head_bytes_max,
            heads: 0,
            refused: None,
            broken: None,
            held: Vec::new(),
            ready: Vec::new(),
            ready_from: 0,
        }
    }

    /// Looks at bytes that have just arrived, and returns how many of them, from the first, are to be handed on as they
    /// are; the others are kept or dropped. To be called only while nothing is [`ready`](Self::ready).
    #[must_use]
    pub(crate) fn receive(&mut self, fresh: &[u8]) -> usize {
        if self.held.is_empty() {
            return self.sort(fresh);
        }
        let mut all = std::mem::take(&mut self.held);
        all.extend_from_slice(fresh);
        let passed = self.sort(&all);
        all.truncate(passed);
        all.append(&mut self.ready);
        self.ready = all;
        0
    }

    /// Bytes to be handed on before any that arrive later.
    #[must_use]
    pub(crate) fn ready(&self) -> &[u8] {
        &self.ready[self.ready_from..]
    }

    /// `count` of the ready bytes have been handed on.
    pub(crate) fn consume(&mut self, count: usize) {
        self.ready_from += count;
        if self.ready_from == self.ready.len() {
            self.ready.clear();
            self.ready_from = 0;
        }
    }

    /// Refuses the request whose head is awaited; what has come of it is dropped.
    pub(crate) fn refuse(&mut self, refusal: Refusal) {
        if matches!(self.expected, Expected::Head) {
            let held = std::mem::take(&mut self.held);
            self.stand_in(refusal, &held);
        }
    }

    /// Whether a head has begun and is not complete.
    #[must_use]
    pub(crate) fn is_mid_head(&self) -> bool {
        !self.held.is_empty()
    }

    /// Whether anything has come that was not, or not yet, handed on as it is.
    #[must_use]
    pub(crate) fn has_more(&self) -> bool {
        self.is_mid_head() || !self.ready().is_empty() || self.refused.is_some()
    }

    /// Whether a body has begun and is not complete.
    #[must_use]
    pub(crate) fn is_mid_body(&self) -> bool {
        matches!(self.expected, Expected::Body(_) | Expected::Chunks(_)) || self.broken.is_some()
    }

    /// The request that is refused, counted from 1, and why. No bytes after it are handed on.
    #[must_use]
    pub(crate) fn refused(&self) -> Option<(u64, Refusal)> {
        self.refused
    }

    /// Why the rest of a body cannot be read. No bytes after it are handed on.
    #[must_use]
    pub(crate) fn broken(&self) -> Option<Refusal> {
        self.broken
    }

    /// Sorts `bytes` into those that pass from the first on (their number is returned), `ready` and `held`.
    fn sort(&mut self, bytes: &[u8]) -> usize {
        let (passed, mut stop) = self.pass(bytes);
        let mut rest = &bytes[passed..];
        loop {
            match stop {
                Stop::Nowhere => break,
                Stop::Incomplete => {
                    self.held.extend_from_slice(rest);
                    break;
                }
                Stop::Refused(refusal) => {
                    self.stand_in(refusal, rest);
                    break;
                }
                Stop::Rewrite(head) => {
                    head.rewrite(rest, &mut self.ready);
                    rest = &rest[head.len..];
                    let (count, next) = self.pass(rest);
                    self.ready.extend_from_slice(&rest[..count]);
                    rest = &rest[count..];
                    stop = next;
                }
            }
        }
        passed
    }

    /// Walks over heads and bodies: how many bytes are fine as they are, and what stopped the walk.
    fn pass(&mut self, bytes: &[u8]) -> (usize, Stop) {
        let mut at = 0;
        while at < bytes.len() {
            let rest = &bytes[at..];
            match &mut self.expected {
                Expected::Nothing => return (at, Stop::Refused(Refusal::UNREAD)),
                Expected::Head => match Head::read(rest, self.head_bytes_max) {
                    Ok(None) => return (at, Stop::Incomplete),
                    Err(refusal) => return (at, Stop::Refused(refusal)),
                    Ok(Some(head)) => {
                        self.heads += 1;
                        self.expected = Expected::after(head.framing);
                        if head.needs_rewriting {
                            return (at, Stop::Rewrite(head));
                        }
                        at += head.len;
                    }
                },
                Expected::Body(left) => {
                    let count = rest.len().min(usize::try_from(*left).unwrap_or(usize::MAX));
                    *left -= count as u64;
                    at += count;
                    if *left == 0 {
                        self.expected = Expected::Head;
                    }
                }
                Expected::Chunks(chunks) => match chunks.read(rest) {
                    Ok((count, is_end)) => {
                        at += count;
                        if is_end {
                            self.expected = Expected::Head;
                        }
                    }
                    Err((count, refusal)) => return (at + count, Stop::Refused(refusal)),
                },
            }
        }
        (at, Stop::Nowhere)
    }

    /// Ends the reading. Where a head was expected, a request that hyper can read takes its place.
    fn stand_in(&mut self, refusal: Refusal, of: &[u8]) {
        match self.expected {
            Expected::Head => {
                self.heads += 1;
                self.refused = Some((self.heads, refusal));
                head::stand_in(of, &mut self.ready);
            }
            Expected::Body(_) | Expected::Chunks(_) => self.broken = Some(refusal),
            Expected::Nothing => {}
        }
        self.expected = Expected::Nothing;
    }
}

impl Expected {
    fn after(framing: Framing) -> Self {
        match framing {
            Framing::Length(0) => Self::Head,
            Framing::Length(bytes) => Self::Body(bytes),
            Framing::Chunked => Self::Chunks(Chunks::default()),
        }
    }
}

#[cfg(test)]
mod tests;
