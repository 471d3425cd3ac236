//! JSON text: taking members out of a record without building a tree, and writing parts of it.

use super::body::invalid;
use crate::error::{Answer, Failure};
use serde::Deserializer;
use serde::de::{Error, SeqAccess, Visitor};
use serde_json::value::RawValue;

pub(crate) use harper_store::members;

/// The items of a JSON array as the texts that were written.
///
/// # Errors
/// The text is not a JSON array.
pub(crate) fn items(array: &[u8]) -> Result<Vec<&RawValue>, serde_json::Error> {
    serde_json::from_slice(array)
}

/// Hands each item of a JSON array to `each`, as the text that was written.
///
/// # Errors
/// 400 when the text is not a JSON array, else the first failure of `each`.
pub(crate) fn each_item(array: &[u8], mut each: impl FnMut(&str) -> Answer<()>) -> Answer<()> {
    struct Items<'e> {
        each: &'e mut dyn FnMut(&str) -> Answer<()>,
        failed: &'e mut Option<Box<Failure>>,
    }
    impl<'de> Visitor<'de> for Items<'_> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
            while let Some(item) = items.next_element::<&RawValue>()? {
                if let Err(failure) = (self.each)(item.get()) {
                    *self.failed = Some(failure);
                    return Err(A::Error::custom("stopped"));
                }
            }
            Ok(())
        }
    }
    let mut failed = None;
    let mut reader = serde_json::Deserializer::from_slice(array);
    let items = Items { each: &mut each, failed: &mut failed };
    let read = reader.deserialize_seq(items).and_then(|()| reader.end());
    read.map_err(|error| {
        failed.unwrap_or_else(|| invalid(format!("The body is not valid JSON: {error}")))
    })
}

/// Appends a number.
///
/// # Errors
/// 400 for one that JSON does not have.
pub(super) fn push_float(number: f64, out: &mut Vec<u8>) -> Answer<()> {
    if !number.is_finite() {
        return Err(invalid("JSON has no NaN and no infinity".into()));
    }
    out.extend_from_slice(serde_json::Value::from(number).to_string().as_bytes());
    Ok(())
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
