//! CBOR (RFC 8949). Out: the schema gives back what JSON cannot carry (bytes, dates, big integers) as CBOR's own
//! types. In: the same types become their JSON forms.

use super::EncodeError;
use super::body::{BIGNUM_BYTES_MAX, DEPTH_MAX, invalid};
use super::json::{self, push_all};
use super::number::{add_one, bytes_to_decimal, decimal_to_bytes, subtract_one};
use super::typed::Typed;
use crate::error::Answer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ciborium::Value;

/// Standard date and time string, RFC 8949 §3.4.1.
const TAG_DATE: u64 = 0;
/// Epoch-based date and time, RFC 8949 §3.4.2.
const TAG_EPOCH: u64 = 1;
/// Unsigned and negative bignums, RFC 8949 §3.4.3.
const TAG_BIGNUM: u64 = 2;
const TAG_NEGATIVE_BIGNUM: u64 = 3;

/// Appends a value as one CBOR item.
pub(super) fn push(value: Typed<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    Ok(ciborium::into_writer(&item(value), out)?)
}

fn item(value: Typed<'_>) -> Value {
    match value {
        Typed::Null => Value::Null,
        Typed::Bool(value) => Value::Bool(value),
        Typed::Whole(value) => Value::from(value),
        Typed::Unsigned(value) => Value::from(value),
        Typed::Float(value) => Value::Float(value),
        Typed::Big(digits) => {
            bignum(digits).unwrap_or_else(|| Value::Float(digits.parse().unwrap_or(f64::NAN)))
        }
        Typed::Text(text) => Value::Text(text.into_owned()),
        Typed::Bytes(bytes) => Value::Bytes(bytes),
        Typed::Date(date) => Value::Tag(TAG_DATE, Box::new(Value::Text(date.into_owned()))),
        Typed::Array(items) => Value::Array(items.into_iter().map(item).collect()),
        Typed::Map(members) => {
            let members = members.into_iter();
            Value::Map(
                members
                    .map(|(name, value)| (Value::Text(name.into_owned()), item(value)))
                    .collect(),
            )
        }
    }
}

/// Decimal digits as a CBOR integer, or a bignum where they are too large for one.
fn bignum(text: &str) -> Option<Value> {
    if let Ok(small) = text.parse::<i64>() {
        return Some(Value::from(small));
    }
    let (negative, digits) = match text.strip_prefix('-') {
        Some(digits) => (true, digits),
        None => (false, text),
    };
    let mut bytes = decimal_to_bytes(digits)?;
    if negative {
        // a negative bignum holds -1 - n
        subtract_one(&mut bytes);
    }
    let tag = if negative { TAG_NEGATIVE_BIGNUM } else { TAG_BIGNUM };
    Some(Value::Tag(tag, Box::new(Value::Bytes(bytes))))
}

/// A CBOR request body as JSON text.
///
/// # Errors
/// 400 with what is wrong and, for malformed CBOR, the offset.
pub(super) fn to_json(body: &[u8]) -> Answer<Vec<u8>> {
    let mut rest = body;
    let value: Value = ciborium::de::from_reader_with_recursion_limit(&mut rest, DEPTH_MAX)
        .map_err(|error| invalid(format!("The body is not valid CBOR: {error}")))?;
    if !rest.is_empty() {
        let offset = body.len() - rest.len();
        return Err(invalid(format!(
            "The body has more than one CBOR item: the second begins at byte {offset}"
        )));
    }
    let mut out = Vec::with_capacity(body.len() * 2);
    push_json(&value, &mut out)?;
    Ok(out)
}

fn push_json(value: &Value, out: &mut Vec<u8>) -> Answer<()> {
    match value {
        Value::Null => out.extend_from_slice(b"null"),
        Value::Bool(true) => out.extend_from_slice(b"true"),
        Value::Bool(false) => out.extend_from_slice(b"false"),
        Value::Integer(number) => out.extend_from_slice(i128::from(*number).to_string().as_bytes()),
        Value::Float(number) if number.is_finite() => {
            out.extend_from_slice(serde_json::Value::from(*number).to_string().as_bytes());
        }
        Value::Float(_) => return Err(invalid("JSON has no NaN and no infinity".into())),
        Value::Text(text) => json::push_string(text, out),
        Value::Bytes(bytes) => json::push_string(&STANDARD.encode(bytes), out),
        Value::Tag(tag, inner) => push_tagged(*tag, inner, out)?,
        Value::Array(items) => push_all(items, (b'[', b']'), out, push_json)?,
        Value::Map(entries) => push_all(entries, (b'{', b'}'), out, |(name, value), out| {
            let Value::Text(name) = name else {
                return Err(invalid("A member's name must be text".into()));
            };
            json::push_string(name, out);
            out.push(b':');
            push_json(value, out)
        })?,
        _ => return Err(invalid("The body has a CBOR value of an unknown kind".into())),
    }
    Ok(())
}

fn push_tagged(tag: u64, inner: &Value, out: &mut Vec<u8>) -> Answer<()> {
    match (tag, inner) {
        (TAG_BIGNUM | TAG_NEGATIVE_BIGNUM, Value::Bytes(bytes))
            if bytes.len() > BIGNUM_BYTES_MAX =>
        {
            Err(invalid(format!("A big integer has more than {BIGNUM_BYTES_MAX} bytes")))
        }
        (TAG_BIGNUM, Value::Bytes(bytes)) => {
            out.extend_from_slice(bytes_to_decimal(bytes).as_bytes());
            Ok(())
        }
        (TAG_NEGATIVE_BIGNUM, Value::Bytes(bytes)) => {
            let mut bytes = bytes.clone();
            add_one(&mut bytes);
            out.push(b'-');
            out.extend_from_slice(bytes_to_decimal(&bytes).as_bytes());
            Ok(())
        }
        (TAG_EPOCH, Value::Integer(_) | Value::Float(_)) => push_epoch(inner, out),
        // an unknown tag says more about its content than JSON can: the content is kept
        _ => push_json(inner, out),
    }
}

fn push_epoch(seconds: &Value, out: &mut Vec<u8>) -> Answer<()> {
    let seconds = match seconds {
        Value::Integer(whole) => i128::from(*whole) as f64,
        Value::Float(seconds) => *seconds,
        _ => f64::NAN,
    };
    let time = jiff::Timestamp::from_millisecond((seconds * 1000.0).round() as i64)
        .ok()
        .filter(|_| seconds.is_finite())
        .ok_or_else(|| invalid("A time is out of range".into()))?;
    json::push_string(&format!("{time:.3}"), out);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::typed;
    use harper_store::{Attribute, Kind, TableSchema};

    fn schema(kind: Kind) -> TableSchema {
        TableSchema::new(
            "data",
            "T",
            vec![Attribute::new("id", Kind::Id), Attribute::new("v", kind)],
        )
    }

    fn there_and_back(kind: Kind, record: &str) -> (Value, String) {
        let mut out = Vec::new();
        let schema = schema(kind);
        push(typed::value(Some(&schema), record.as_bytes()).unwrap(), &mut out).unwrap();
        let value: Value = ciborium::from_reader(out.as_slice()).unwrap();
        (value, String::from_utf8(to_json(&out).unwrap()).unwrap())
    }

    fn member(value: &Value) -> Value {
        value.as_map().unwrap()[1].1.clone()
    }

    #[test]
    fn typed_values_survive_the_round_trip() {
        for (kind, record) in [
            (Kind::BigInt, r#"{"id":"1","v":123456789012345678901234567890}"#),
            (Kind::BigInt, r#"{"id":"1","v":-123456789012345678901234567890}"#),
            (Kind::BigInt, r#"{"id":"1","v":-18446744073709551616}"#),
            (Kind::Bytes, r#"{"id":"1","v":"AAEC/w=="}"#),
            (Kind::Date, r#"{"id":"1","v":"2026-01-02T03:04:05.678Z"}"#),
            (Kind::Float, r#"{"id":"1","v":1.5}"#),
            (Kind::Any, r#"{"id":"1","v":{"a":[null,true,"x",-7]}}"#),
        ] {
            assert_eq!(there_and_back(kind, record).1, record);
        }
    }

    #[test]
    fn bytes_dates_and_big_integers_are_cbor_types() {
        assert_eq!(
            member(&there_and_back(Kind::Bytes, r#"{"id":"1","v":"AAE="}"#).0),
            Value::Bytes(vec![0, 1])
        );
        let date =
            member(&there_and_back(Kind::Date, r#"{"id":"1","v":"2026-01-02T03:04:05.678Z"}"#).0);
        assert!(matches!(date, Value::Tag(0, _)), "{date:?}");
        let big = member(&there_and_back(Kind::BigInt, r#"{"id":"1","v":36893488147419103232}"#).0);
        assert_eq!(big, Value::Tag(2, Box::new(Value::Bytes(vec![2, 0, 0, 0, 0, 0, 0, 0, 0]))));
    }

    #[test]
    fn malformed_bodies_say_what_is_wrong() {
        let message = |body: &[u8]| to_json(body).unwrap_err().message.into_owned();
        assert!(message(&[0xa1, 0x61]).contains("not valid CBOR"));
        assert!(message(&[0x01, 0x02]).contains("byte 1"));
        assert!(message(&[0xa1, 0x01, 0x02]).contains("name must be text"));
        assert!(message(&[0xfb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0]).contains("infinity"));
        assert!(message(&[0x81; 200]).contains("not valid CBOR"));
    }
}
