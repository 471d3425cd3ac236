//! CBOR (RFC 8949). Out: the schema gives back what JSON cannot carry (bytes, dates, big integers) as CBOR's own
//! types. In: the same types become their JSON forms.

use super::EncodeError;
use super::body::{BIGNUM_BYTES_MAX, DEPTH_MAX, Limits, bignum_too_large, invalid, too_deep};
use super::json;
use super::number::{add_one, bytes_to_decimal, decimal_to_bytes, subtract_one};
use super::typed::Typed;
use crate::error::{Answer, Failure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use ciborium::Value;
use ciborium_ll::{Decoder, Header, simple};

/// Standard date and time string, RFC 8949 §3.4.1.
const TAG_DATE: u64 = 0;
/// Epoch-based date and time, RFC 8949 §3.4.2.
const TAG_EPOCH: u64 = 1;
/// Unsigned and negative bignums, RFC 8949 §3.4.3.
const TAG_BIGNUM: u64 = 2;
const TAG_NEGATIVE_BIGNUM: u64 = 3;
/// Texts and byte strings are read in parts of this size.
const BUFFER_BYTES: usize = 1024;

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
/// 400 with what is wrong and, for malformed CBOR, the offset; 413 beyond `limits`.
pub(super) fn to_json(limits: Limits, body: &[u8]) -> Answer<Vec<u8>> {
    let out = Vec::with_capacity(body.len());
    let mut reader = Reader { decoder: Decoder::from(body), limits, out };
    reader.value(0)?;
    let offset = reader.decoder.offset();
    if offset < body.len() {
        return Err(invalid(format!(
            "The body has more than one CBOR item: the second begins at byte {offset}"
        )));
    }
    limits.check(reader.out.len())?;
    Ok(reader.out)
}

/// Why CBOR cannot be read.
type ReadError = ciborium_ll::Error<std::io::Error>;

/// Writes items as JSON while it reads them, so that no more than the text is held.
struct Reader<'b> {
    decoder: Decoder<&'b [u8]>,
    limits: Limits,
    out: Vec<u8>,
}

impl Reader<'_> {
    fn pull(&mut self) -> Answer<Header> {
        let pulled = self.decoder.pull();
        pulled.map_err(|error| malformed(self.decoder.offset(), &error))
    }

    fn value(&mut self, depth: usize) -> Answer<()> {
        let header = self.pull()?;
        self.item(header, depth)
    }

    /// The item that has begun with this header.
    fn item(&mut self, header: Header, depth: usize) -> Answer<()> {
        self.limits.check(self.out.len())?;
        match header {
            Header::Positive(number) => self.push(number.to_string().as_bytes()),
            Header::Negative(number) => self.push((!i128::from(number)).to_string().as_bytes()),
            Header::Float(number) => json::push_float(number, &mut self.out)?,
            Header::Simple(simple::FALSE) => self.push(b"false"),
            Header::Simple(simple::TRUE) => self.push(b"true"),
            Header::Simple(simple::NULL | simple::UNDEFINED) => self.push(b"null"),
            Header::Simple(_) => {
                return Err(invalid("The body has a CBOR value of an unknown kind".into()));
            }
            Header::Text(len) => {
                let text = self.text(len)?;
                json::push_string(&text, &mut self.out);
            }
            Header::Bytes(len) => {
                let bytes = self.bytes(len)?;
                json::push_string(&STANDARD.encode(bytes), &mut self.out);
            }
            Header::Array(len) => self.items(len, (b'[', b']'), depth)?,
            Header::Map(len) => self.items(len, (b'{', b'}'), depth)?,
            Header::Tag(tag) => self.tagged(tag, depth)?,
            Header::Break => {
                let offset = self.decoder.offset();
                return Err(malformed(offset, &ReadError::Syntax(offset)));
            }
        }
        Ok(())
    }

    fn push(&mut self, text: &[u8]) {
        self.out.extend_from_slice(text);
    }

    /// The items of an array, or the members of a map, whose brackets these are. Without a length they end with a
    /// break (RFC 8949 §3.2.2).
    fn items(&mut self, len: Option<usize>, (open, close): (u8, u8), depth: usize) -> Answer<()> {
        if depth == DEPTH_MAX {
            return Err(too_deep());
        }
        self.out.push(open);
        let mut count = 0;
        while len.is_none_or(|len| count < len) {
            let header = self.pull()?;
            if len.is_none() && header == Header::Break {
                break;
            }
            if count > 0 {
                self.out.push(b',');
            }
            count += 1;
            if open == b'[' {
                self.item(header, depth + 1)?;
                continue;
            }
            let Header::Text(len) = header else {
                return Err(invalid("A member's name must be text".into()));
            };
            let name = self.text(len)?;
            json::push_string(&name, &mut self.out);
            self.out.push(b':');
            self.value(depth + 1)?;
        }
        self.out.push(close);
        Ok(())
    }

    fn text(&mut self, len: Option<usize>) -> Answer<String> {
        let (mut text, mut buffer) = (String::new(), [0; BUFFER_BYTES]);
        let offset = self.decoder.offset();
        let mut read = || -> Result<(), ReadError> {
            let mut segments = self.decoder.text(len);
            while let Some(mut segment) = segments.pull()? {
                while let Some(part) = segment.pull(&mut buffer)? {
                    text.push_str(part);
                }
            }
            Ok(())
        };
        read().map_err(|error| malformed(offset, &error))?;
        Ok(text)
    }

    fn bytes(&mut self, len: Option<usize>) -> Answer<Vec<u8>> {
        let (mut bytes, mut buffer) = (Vec::new(), [0; BUFFER_BYTES]);
        let offset = self.decoder.offset();
        let mut read = || -> Result<(), ReadError> {
            let mut segments = self.decoder.bytes(len);
            while let Some(mut segment) = segments.pull()? {
                while let Some(part) = segment.pull(&mut buffer)? {
                    bytes.extend_from_slice(part);
                }
            }
            Ok(())
        };
        read().map_err(|error| malformed(offset, &error))?;
        Ok(bytes)
    }

    fn tagged(&mut self, tag: u64, depth: usize) -> Answer<()> {
        if depth == DEPTH_MAX {
            return Err(too_deep());
        }
        let header = self.pull()?;
        match (tag, header) {
            (TAG_BIGNUM | TAG_NEGATIVE_BIGNUM, Header::Bytes(len)) => {
                let mut bytes = self.bytes(len)?;
                if bytes.len() > BIGNUM_BYTES_MAX {
                    return Err(bignum_too_large());
                }
                if tag == TAG_NEGATIVE_BIGNUM {
                    add_one(&mut bytes);
                    self.out.push(b'-');
                }
                self.push(bytes_to_decimal(&bytes).as_bytes());
                Ok(())
            }
            (TAG_EPOCH, Header::Positive(seconds)) => self.push_epoch(seconds as f64),
            (TAG_EPOCH, Header::Negative(seconds)) => self.push_epoch(!i128::from(seconds) as f64),
            (TAG_EPOCH, Header::Float(seconds)) => self.push_epoch(seconds),
            // an unknown tag says more about its content than JSON can: the content is kept
            _ => self.item(header, depth + 1),
        }
    }

    fn push_epoch(&mut self, seconds: f64) -> Answer<()> {
        let time = jiff::Timestamp::from_millisecond((seconds * 1000.0).round() as i64)
            .ok()
            .filter(|_| seconds.is_finite())
            .ok_or_else(|| invalid("A time is out of range".into()))?;
        json::push_string(&format!("{time:.3}"), &mut self.out);
        Ok(())
    }
}

/// What is told of CBOR that cannot be read, at an offset unless the error knows a better one.
fn malformed(offset: usize, error: &ReadError) -> Box<Failure> {
    invalid(match error {
        ReadError::Io(_) => {
            format!("The body is not valid CBOR: it ends too early, at byte {offset}")
        }
        ReadError::Syntax(offset) => format!("The body is not valid CBOR at byte {offset}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::content::typed;
    use crate::error::Code;
    use harper_store::{Attribute, Kind, TableSchema};
    use proptest::prelude::*;

    const LIMITS: Limits = Limits { parts_max: 1, json_bytes_max: 1000 };

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
        (value, String::from_utf8(to_json(LIMITS, &out).unwrap()).unwrap())
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
        let message = |body: &[u8]| to_json(LIMITS, body).unwrap_err().message.into_owned();
        assert!(message(&[0xa1, 0x61]).contains("not valid CBOR"));
        assert!(message(&[0x01, 0x02]).contains("byte 1"));
        assert!(message(&[0xa1, 0x01, 0x02]).contains("name must be text"));
        assert!(message(&[0xfb, 0x7f, 0xf0, 0, 0, 0, 0, 0, 0]).contains("infinity"));
        assert!(message(&[0xff]).contains("not valid CBOR at byte"));
        assert!(message(&[0x62, 0xc3, 0x28]).contains("not valid CBOR at byte"), "no UTF-8");
        assert!(message(&[0xc1; 200]).contains("deeper than 64"));
        assert!(
            message(&[0xbb, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]).contains("too early")
        );
        let many = [&[0x99, 0x10, 0x00][..], &[0xf6; 0x1000]].concat();
        assert_eq!(to_json(LIMITS, &many).unwrap_err().code, Code::BodyTooLarge);
        assert!(message(&[0x81; 200]).contains("deeper than 64"));
    }

    #[test]
    fn items_without_a_length_are_read_to_their_break() {
        let read = |body: &[u8]| String::from_utf8(to_json(LIMITS, body).unwrap()).unwrap();
        let text = b"\xbf\x61a\x9f\x01\x9f\xff\xff\x61b\x7f\x61x\x62yz\xff\xff";
        assert_eq!(read(text), r#"{"a":[1,[]],"b":"xyz"}"#);
        assert_eq!(read(b"\x5f\x41\x00\x42\x01\x02\xff"), r#""AAEC""#);
        assert_eq!(read(b"\x82\xf7\xc1\x01"), r#"[null,"1970-01-01T00:00:01.000Z"]"#);
        assert_eq!(read(b"\xd9\xd9\xf7\x3a\xff\xff\xff\xff"), "-4294967296");
    }

    proptest! {
        #[test]
        fn no_input_breaks_the_decoder(body in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(json) = to_json(LIMITS, &body) {
                prop_assert!(serde_json::from_slice::<serde_json::Value>(&json).is_ok());
            }
        }

        #[test]
        fn what_another_writes_is_read(text in ".{0,300}", number: i64, float in -1e300..1e300_f64) {
            let value = Value::Array(vec![text.as_str().into(), number.into(), float.into()]);
            let mut body = Vec::new();
            ciborium::into_writer(&value, &mut body).unwrap();
            let limits = Limits { parts_max: 1, json_bytes_max: 10_000 };
            let json = to_json(limits, &body).unwrap();
            let expected = serde_json::json!([text, number, float]).to_string();
            prop_assert_eq!(String::from_utf8(json).unwrap(), expected);
        }
    }
}
