//! Format 2 → 3: the change log may hold messages and bodies, and a record what was told beside it.

use heed::RwTxn;

use crate::env::Handle;
use crate::error::Error;

/// There is nothing to rewrite, since entries and records of format 2 are read as they are. The
/// number keeps away servers that would take messages for deletions, and what is beside a body for a
/// part of it.
#[allow(clippy::unnecessary_wraps, reason = "the shape of a step")]
pub(super) fn run(_txn: &mut RwTxn<'_>, _meta: Handle) -> Result<(), Error> {
    Ok(())
}
