//! What must hold of a record for an operation on it.

use crate::error::Error;
use crate::record::Meta;

/// What must hold of a record for an operation on it; tested inside the write transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Precondition {
    /// Nothing.
    None,
    /// There is no record.
    Absent,
    /// There is a record.
    Present,
    /// There is a record and its version is one of these.
    VersionIn(Vec<u64>),
    /// There is no record, or its version is none of these.
    VersionNotIn(Vec<u64>),
    /// There is no record, or it was last written in this second since 1970 or before.
    UnmodifiedSince(u64),
    /// All of these.
    All(Vec<Precondition>),
}

impl Precondition {
    /// Whether it holds of the record as it is, `None` if there is none.
    pub fn holds(&self, current: Option<&Meta>) -> bool {
        match (self, current) {
            (Precondition::None, _) => true,
            (Precondition::Absent, current) => current.is_none(),
            (Precondition::Present, current) => current.is_some(),
            (Precondition::VersionIn(versions), current) => {
                current.is_some_and(|meta| versions.contains(&meta.version))
            }
            (Precondition::VersionNotIn(versions), current) => {
                current.is_none_or(|meta| !versions.contains(&meta.version))
            }
            (Precondition::UnmodifiedSince(second), current) => {
                current.is_none_or(|meta| meta.updated_ms / 1000 <= *second)
            }
            (Precondition::All(all), current) => all.iter().all(|one| one.holds(current)),
        }
    }

    /// Refuses when it does not hold.
    pub(crate) fn check(&self, current: Option<&Meta>) -> Result<(), Error> {
        if self.holds(current) {
            return Ok(());
        }
        Err(Error::PreconditionFailed { current: current.map(|meta| meta.version) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_compared_by_the_second_and_all_means_all() {
        use Precondition::{All, UnmodifiedSince, VersionIn};
        let meta = Meta { version: 7, updated_ms: 5_999, ..Meta::default() };
        assert!(UnmodifiedSince(5).holds(Some(&meta)));
        assert!(!UnmodifiedSince(4).holds(Some(&meta)));
        assert!(UnmodifiedSince(4).holds(None));
        let both = |version, second| All(vec![VersionIn(vec![version]), UnmodifiedSince(second)]);
        assert!(both(7, 5).holds(Some(&meta)));
        assert!(!both(7, 4).holds(Some(&meta)) && !both(8, 5).holds(Some(&meta)));
        assert!(!both(7, 5).holds(None));
    }
}
