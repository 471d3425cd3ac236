//! Room in a database's memory map. Deletes take pages, too, until what they free can be used again,
//! so other writes are refused while a part of the map is left.
//!
//! What a write takes is an estimate. One that goes beyond the map after all is undone whole and
//! takes nothing.

use crate::database::Database;
use crate::env::Handle;
use crate::error::Error;

/// The part of the map that is left to deletes, as a divisor, and its bounds in bytes.
const RESERVE_SHARE: usize = 16;
const RESERVE_BYTES_MIN: usize = 256 << 10;
const RESERVE_BYTES_MAX: usize = 64 << 20;
/// What is stored takes so many times its bytes: pages are not full, and indexes repeat parts of it.
const GROWTH: usize = 2;

impl Database {
    /// Refuses to store so many bytes when deletes would be left too little of the map.
    ///
    /// # Errors
    /// [`Error::MapFull`]; storage errors.
    pub(crate) fn check_room(&self, bytes: usize) -> Result<(), Error> {
        let environment = self.shared.environment;
        let (info, stat) = (environment.info(), environment.unnamed_database_stat());
        let reserve = (info.map_size / RESERVE_SHARE).clamp(RESERVE_BYTES_MIN, RESERVE_BYTES_MAX);
        let wanted = bytes.saturating_mul(GROWTH).saturating_add(reserve);
        let has_room = |used: usize| used.saturating_add(wanted) <= info.map_size;
        let page_bytes = usize::try_from(stat.page_size).unwrap_or(usize::MAX);
        let touched = info.last_page_number.saturating_add(1).saturating_mul(page_bytes);
        // the pages that were ever used are known at once, those that are free again are not
        if has_room(touched) || has_room(self.used_bytes()?) { Ok(()) } else { Err(Error::MapFull) }
    }

    /// Bytes of the pages that hold something.
    fn used_bytes(&self) -> Result<usize, Error> {
        let txn = self.read()?;
        let own = [self.shared.meta, self.shared.log, self.shared.side];
        let tables = self.tables();
        let trees = own.into_iter().chain(tables.iter().flat_map(|table| table.trees()));
        let bytes = |tree: Handle| Ok(tree.stat(txn.inner())?.non_free_page_size());
        trees.map(bytes).sum()
    }
}
