//! What `put` writes, the same over HTTP and into the store: each writer goes round its own keys, first creating, then
//! replacing, and every write moves the record in the index.

use std::{io::Write, iter::repeat_n};

/// The table's one index is on `group`; see `server::Application::one_table`.
const GROUPS: u64 = 97;
const KEYS_PER_WRITER: u64 = 256;
const TEXT_BYTES: usize = 440;

/// The writes of one writer, one after the other.
pub(crate) struct Writes {
    writer: usize,
    count: u64,
}

impl Writes {
    pub(crate) fn new(writer: usize) -> Self {
        Self { writer, count: 0 }
    }

    /// Replaces `body` by the next record, without its key; returns the key.
    pub(crate) fn next(&mut self, body: &mut Vec<u8>) -> String {
        let key = format!("writer-{}-{}", self.writer, self.count % KEYS_PER_WRITER);
        let group = self.count % GROUPS;
        body.clear();
        // Writing to memory does not fail.
        let _ = write!(body, "{{\"group\":\"group-{group}\",\"text\":\"");
        body.extend(repeat_n(b'x', TEXT_BYTES));
        body.extend_from_slice(b"\"}");
        self.count += 1;
        key
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_replaced_record_moves_in_the_index() {
        let mut writes = Writes::new(3);
        let mut body = Vec::new();
        let first = (writes.next(&mut body), body.clone());
        assert!(serde_json::from_slice::<serde_json::Value>(&body).is_ok());
        for _ in 1..KEYS_PER_WRITER {
            assert_ne!(writes.next(&mut body), first.0);
        }
        assert_eq!(writes.next(&mut body), first.0);
        assert_ne!(body, first.1);
    }
}
