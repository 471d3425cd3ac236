//! The values that conditions and indexes see in a stored attribute: the value itself, or each
//! element of an array one level deep. Objects and arrays within arrays have none.

use std::borrow::Cow;

use crate::encode;
use crate::json::{self, Elements};
use crate::key::{self, INTEGER_MAX, Key, KeyValue};
use crate::schema::Kind;
use crate::validate;

/// One value that can be compared.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Scalar<'a> {
    Null,
    Boolean(bool),
    Number { value: f64, text: &'a [u8] },
    String(Cow<'a, str>),
}

impl<'a> Scalar<'a> {
    /// Reads a value that is no array or object. A `Date` is the number of its milliseconds, a
    /// whole number that is an `ID` its text.
    fn read(raw: &'a [u8], kind: &Kind) -> Option<Scalar<'a>> {
        match raw.first()? {
            b'n' => Some(Scalar::Null),
            b't' => Some(Scalar::Boolean(true)),
            b'f' => Some(Scalar::Boolean(false)),
            b'"' => {
                let text = json::string(raw)?;
                if *kind == Kind::Date
                    && let Some(ms) = std::str::from_utf8(raw).ok().and_then(validate::date_ms)
                {
                    return Some(Scalar::Number { value: ms, text: b"" });
                }
                Some(Scalar::String(text))
            }
            _ if *kind == Kind::Id
                && let Some(text) = whole(raw) =>
            {
                Some(Scalar::String(Cow::Owned(text)))
            }
            _ => json::number(raw).map(|value| Scalar::Number { value, text: raw }),
        }
    }

    /// The bytes of the primary key with this value, `None` if there is none.
    pub(crate) fn key(&self) -> Option<Vec<u8>> {
        match self {
            Scalar::Number { value, .. } => Some(Key::number(*value).as_bytes().to_vec()),
            Scalar::String(text) => {
                let key = Key::encode(&KeyValue::String(text.clone().into_owned())).ok();
                key.map(|key| key.as_bytes().to_vec())
            }
            Scalar::Null | Scalar::Boolean(_) => None,
        }
    }

    /// Appends the encoding that indexes use.
    pub(crate) fn push(&self, out: &mut Vec<u8>) {
        match self {
            Scalar::Null => encode::push_null(out),
            Scalar::Boolean(value) => encode::push_boolean(out, *value),
            Scalar::Number { value, .. } => encode::push_number(out, *value),
            Scalar::String(text) => encode::push_string(out, text.as_bytes()),
        }
    }

    pub(crate) fn encoded(&self) -> Vec<u8> {
        let mut out = Vec::with_capacity(24);
        self.push(&mut out);
        out
    }
}

/// The decimals of a whole number, as a primary key has them.
fn whole(raw: &[u8]) -> Option<String> {
    let number = key::integer(std::str::from_utf8(raw).ok()?, INTEGER_MAX)?;
    Some(number.to_string())
}

/// Whether `test` holds for any value of an attribute, stored as `raw`.
pub(crate) fn any<'a>(
    raw: &'a [u8],
    kind: &Kind,
    mut test: impl FnMut(Scalar<'a>) -> bool,
) -> bool {
    if raw.first() != Some(&b'[') {
        return Scalar::read(raw, kind).is_some_and(test);
    }
    let element = match kind {
        Kind::Array(element) => &element.kind,
        Kind::Any => &Kind::Any,
        _ => return false,
    };
    Elements::of(raw).filter_map(|raw| Scalar::read(raw, element)).any(&mut test)
}

/// The encoded values of an attribute, sorted, each once.
pub(crate) fn encodings(raw: Option<&[u8]>, kind: &Kind) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    if let Some(raw) = raw {
        any(raw, kind, |scalar| {
            all.push(scalar.encoded());
            false
        });
    }
    if all.len() > 1 {
        all.sort_unstable();
        all.dedup();
    }
    all
}
