//! When which session without a connection is to be looked at: for its will, or for its end. One time for each.

use super::stored::Hash;
use std::collections::{BTreeSet, HashMap};

/// Times, in milliseconds since 1970.
#[derive(Default)]
pub(super) struct Due {
    times: BTreeSet<(u64, Hash)>,
    of: HashMap<Hash, u64>,
}

impl Due {
    /// Has a session looked at, at this time and no other; at none, it is not.
    pub(super) fn set(&mut self, session: Hash, at_ms: Option<u64>) {
        let before = match at_ms {
            Some(at_ms) => self.of.insert(session, at_ms),
            None => self.of.remove(&session),
        };
        if let Some(before) = before {
            self.times.remove(&(before, session));
        }
        self.times.extend(at_ms.map(|at_ms| (at_ms, session)));
    }

    /// A session whose time has come. It has none then.
    pub(super) fn take(&mut self, now_ms: u64) -> Option<Hash> {
        let (_, session) = self.times.first().filter(|(at_ms, _)| *at_ms <= now_ms).copied()?;
        self.set(session, None);
        Some(session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_one_time() {
        let (mut due, [one, other]) = (Due::default(), [[1; 16], [2; 16]]);
        for at_ms in [30, 10, 20] {
            due.set(one, Some(at_ms));
        }
        due.set(other, Some(20));
        assert_eq!(due.times.len(), 2);
        assert_eq!(due.take(19), None);
        assert_eq!((due.take(20), due.take(20), due.take(20)), (Some(one), Some(other), None));
        due.set(one, Some(1));
        due.set(one, None);
        assert_eq!((due.take(1), due.of.len()), (None, 0));
    }
}
