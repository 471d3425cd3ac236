//! MessagePack (the specification's 2017 edition). Bytes are `bin`, dates the timestamp extension, and integers beyond
//! 64 bits the extension `0x42` that Harper's own encoder uses: two's complement, big-endian.

use super::EncodeError;
use super::body::{
    BIGNUM_BYTES_MAX, DEPTH_MAX, Limits, Shape, bignum_too_large, invalid, too_deep,
};
use super::json;
use super::number::{decimal_to_signed, signed_to_decimal};
use super::typed::Typed;
use crate::error::{Answer, Failure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use rmp::{Marker, encode};

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
/// 400 with what is wrong and, for malformed MessagePack, the offset; 413 beyond `limits`.
pub(super) fn to_json(shape: Shape, limits: Limits, body: &[u8]) -> Answer<Vec<u8>> {
    let out = Vec::with_capacity(body.len());
    let mut reader = Reader { body, rest: body, limits, out };
    reader.out.push(b'[');
    reader.value(0)?;
    let mut count = 1;
    while shape == Shape::Many && !reader.rest.is_empty() {
        reader.out.push(b',');
        reader.value(0)?;
        count += 1;
    }
    if !reader.rest.is_empty() {
        let offset = reader.offset();
        return Err(invalid(format!(
            "The body has more than one MessagePack value: the second begins at byte {offset}"
        )));
    }
    limits.check(reader.out.len())?;
    if count == 1 {
        reader.out.remove(0);
    } else {
        reader.out.push(b']');
    }
    Ok(reader.out)
}

/// Writes values as JSON while it reads them, so that no more than the text is held.
struct Reader<'b> {
    body: &'b [u8],
    rest: &'b [u8],
    limits: Limits,
    out: Vec<u8>,
}

impl<'b> Reader<'b> {
    fn offset(&self) -> usize {
        self.body.len() - self.rest.len()
    }

    fn malformed(&self, what: &str) -> Box<Failure> {
        invalid(format!("The body is not valid MessagePack at byte {}: {what}", self.offset()))
    }

    fn take(&mut self, count: usize) -> Answer<&'b [u8]> {
        let Some((taken, rest)) = self.rest.split_at_checked(count) else {
            return Err(self.malformed("it ends too early"));
        };
        self.rest = rest;
        Ok(taken)
    }

    fn marker(&mut self) -> Answer<Marker> {
        Ok(self.take(1)?.first().map_or(Marker::Reserved, |byte| Marker::from_u8(*byte)))
    }

    /// An unsigned number of so many bytes, at most eight.
    fn unsigned(&mut self, bytes: usize) -> Answer<u64> {
        Ok(self.take(bytes)?.iter().fold(0, |number, byte| number << 8 | u64::from(*byte)))
    }

    fn signed(&mut self, bytes: usize) -> Answer<i64> {
        let unused = 64 - 8 * bytes;
        Ok((self.unsigned(bytes)? << unused) as i64 >> unused)
    }

    fn len(&mut self, bytes: usize) -> Answer<usize> {
        Ok(usize::try_from(self.unsigned(bytes)?).unwrap_or(usize::MAX))
    }

    fn value(&mut self, depth: usize) -> Answer<()> {
        let marker = self.marker()?;
        self.limits.check(self.out.len())?;
        match marker {
            Marker::Null => self.push(b"null"),
            Marker::False => self.push(b"false"),
            Marker::True => self.push(b"true"),
            Marker::FixPos(number) => self.push_text(&number),
            Marker::FixNeg(number) => self.push_text(&number),
            Marker::U8 | Marker::U16 | Marker::U32 | Marker::U64 => {
                let number = self.unsigned(width(marker))?;
                self.push_text(&number);
            }
            Marker::I8 | Marker::I16 | Marker::I32 | Marker::I64 => {
                let number = self.signed(width(marker))?;
                self.push_text(&number);
            }
            Marker::F32 => {
                let bits = self.unsigned(4)? as u32;
                json::push_float(f64::from(f32::from_bits(bits)), &mut self.out)?;
            }
            Marker::F64 => {
                let bits = self.unsigned(8)?;
                json::push_float(f64::from_bits(bits), &mut self.out)?;
            }
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                let count = self.len(width(marker))?;
                json::push_string(&STANDARD.encode(self.take(count)?), &mut self.out);
            }
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => {
                let count = match marker {
                    Marker::FixArray(count) => usize::from(count),
                    _ => self.len(width(marker))?,
                };
                self.items(count, (b'[', b']'), depth)?;
            }
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => {
                let count = match marker {
                    Marker::FixMap(count) => usize::from(count),
                    _ => self.len(width(marker))?,
                };
                self.items(count, (b'{', b'}'), depth)?;
            }
            marker => match self.text(marker)? {
                Some(text) => json::push_string(text, &mut self.out),
                None => self.extension(marker)?,
            },
        }
        Ok(())
    }

    fn push(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }

    fn push_text(&mut self, number: &dyn ToString) {
        self.push(number.to_string().as_bytes());
    }

    /// The items of an array, or the members of a map, whose brackets these are.
    fn items(&mut self, count: usize, (open, close): (u8, u8), depth: usize) -> Answer<()> {
        if depth == DEPTH_MAX {
            return Err(too_deep());
        }
        self.out.push(open);
        for index in 0..count {
            if index > 0 {
                self.out.push(b',');
            }
            if open == b'{' {
                let marker = self.marker()?;
                let Some(name) = self.text(marker)? else {
                    return Err(invalid("A member's name must be text".into()));
                };
                json::push_string(name, &mut self.out);
                self.out.push(b':');
            }
            self.value(depth + 1)?;
        }
        self.out.push(close);
        Ok(())
    }

    /// The text that a marker begins; none when it begins something else.
    fn text(&mut self, marker: Marker) -> Answer<Option<&'b str>> {
        let count = match marker {
            Marker::FixStr(count) => usize::from(count),
            Marker::Str8 | Marker::Str16 | Marker::Str32 => self.len(width(marker))?,
            _ => return Ok(None),
        };
        let text = std::str::from_utf8(self.take(count)?);
        text.map(Some).map_err(|_| invalid("A text is not UTF-8".into()))
    }

    fn extension(&mut self, marker: Marker) -> Answer<()> {
        let count = match marker {
            Marker::FixExt1 => 1,
            Marker::FixExt2 => 2,
            Marker::FixExt4 => 4,
            Marker::FixExt8 => 8,
            Marker::FixExt16 => 16,
            Marker::Ext8 | Marker::Ext16 | Marker::Ext32 => self.len(width(marker))?,
            _ => return Err(self.malformed("a byte that begins no value")),
        };
        let kind = self.signed(1)?;
        let data = self.take(count)?;
        match i8::try_from(kind) {
            Ok(TIMESTAMP) => match parse_timestamp(data) {
                Some(time) => json::push_string(&time.to_string(), &mut self.out),
                None => return Err(invalid("A timestamp is out of range".into())),
            },
            Ok(BIG) if data.len() > BIGNUM_BYTES_MAX => return Err(bignum_too_large()),
            Ok(BIG) => self.push(signed_to_decimal(data).as_bytes()),
            _ => {
                let sentence = format!("The extension {kind} of MessagePack is not known here");
                return Err(invalid(sentence));
            }
        }
        Ok(())
    }
}

/// Bytes of the number, or of the length, that follows a marker.
fn width(marker: Marker) -> usize {
    match marker {
        Marker::U16 | Marker::I16 | Marker::Bin16 | Marker::Ext16 | Marker::Str16 => 2,
        Marker::Array16 | Marker::Map16 => 2,
        Marker::U32 | Marker::I32 | Marker::Bin32 | Marker::Ext32 | Marker::Str32 => 4,
        Marker::Array32 | Marker::Map32 => 4,
        Marker::U64 | Marker::I64 => 8,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Code;
    use proptest::prelude::*;
    use std::borrow::Cow;

    const LIMITS: Limits = Limits { parts_max: 1, json_bytes_max: 1000 };

    fn there_and_back(value: &Typed<'_>) -> String {
        let mut out = Vec::new();
        push(value, &mut out).unwrap();
        String::from_utf8(to_json(Shape::One, LIMITS, &out).unwrap()).unwrap()
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
        let message =
            |body: &[u8]| to_json(Shape::One, LIMITS, body).unwrap_err().message.into_owned();
        assert!(message(&[0x82, 0xa1]).contains("not valid MessagePack at byte"));
        assert!(message(&[]).contains("not valid MessagePack"));
        assert!(message(&[0xc0, 0xc0]).contains("byte 1"));
        assert!(message(&[0x81, 0x01, 0x02]).contains("name must be text"));
        assert!(message(&[0xcb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0]).contains("infinity"));
        assert!(message(&[0x91; 200]).contains("deeper than 64"));
        assert!(message(&[0xdd, 0xff, 0xff, 0xff, 0xff]).contains("not valid"));
        assert!(message(&[0xd4, 0x05, 0x00]).contains("extension 5"));
        assert!(message(&[0xc1]).contains("byte 1: a byte that begins no value"));
        assert!(message(&[0xa1, 0xff]).contains("not UTF-8"));
        assert_eq!(to_json(Shape::Many, LIMITS, &[0x01, 0x02]).unwrap(), b"[1,2]");
        let many = [&[0xdd, 0, 0, 0x10, 0][..], &[0xc0; 0x1000]].concat();
        assert_eq!(to_json(Shape::One, LIMITS, &many).unwrap_err().code, Code::BodyTooLarge);
    }

    proptest! {
        #[test]
        fn no_input_breaks_the_decoder(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(json) = to_json(Shape::Many, LIMITS, &body) {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
            }
        }

        #[test]
        fn what_another_writes_is_read(text in ".{0,300}", number: i64, float in -1e300..1e300, bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let value = Typed::Array(vec![
                Typed::Map(vec![(Cow::Borrowed("text"), Typed::Text(Cow::Borrowed(&text)))]),
                Typed::Whole(number),
                Typed::Float(float),
                Typed::Bytes(bytes.clone()),
            ]);
            let limits = Limits { parts_max: 1, json_bytes_max: 10_000 };
            let mut out = Vec::new();
            push(&value, &mut out).unwrap();
            let json = to_json(Shape::One, limits, &out).unwrap();
            let expected = serde_json::json!([{"text": text}, number, float, STANDARD.encode(&bytes)]);
            prop_assert_eq!(String::from_utf8(json).unwrap(), expected.to_string());
        }
    }
}
