//! Format 1 → 2: tables may have a tree of the times at which their records expire.

use heed::RwTxn;

use crate::env::Handle;
use crate::error::Error;

/// There is nothing to rewrite, since no record of format 1 expires. The number keeps away servers
/// that would write records without minding the trees.
#[allow(clippy::unnecessary_wraps, reason = "the shape of a step")]
pub(super) fn run(_txn: &mut RwTxn<'_>, _meta: Handle) -> Result<(), Error> {
    Ok(())
}
