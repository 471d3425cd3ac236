//! Primary keys: order-preserving bytes made from a URL, from JSON, or generated.
//!
//! A number is its tag and eight bytes, a text its tag and its UTF-8 bytes, so that keys compare
//! as their values do, numbers before texts.

use std::fmt;

use crate::encode::{self, TAG_NUMBER, TAG_STRING};
use crate::error::{Error, Invalid};
use crate::json;
use crate::schema::{Kind, TableSchema};

/// Bytes of text that a primary key may have.
pub const KEY_BYTES_MAX: usize = 1978;

/// Whole numbers up to this size are doubles exactly.
pub(crate) const INTEGER_MAX: i64 = 1 << 53;
/// Largest absolute value of an `Int`.
pub(crate) const INT_MAX: i64 = 1 << 31;

/// A primary key as stored; keys compare as their values do.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key(Box<[u8]>);

/// The value of a primary key.
#[derive(Debug, Clone, PartialEq)]
pub enum KeyValue {
    /// A whole number within ±2^53.
    Integer(i64),
    /// Another finite number.
    Float(f64),
    /// Text that is not empty.
    String(String),
}

impl Key {
    /// The key of a value.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] for empty text and for numbers that are not exact,
    /// [`Invalid::KeyTooLong`] for text of more than [`KEY_BYTES_MAX`] bytes.
    pub fn encode(value: &KeyValue) -> Result<Key, Error> {
        match value {
            KeyValue::Integer(number) if is_within(*number, INTEGER_MAX) => {
                Ok(Key::number(*number as f64))
            }
            KeyValue::Float(number) if number.is_finite() => Ok(Key::number(*number)),
            KeyValue::Integer(number) => {
                Err(invalid("key", &number.to_string(), "a whole number within 2^53"))
            }
            KeyValue::Float(number) => Err(invalid("key", &number.to_string(), "a finite number")),
            KeyValue::String(text) => Key::text("key", text),
        }
    }

    /// The key that a percent-decoded URL segment names in a table: its text for `ID` and
    /// `String`, a whole number in canonical decimals for `Int` and `Long`, either for `Any`.
    ///
    /// # Errors
    /// [`Error::InvalidKey`] when it does not fit the primary key's type,
    /// [`Invalid::KeyTooLong`] when it is too long.
    pub fn from_path(schema: &TableSchema, text: &str) -> Result<Key, Error> {
        let attribute = schema.key_attribute();
        let refused = || invalid(&attribute.name, text, attribute.kind.name());
        match attribute.kind {
            Kind::Int => integer_key(text, INT_MAX).ok_or_else(refused),
            Kind::Long => integer_key(text, INTEGER_MAX).ok_or_else(refused),
            Kind::Float => match text.parse::<f64>() {
                Ok(number) if number.is_finite() => Ok(Key::number(number)),
                _ => Err(refused()),
            },
            Kind::Any => match integer_key(text, INTEGER_MAX) {
                Some(key) => Ok(key),
                None => Key::text(&attribute.name, text),
            },
            _ => Key::text(&attribute.name, text),
        }
    }

    /// The key that a JSON value names in a table. `ID` takes whole numbers too, as text.
    ///
    /// # Errors
    /// As [`Key::from_path`].
    pub fn from_json(schema: &TableSchema, raw: &str) -> Result<Key, Error> {
        let attribute = schema.key_attribute();
        let refused = || invalid(&attribute.name, json::shortened(raw), attribute.kind.name());
        let text = || json::string(raw.as_bytes()).ok_or_else(refused);
        let number = |max| integer(raw, max).map(|n| Key::number(n as f64)).ok_or_else(refused);
        match attribute.kind {
            Kind::Int => number(INT_MAX),
            Kind::Long => number(INTEGER_MAX),
            Kind::Float => json::number(raw.as_bytes())
                .filter(|number| number.is_finite())
                .map(Key::number)
                .ok_or_else(refused),
            Kind::Any if !raw.starts_with('"') => number(INTEGER_MAX),
            Kind::Id if !raw.starts_with('"') => match integer(raw, INTEGER_MAX) {
                Some(number) => Key::text(&attribute.name, &number.to_string()),
                None => Err(refused()),
            },
            _ => Key::text(&attribute.name, &text()?),
        }
    }

    /// A new random key (a UUID of version 4), or `None` for a table with numeric keys, which only
    /// the writer can count up: [`Op::Insert`](crate::Op::Insert) without a key does.
    pub fn generate(schema: &TableSchema) -> Option<Key> {
        match schema.key_attribute().kind {
            Kind::Int | Kind::Long | Kind::Float => None,
            _ => Some(Key::from_text(&uuid::Uuid::new_v4().to_string())),
        }
    }

    /// The key's bytes, which sort as the value does.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The key's value.
    pub fn decode(&self) -> KeyValue {
        match self.0.split_first() {
            Some((&TAG_NUMBER, rest)) => {
                let number = rest.try_into().map_or(0.0, encode::number_from);
                if number.fract() == 0.0 && number.abs() <= INTEGER_MAX as f64 {
                    KeyValue::Integer(number as i64)
                } else {
                    KeyValue::Float(number)
                }
            }
            Some((_, text)) => KeyValue::String(String::from_utf8_lossy(text).into_owned()),
            None => KeyValue::String(String::new()),
        }
    }

    /// The key as JSON text.
    pub fn to_json(&self) -> String {
        match self.decode() {
            KeyValue::Integer(number) => number.to_string(),
            KeyValue::Float(number) => json::number_text(number),
            KeyValue::String(text) => json::quoted(&text),
        }
    }

    /// The key as plain text, which [`Key::from_path`] reads back.
    pub fn to_text(&self) -> String {
        match self.decode() {
            KeyValue::Integer(number) => number.to_string(),
            KeyValue::Float(number) => number.to_string(),
            KeyValue::String(text) => text,
        }
    }

    /// A key from bytes that the store itself wrote.
    pub(crate) fn from_stored(bytes: &[u8]) -> Key {
        Key(bytes.into())
    }

    pub(crate) fn number(number: f64) -> Key {
        let mut bytes = Vec::with_capacity(9);
        encode::push_number(&mut bytes, number);
        Key(bytes.into())
    }

    fn text(attribute: &str, text: &str) -> Result<Key, Error> {
        if text.is_empty() {
            return Err(invalid(attribute, text, "a key that is not empty"));
        }
        if text.len() > KEY_BYTES_MAX {
            return Err(Invalid::KeyTooLong { bytes: text.len(), max: KEY_BYTES_MAX }.into());
        }
        Ok(Key::from_text(text))
    }

    fn from_text(text: &str) -> Key {
        let mut bytes = Vec::with_capacity(1 + text.len());
        bytes.push(TAG_STRING);
        bytes.extend_from_slice(text.as_bytes());
        Key(bytes.into())
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({})", self.to_json())
    }
}

fn invalid(attribute: &str, value: &str, expected: &'static str) -> Error {
    Error::InvalidKey { attribute: attribute.to_owned(), value: value.to_owned(), expected }
}

/// The key of a whole number in the one form that has no sign for plus and no leading zero, so
/// that no two URLs name one record.
fn integer_key(text: &str, max: i64) -> Option<Key> {
    let number = text.parse::<i64>().ok()?;
    let exact = is_within(number, max) && number.to_string() == text;
    exact.then(|| Key::number(number as f64))
}

fn is_within(number: i64, max: i64) -> bool {
    number.unsigned_abs() <= max.unsigned_abs()
}

/// A JSON number that is whole and within `max`, whichever way it is written.
pub(crate) fn integer(raw: &str, max: i64) -> Option<i64> {
    let number = match raw.parse::<i64>() {
        Ok(number) if !raw.starts_with('+') => number,
        _ => {
            let number = json::number(raw.as_bytes())?;
            let whole = number.fract() == 0.0 && number.abs() <= INTEGER_MAX as f64;
            whole.then_some(number as i64)?
        }
    };
    is_within(number, max).then_some(number)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::schema::Attribute;

    fn schema(kind: Kind) -> TableSchema {
        let id = Attribute::new("id", kind);
        TableSchema::new("data", "T", vec![id])
    }

    proptest! {
        #[test]
        fn keys_sort_as_their_values(
            a in -INTEGER_MAX..=INTEGER_MAX, b in -1000.0f64..1000.0, c in "\\PC{1,8}", d in "\\PC{1,8}",
        ) {
            let key = |value| Key::encode(&value).unwrap();
            let (a_key, b_key) = (key(KeyValue::Integer(a)), key(KeyValue::Float(b)));
            prop_assert_eq!(a_key.cmp(&b_key), (a as f64).partial_cmp(&b).unwrap());
            let (c_key, d_key) = (key(KeyValue::String(c.clone())), key(KeyValue::String(d.clone())));
            prop_assert_eq!(c_key.cmp(&d_key), c.cmp(&d));
            prop_assert!(a_key < c_key);
            prop_assert_eq!(a_key.decode(), KeyValue::Integer(a));
            prop_assert_eq!(c_key.decode(), KeyValue::String(c));
        }

        #[test]
        fn a_key_is_read_back_from_its_text_and_json(text in "\\PC{1,12}") {
            for kind in [Kind::Id, Kind::String, Kind::Any] {
                let schema = schema(kind);
                let key = Key::from_path(&schema, &text).unwrap();
                prop_assert_eq!(&Key::from_path(&schema, &key.to_text()).unwrap(), &key);
                prop_assert_eq!(&Key::from_json(&schema, &key.to_json()).unwrap(), &key);
            }
        }
    }

    #[test]
    fn a_path_is_read_by_the_type_of_the_primary_key() {
        let read = |kind, text| Key::from_path(&schema(kind), text);
        assert_eq!(read(Kind::Int, "12").unwrap().decode(), KeyValue::Integer(12));
        assert_eq!(read(Kind::Any, "-12").unwrap().decode(), KeyValue::Integer(-12));
        assert_eq!(read(Kind::Any, "012").unwrap().decode(), KeyValue::String("012".into()));
        assert_eq!(read(Kind::Id, "12").unwrap().decode(), KeyValue::String("12".into()));
        for text in ["abc", "012", "+1", "1.0", "2147483649", "-9223372036854775808", ""] {
            assert!(matches!(read(Kind::Int, text), Err(Error::InvalidKey { .. })), "{text}");
        }
        let error = read(Kind::Int, "abc").unwrap_err().to_string();
        assert_eq!(error, "Invalid value for attribute id: \"abc\", expecting Int");
    }

    #[test]
    fn long_and_empty_keys_are_refused() {
        let long = "a".repeat(KEY_BYTES_MAX + 1);
        let error = Key::from_path(&schema(Kind::Id), &long).unwrap_err();
        assert!(matches!(error, Error::Invalid(Invalid::KeyTooLong { bytes: 1979, max: 1978 })));
        assert!(Key::from_path(&schema(Kind::Id), &long[1..]).is_ok());
        assert!(Key::from_json(&schema(Kind::Id), "\"\"").is_err());
        assert!(Key::encode(&KeyValue::Integer(i64::MAX)).is_err());
        assert!(Key::encode(&KeyValue::Integer(i64::MIN)).is_err());
        let least = Key::from_path(&schema(Kind::Any), &i64::MIN.to_string()).unwrap();
        assert_eq!(least.decode(), KeyValue::String(i64::MIN.to_string()));
    }

    #[test]
    fn an_id_takes_whole_numbers_as_text() {
        let key = Key::from_json(&schema(Kind::Id), "7").unwrap();
        assert_eq!(key.to_json(), "\"7\"");
        assert!(Key::from_json(&schema(Kind::Id), "7.5").is_err());
        assert_eq!(Key::from_json(&schema(Kind::Any), "7").unwrap().to_json(), "7");
    }

    #[test]
    fn only_text_keys_are_generated_here() {
        assert!(Key::generate(&schema(Kind::Id)).is_some());
        assert!(Key::generate(&schema(Kind::Int)).is_none());
    }
}
