//! JSON text: taking members out of a record without building a tree, and writing parts of it.

use crate::error::Answer;
use serde_json::value::RawValue;

pub(crate) use harper_store::members;

/// The items of a JSON array as the texts that were written.
///
/// # Errors
/// The text is not a JSON array.
pub(crate) fn items(array: &[u8]) -> Result<Vec<&RawValue>, serde_json::Error> {
    serde_json::from_slice(array)
}

/// Appends `text` as a JSON string.
pub(crate) fn push_string(text: &str, out: &mut Vec<u8>) {
    // writing to a vector cannot fail
    let _ = serde_json::to_writer(out, text);
}

/// Appends `items` between `open` and `close`, with commas.
///
/// # Errors
/// The first failure of `push`.
pub(super) fn push_all<T>(
    items: impl IntoIterator<Item = T>,
    (open, close): (u8, u8),
    out: &mut Vec<u8>,
    mut push: impl FnMut(T, &mut Vec<u8>) -> Answer<()>,
) -> Answer<()> {
    out.push(open);
    for (index, item) in items.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        push(item, out)?;
    }
    out.push(close);
    Ok(())
}
