//! Stored JSON text: taking members out of a record without building a tree.

use serde::de::{Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// One member of an object: its name, and its value as the text that was stored.
pub(crate) type Member<'a> = (Cow<'a, str>, &'a RawValue);

/// The members of a JSON object in the order written.
///
/// # Errors
/// The text is not a JSON object.
pub(crate) fn members(object: &[u8]) -> Result<Vec<Member<'_>>, serde_json::Error> {
    let mut reader = serde_json::Deserializer::from_slice(object);
    let members = reader.deserialize_map(Members)?;
    reader.end()?;
    Ok(members)
}

struct Members;

impl<'de> Visitor<'de> for Members {
    type Value = Vec<Member<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut members = Vec::new();
        while let Some(Name(name)) = map.next_key()? {
            members.push((name, map.next_value()?));
        }
        Ok(members)
    }
}

struct Name<'a>(Cow<'a, str>);

impl<'de> serde::Deserialize<'de> for Name<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct NameVisitor;
        impl<'de> Visitor<'de> for NameVisitor {
            type Value = Name<'de>;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }
            fn visit_borrowed_str<E>(self, name: &'de str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Borrowed(name)))
            }
            fn visit_str<E>(self, name: &str) -> Result<Name<'de>, E> {
                Ok(Name(Cow::Owned(name.to_owned())))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_keep_their_exact_text() {
        let object = br#"{"a":1.50,"b\u0041":{"c":[1, 2]},"n":123456789012345678901234567890}"#;
        let members = members(object).unwrap();
        let texts: Vec<_> =
            members.iter().map(|(name, value)| (name.as_ref(), value.get())).collect();
        assert_eq!(
            texts,
            [("a", "1.50"), ("bA", r#"{"c":[1, 2]}"#), ("n", "123456789012345678901234567890"),]
        );
    }
}
