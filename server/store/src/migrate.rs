//! The format of a database, and the steps from each format to the next.
//!
//! A change to what is stored adds a function to [`STEPS`], in a file of its own. Opening a
//! database runs the steps it lacks in one transaction, and refuses one of a later format.

use heed::RwTxn;

use crate::catalog;
use crate::env::Handle;
use crate::error::Error;

/// Rewrites what is stored from one format to the next.
type Step = fn(&mut RwTxn<'_>, Handle) -> Result<(), Error>;

/// The step at position n leads from format n + 1 to n + 2.
const STEPS: &[Step] = &[];

/// The format this build writes.
pub(crate) const FORMAT: u32 = 1 + STEPS.len() as u32;

/// Brings the database to [`FORMAT`]; a new one just gets its number.
pub(crate) fn run(txn: &mut RwTxn<'_>, meta: Handle) -> Result<(), Error> {
    let found = catalog::format(txn, meta)?.unwrap_or(FORMAT);
    if found > FORMAT {
        return Err(Error::NewerFormat { found, known: FORMAT });
    }
    let done = usize::try_from(found.saturating_sub(1)).unwrap_or(usize::MAX);
    for step in STEPS.iter().skip(done) {
        step(txn, meta)?;
    }
    if catalog::format(txn, meta)? != Some(FORMAT) {
        catalog::put_format(txn, meta, FORMAT)?;
    }
    Ok(())
}
