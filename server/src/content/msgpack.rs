//! MessagePack (the specification's 2017 edition). Bytes are `bin`, dates the timestamp extension, and integers beyond
//! 64 bits the extension `0x42` that Harper's own encoder uses: two's complement, big-endian.

use super::EncodeError;
use super::body::{BIGNUM_BYTES_MAX, DEPTH_MAX, Shape, invalid};
use super::json::{self, push_all};
use super::number::{decimal_to_signed, signed_to_decimal};
use super::typed::Typed;
use crate::error::Answer;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rmp::encode;
use rmpv::Value;

/// The extension of timestamps.
const TIMESTAMP: i8 = -1;
/// The extension of big integers.
const BIG: i8 = 0x42;

/// Appends a value.
pub(super) fn push(value: &Typed<'_>, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    match value {
        Typed::Null => encode::write_nil(out)?,
        Typed::Bool(value) => encode::write_bool(out, *value)?,
        Typed::Whole(value) => drop(encode::write_sint(out, *value)?),
        Typed::Unsigned(value) => drop(encode::write_uint(out, *value)?),
        Typed::Float(value) => encode::write_f64(out, *value)?,
        Typed::Big(digits) => match (digits.parse(), decimal_to_signed(digits)) {
            (Ok(value), _) => drop(encode::write_uint(out, value)?),
            (_, Some(bytes)) => push_extension(BIG, &bytes, out)?,
            (_, None) => encode::write_f64(out, digits.parse()?)?,
        },
        Typed::Text(text) => encode::write_str(out, text)?,
        Typed::Bytes(bytes) => encode::write_bin(out, bytes)?,
        Typed::Date(date) => match date.parse::<Timestamp>() {
            Ok(time) => push_extension(TIMESTAMP, &timestamp(time), out)?,
            // a date alone names no instant
            Err(_) => encode::write_str(out, date)?,
        },
        Typed::Array(items) => {
            encode::write_array_len(out, u32::try_from(items.len())?)?;
            items.iter().try_for_each(|item| push(item, out))?;
        }
        Typed::Map(members) => {
            encode::write_map_len(out, u32::try_from(members.len())?)?;
            for (name, value) in members {
                encode::write_str(out, name)?;
                push(value, out)?;
            }
        }
    }
    Ok(())
}

/// The head of an array of `count` items.
pub(super) fn array_head(count: u32) -> Vec<u8> {
    let mut out = Vec::new();
    // writing to a vector cannot fail
    let _ = encode::write_array_len(&mut out, count);
    out
}

fn push_extension(kind: i8, data: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    encode::write_ext_meta(out, u32::try_from(data.len())?, kind)?;
    out.extend_from_slice(data);
    Ok(())
}

/// Timestamp 64 where it fits, else 96.
fn timestamp(time: Timestamp) -> Vec<u8> {
    let (mut seconds, mut nanoseconds) = (time.as_second(), time.subsec_nanosecond());
    if nanoseconds < 0 {
        // the extension counts on from the second before
        seconds -= 1;
        nanoseconds += 1_000_000_000;
    }
    let nanoseconds = nanoseconds.unsigned_abs();
    match u64::try_from(seconds).ok().filter(|seconds| *seconds < 1 << 34) {
        Some(seconds) => (u64::from(nanoseconds) << 34 | seconds).to_be_bytes().to_vec(),
        None => [&nanoseconds.to_be_bytes()[..], &seconds.to_be_bytes()].concat(),
    }
}

fn parse_timestamp(data: &[u8]) -> Option<Timestamp> {
    let (seconds, nanoseconds) = match data.len() {
        4 => (i64::from(u32::from_be_bytes(data.try_into().ok()?)), 0),
        8 => {
            let both = u64::from_be_bytes(data.try_into().ok()?);
            ((both & ((1 << 34) - 1)) as i64, (both >> 34) as u32)
        }
        12 => {
            let (nanoseconds, seconds) = data.split_first_chunk()?;
            (i64::from_be_bytes(seconds.try_into().ok()?), u32::from_be_bytes(*nanoseconds))
        }
        _ => return None,
    };
    Timestamp::new(seconds, i32::try_from(nanoseconds).ok()?).ok()
}

/// A MessagePack body as JSON text. Several values after one another, as Harper writes lists, are a list.
///
/// # Errors
/// 400 with what is wrong and, for malformed MessagePack, the offset.
pub(super) fn to_json(shape: Shape, body: &[u8]) -> Answer<Vec<u8>> {
    let mut rest = body;
    let mut values = vec![read(body, &mut rest)?];
    while shape == Shape::Many && !rest.is_empty() {
        values.push(read(body, &mut rest)?);
    }
    if !rest.is_empty() {
        let offset = body.len() - rest.len();
        return Err(invalid(format!(
            "The body has more than one MessagePack value: the second begins at byte {offset}"
        )));
    }
    let mut out = Vec::with_capacity(body.len() * 2);
    match values.as_slice() {
        [value] => push_json(value, &mut out)?,
        several => push_all(several, (b'[', b']'), &mut out, push_json)?,
    }
    Ok(out)
}

fn read(body: &[u8], rest: &mut &[u8]) -> Answer<Value> {
    rmpv::decode::read_value_with_max_depth(rest, DEPTH_MAX).map_err(|error| {
        let offset = body.len() - rest.len();
        invalid(format!("The body is not valid MessagePack at byte {offset}: {error}"))
    })
}

fn push_json(value: &Value, out: &mut Vec<u8>) -> Answer<()> {
    match value {
        Value::Nil => out.extend_from_slice(b"null"),
        Value::Boolean(value) => out.extend_from_slice(value.to_string().as_bytes()),
        Value::Integer(number) => out.extend_from_slice(number.to_string().as_bytes()),
        Value::F32(number) => push_float(f64::from(*number), out)?,
        Value::F64(number) => push_float(*number, out)?,
        Value::String(text) => match text.as_str() {
            Some(text) => json::push_string(text, out),
            None => return Err(invalid("A text is not UTF-8".into())),
        },
        Value::Binary(bytes) => json::push_string(&STANDARD.encode(bytes), out),
        Value::Array(items) => push_all(items, (b'[', b']'), out, push_json)?,
        Value::Map(entries) => push_all(entries, (b'{', b'}'), out, |(name, value), out| {
            let Some(name) = name.as_str() else {
                return Err(invalid("A member's name must be text".into()));
            };
            json::push_string(name, out);
            out.push(b':');
            push_json(value, out)
        })?,
        Value::Ext(TIMESTAMP, data) => match parse_timestamp(data) {
            Some(time) => json::push_string(&time.to_string(), out),
            None => return Err(invalid("A timestamp is out of range".into())),
        },
        Value::Ext(BIG, data) if data.len() > BIGNUM_BYTES_MAX => {
            let sentence = format!("A big integer has more than {BIGNUM_BYTES_MAX} bytes");
            return Err(invalid(sentence));
        }
        Value::Ext(BIG, data) => out.extend_from_slice(signed_to_decimal(data).as_bytes()),
        Value::Ext(kind, _) => {
            return Err(invalid(format!("The extension {kind} of MessagePack is not known here")));
        }
    }
    Ok(())
}

fn push_float(number: f64, out: &mut Vec<u8>) -> Answer<()> {
    if !number.is_finite() {
        return Err(invalid("JSON has no NaN and no infinity".into()));
    }
    out.extend_from_slice(serde_json::Value::from(number).to_string().as_bytes());
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::borrow::Cow;

    fn there_and_back(value: &Typed<'_>) -> String {
        let mut out = Vec::new();
        push(value, &mut out).unwrap();
        String::from_utf8(to_json(Shape::One, &out).unwrap()).unwrap()
    }

    #[test]
    fn typed_values_survive_the_round_trip() {
        let date = |text| Typed::Date(Cow::Borrowed(text));
        for (value, json) in [
            (Typed::Big("123456789012345678901234567890"), "123456789012345678901234567890"),
            (Typed::Big("-123456789012345678901234567890"), "-123456789012345678901234567890"),
            (Typed::Big("18446744073709551615"), "18446744073709551615"),
            (Typed::Bytes(vec![0, 1, 2, 255]), "\"AAEC/w==\""),
            (date("2026-01-02T03:04:05.678Z"), "\"2026-01-02T03:04:05.678Z\""),
            (date("1969-12-31T23:59:59.5Z"), "\"1969-12-31T23:59:59.5Z\""),
            (date("2026-01-02"), "\"2026-01-02\""),
            (Typed::Float(1.5), "1.5"),
            (Typed::Null, "null"),
        ] {
            assert_eq!(there_and_back(&value), json);
        }
    }

    #[test]
    fn malformed_bodies_say_what_is_wrong() {
        let message = |body: &[u8]| to_json(Shape::One, body).unwrap_err().message.into_owned();
        assert!(message(&[0x82, 0xa1]).contains("not valid MessagePack at byte"));
        assert!(message(&[]).contains("not valid MessagePack"));
        assert!(message(&[0xc0, 0xc0]).contains("byte 1"));
        assert!(message(&[0x81, 0x01, 0x02]).contains("name must be text"));
        assert!(message(&[0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0]).contains("infinity"));
        assert!(message(&[0x91; 200]).contains("not valid"));
        assert!(message(&[0xdd, 0xff, 0xff, 0xff, 0xff]).contains("not valid"));
        assert!(message(&[0xd4, 0x05, 0x00]).contains("extension 5"));
        assert_eq!(to_json(Shape::Many, &[0x01, 0x02]).unwrap(), b"[1,2]");
    }

    proptest! {
        #[test]
        fn no_input_breaks_the_decoder(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(json) = to_json(Shape::Many, &body) {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
            }
        }
    }
}
