//! A stored value with the types of the schema, for the formats that have more of them than JSON.

use super::{EncodeError, json};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use harper_store::{Attribute, Kind, TableSchema};
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// A value of a record.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Typed<'a> {
    Null,
    Bool(bool),
    Whole(i64),
    Unsigned(u64),
    Float(f64),
    /// Decimal digits of a whole number that may be larger than 64 bits.
    Big(&'a str),
    Text(Cow<'a, str>),
    Bytes(Vec<u8>),
    /// RFC 3339.
    Date(Cow<'a, str>),
    Array(Vec<Self>),
    Map(Vec<(Cow<'a, str>, Self)>),
}

/// JSON text as a value; the members of a record have the types of their attributes.
pub(super) fn value<'a>(
    schema: Option<&TableSchema>,
    text: &'a [u8],
) -> Result<Typed<'a>, EncodeError> {
    match schema {
        Some(schema) if text.first() == Some(&b'{') => Ok(members(&schema.attributes, text)?),
        _ => Ok(any(std::str::from_utf8(text)?)?),
    }
}

fn members<'a>(attributes: &[Attribute], object: &'a [u8]) -> Result<Typed<'a>, serde_json::Error> {
    let members = json::members(object)?.into_iter().map(|(name, text)| {
        let kind = attributes.iter().find(|attribute| attribute.name == name);
        let kind = kind.map_or(&Kind::Any, |attribute| &attribute.kind);
        Ok((name, of(kind, text.get())?))
    });
    members.collect::<Result<_, _>>().map(Typed::Map)
}

fn of<'a>(kind: &Kind, text: &'a str) -> Result<Typed<'a>, serde_json::Error> {
    let found = match kind {
        Kind::BigInt if text != "null" => Some(text.parse().map_or(Typed::Big(text), Typed::Whole)),
        Kind::Bytes | Kind::Blob if text.starts_with('{') => return content(text),
        Kind::Bytes | Kind::Blob => serde_json::from_str(text).ok().and_then(bytes),
        Kind::Date => serde_json::from_str(text).ok().and_then(|value| match value {
            Typed::Text(date) => Some(Typed::Date(date)),
            _ => None,
        }),
        Kind::Array(element) if text.starts_with('[') => {
            let items = json::items(text.as_bytes())?;
            let items = items.iter().map(|item| of(&element.kind, item.get()));
            Some(Typed::Array(items.collect::<Result<_, _>>()?))
        }
        Kind::Object(attributes) if text.starts_with('{') => {
            return members(attributes, text.as_bytes());
        }
        _ => None,
    };
    found.map_or_else(|| any(text), Ok)
}

/// A value of no declared type.
fn any(text: &str) -> Result<Typed<'_>, serde_json::Error> {
    serde_json::from_str(text).or_else(|_| part_by_part(text))
}

/// The same of a text that serde refuses for a number beyond all doubles, which was once stored: that number is its text,
/// so that the rest can be read.
fn part_by_part(text: &str) -> Result<Typed<'_>, serde_json::Error> {
    match text.as_bytes().first() {
        Some(b'{') => members(&[], text.as_bytes()),
        Some(b'[') => {
            let items = json::items(text.as_bytes())?;
            items.iter().map(|item| any(item.get())).collect::<Result<_, _>>().map(Typed::Array)
        }
        _ => {
            let number = serde_json::from_str::<&RawValue>(text)?;
            Ok(Typed::Text(Cow::Borrowed(number.get())))
        }
    }
}

fn bytes(value: Typed<'_>) -> Option<Typed<'_>> {
    let Typed::Text(text) = value else { return None };
    STANDARD.decode(text.as_bytes()).ok().map(Typed::Bytes)
}

/// A binary value that knows its media type: `{"contentType", "data"}`.
fn content(text: &str) -> Result<Typed<'_>, serde_json::Error> {
    let Typed::Map(members) = serde_json::from_str(text)? else { return Ok(Typed::Null) };
    let members = members.into_iter().map(|(name, value)| match bytes(value.clone()) {
        Some(bytes) if name == "data" => (name, bytes),
        _ => (name, value),
    });
    Ok(Typed::Map(members.collect()))
}

impl<'de> Deserialize<'de> for Typed<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(JsonVisitor)
    }
}

struct JsonVisitor;

impl<'de> Visitor<'de> for JsonVisitor {
    type Value = Typed<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Typed::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(Typed::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Self::Value, E> {
        Ok(Typed::Whole(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Self::Value, E> {
        Ok(i64::try_from(value).map_or(Typed::Unsigned(value), Typed::Whole))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Self::Value, E> {
        Ok(Typed::Float(value))
    }

    fn visit_borrowed_str<E>(self, value: &'de str) -> Result<Self::Value, E> {
        Ok(Typed::Text(Cow::Borrowed(value)))
    }

    fn visit_str<E>(self, value: &str) -> Result<Self::Value, E> {
        Ok(Typed::Text(Cow::Owned(value.to_owned())))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element()? {
            array.push(item);
        }
        Ok(Typed::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut map = Vec::new();
        while let Some((name, value)) = members.next_entry::<Name<'de>, _>()? {
            map.push((name.0, value));
        }
        Ok(Typed::Map(map))
    }
}

#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// For formats that go through serde: big integers beyond 128 bits are text, bytes are base64.
impl Serialize for Typed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Null => serializer.serialize_unit(),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Whole(value) => serializer.serialize_i64(*value),
            Self::Unsigned(value) => serializer.serialize_u64(*value),
            Self::Float(value) => serializer.serialize_f64(*value),
            Self::Big(digits) => match digits.parse::<i128>() {
                Ok(value) => serializer.serialize_i128(value),
                Err(_) => serializer.serialize_str(digits),
            },
            Self::Text(text) | Self::Date(text) => serializer.serialize_str(text),
            Self::Bytes(bytes) => serializer.serialize_str(&STANDARD.encode(bytes)),
            Self::Array(items) => serializer.collect_seq(items),
            Self::Map(members) => {
                let mut map = serializer.serialize_map(Some(members.len()))?;
                for (name, value) in members {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_beyond_all_doubles_does_not_hide_the_rest() {
        let attributes = vec![Attribute::new("id", Kind::Id), Attribute::new("f", Kind::Float)];
        let schema = TableSchema::new("data", "T", attributes);
        let text = |text| Typed::Text(Cow::Borrowed(text));
        let record = br#"{"id":"1","f":-1e999,"x":{"y":[1,1E400]}}"#;
        let inner = Typed::Array(vec![Typed::Whole(1), text("1E400")]);
        let expected = vec![
            ("id".into(), text("1")),
            ("f".into(), text("-1e999")),
            ("x".into(), Typed::Map(vec![("y".into(), inner)])),
        ];
        assert_eq!(value(Some(&schema), record).unwrap(), Typed::Map(expected));
        assert_eq!(value(None, b"[1e999]").unwrap(), Typed::Array(vec![text("1e999")]));
        assert!(value(None, b"[1e999").is_err());
        assert!(value(None, b"nonsense").is_err());
    }
}
