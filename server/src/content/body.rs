//! Request bodies: what type they have, and their JSON text, which is what the store takes.

use super::{Format, Media, cbor, csv, form, json, msgpack, multipart, yaml};
use crate::error::{Answer, Code, Failure};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use harper_store::TableSchema;
use http::{HeaderMap, HeaderValue, Method, header};
use serde_json::value::RawValue;

/// Largest integer taken in a binary format, in bytes (more than 300 decimal digits).
pub(super) const BIGNUM_BYTES_MAX: usize = 128;
/// Nesting that is taken in other formats than JSON.
pub(super) const DEPTH_MAX: usize = 64;
/// How many times as long as a body its JSON text may be, beyond [`EXPANSION_FREE_BYTES`].
const EXPANSION_MAX: usize = 64;
const EXPANSION_FREE_BYTES: usize = 64 * 1024;

/// What a body is.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum BodyType {
    /// A record or a list of them.
    Record(Format),
    /// The fields and files of a form (RFC 7578), with its boundary.
    Multipart(String),
    /// Bytes that are kept as they are under this type.
    Verbatim(HeaderValue),
}

/// What the target takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    /// One record.
    One,
    /// One record or a list of them. Formats that are lists by nature give a list even of one.
    Many,
}

/// What a body may cost.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Parts of a multipart body.
    pub parts_max: usize,
    /// Bytes of the JSON text that a body stands for.
    pub json_bytes_max: usize,
}

impl Limits {
    /// The same for this body: a small one does not stand for a very large text.
    fn of(self, body: &[u8]) -> Self {
        let expanded = body.len().saturating_mul(EXPANSION_MAX) + EXPANSION_FREE_BYTES;
        Self { json_bytes_max: self.json_bytes_max.min(expanded), ..self }
    }

    /// Refuses JSON text that has grown too long.
    ///
    /// # Errors
    /// 413.
    pub(super) fn check(self, json_bytes: usize) -> Answer<()> {
        if json_bytes <= self.json_bytes_max {
            return Ok(());
        }
        let sentence =
            format!("The body stands for more than {} bytes of JSON", self.json_bytes_max);
        Err(Failure::new(Code::BodyTooLarge, sentence))
    }
}

/// A failure of the body, which is the client's.
pub(super) fn invalid(message: String) -> Box<Failure> {
    Failure::new(Code::InvalidBody, message)
}

/// What a value that is nested too deep is told.
pub(super) fn too_deep() -> Box<Failure> {
    invalid(format!("The body is nested deeper than {DEPTH_MAX} levels"))
}

/// What a big integer that is too large is told.
pub(super) fn bignum_too_large() -> Box<Failure> {
    invalid(format!("A big integer has more than {BIGNUM_BYTES_MAX} bytes"))
}

/// The type of a request body; JSON when it is not named. Only a body that is to be a whole record can be kept verbatim.
///
/// # Errors
/// 415 for a type that is not understood with this method.
pub(crate) fn of_body(method: &Method, headers: &HeaderMap) -> Answer<BodyType> {
    let Some(value) = headers.get(header::CONTENT_TYPE) else {
        return Ok(BodyType::Record(Format::Json));
    };
    let text = value.to_str().unwrap_or("?");
    let essence = text.split(';').next().unwrap_or_default().trim();
    if essence.is_empty() {
        return Ok(BodyType::Record(Format::Json));
    }
    if essence.eq_ignore_ascii_case("multipart/form-data") {
        let boundary = multipart::boundary(text);
        return boundary.map(BodyType::Multipart).ok_or_else(|| {
            let sentence = "A body of type multipart/form-data needs its boundary in Content-Type";
            Failure::new(Code::UnsupportedMediaType, sentence)
        });
    }
    let is_merge = essence.eq_ignore_ascii_case("application/merge-patch+json");
    if is_merge && *method == Method::PATCH {
        return Ok(BodyType::Record(Format::Json));
    }
    match Media::named(essence).map(|media| media.format).filter(|format| *format != Format::Text) {
        Some(format) => utf8_only(text).map(|()| BodyType::Record(format)),
        None if !is_merge && essence.contains('/') && *method != Method::PATCH => {
            Ok(BodyType::Verbatim(value.clone()))
        }
        None => Err(unsupported(essence)),
    }
}

/// A type that no body can have here.
#[must_use]
pub(crate) fn unsupported(essence: &str) -> Box<Failure> {
    let names = Media::names();
    let sentence = format!("A body of type {essence} is not understood here; there are {names}");
    Failure::new(Code::UnsupportedMediaType, sentence)
}

fn utf8_only(content_type: &str) -> Answer<()> {
    let mut parameters = content_type.split(';').skip(1).filter_map(|one| one.split_once('='));
    let charset = parameters.find(|(name, _)| name.trim().eq_ignore_ascii_case("charset"));
    let Some((_, charset)) = charset else { return Ok(()) };
    let charset = charset.trim().trim_matches('"');
    if ["utf-8", "utf8", "us-ascii"].iter().any(|known| charset.eq_ignore_ascii_case(known)) {
        return Ok(());
    }
    let sentence = format!("The character set {charset} is not understood; there is utf-8");
    Err(Failure::new(Code::UnsupportedMediaType, sentence))
}

/// The JSON text of a body.
///
/// # Errors
/// 400 for a body that is not of its type, 413 for one that passes `limits`.
pub(crate) fn to_json(
    kind: &BodyType,
    schema: &TableSchema,
    shape: Shape,
    limits: Limits,
    body: Bytes,
) -> Answer<Bytes> {
    let limits = limits.of(&body);
    let json = match kind {
        BodyType::Record(Format::Json) => return Ok(body),
        BodyType::Record(Format::Cbor) => cbor::to_json(limits, &body),
        BodyType::Record(Format::MsgPack) => msgpack::to_json(shape, limits, &body),
        BodyType::Record(Format::Yaml) => yaml::to_json(limits, &body),
        BodyType::Record(Format::NdJson | Format::Text) => lines_to_json(shape, &body),
        BodyType::Record(Format::Csv) => csv::to_json(schema, shape, limits, &body),
        BodyType::Record(Format::Form) => form::to_json(schema, &body),
        BodyType::Multipart(boundary) => multipart::to_json(schema, boundary, limits, body),
        BodyType::Verbatim(name) => Ok(content(name.to_str().unwrap_or_default(), &body)),
    };
    json.map(Bytes::from)
}

/// Bytes with their media type, as they are kept: `{"contentType", "data"}` with the data in base64.
#[must_use]
pub(crate) fn content(media_type: &str, data: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(data.len() / 3 * 4 + media_type.len() + 48);
    out.extend_from_slice(b"{\"contentType\":");
    json::push_string(media_type, &mut out);
    out.extend_from_slice(b",\"data\":\"");
    out.extend_from_slice(STANDARD.encode(data).as_bytes());
    out.extend_from_slice(b"\"}");
    out
}

/// JSON texts, one a line; empty lines are passed over.
fn lines_to_json(shape: Shape, body: &[u8]) -> Answer<Vec<u8>> {
    let text = std::str::from_utf8(body).map_err(|error| {
        invalid(format!("The body is not UTF-8 at byte {}", error.valid_up_to()))
    })?;
    let mut out = Vec::with_capacity(body.len() + 2);
    let mut count = 0;
    for (number, line) in text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty()) {
        let value: &RawValue = serde_json::from_str(line)
            .map_err(|error| invalid(format!("Line {} is not JSON: {error}", number + 1)))?;
        out.push(if count == 0 { b'[' } else { b',' });
        out.extend_from_slice(value.get().as_bytes());
        count += 1;
    }
    match (shape, count) {
        (Shape::Many, 0) => Ok(b"[]".to_vec()),
        (Shape::One, 1) => Ok(out.split_off(1)),
        (Shape::One, _) => {
            Err(invalid(format!("One record is expected, and the body has {count} lines")))
        }
        (Shape::Many, _) => {
            out.push(b']');
            Ok(out)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(method: &Method, content_type: &str) -> Answer<BodyType> {
        let value = HeaderValue::from_str(content_type).unwrap();
        of_body(method, &HeaderMap::from_iter([(header::CONTENT_TYPE, value)]))
    }

    #[test]
    fn known_types_are_records_and_others_are_kept() {
        let json = BodyType::Record(Format::Json);
        assert_eq!(of_body(&Method::PUT, &HeaderMap::new()).unwrap(), json);
        for (method, text, format) in [
            (Method::PUT, "application/json; charset=utf-8", Format::Json),
            (Method::PATCH, "application/merge-patch+json", Format::Json),
            (Method::POST, "TEXT/CSV", Format::Csv),
            (Method::POST, "application/yaml", Format::Yaml),
        ] {
            assert_eq!(kind(&method, text).unwrap(), BodyType::Record(format), "{text}");
        }
        for text in ["text/plain", "image/png", "application/xml; charset=latin1"] {
            let kept = BodyType::Verbatim(HeaderValue::from_str(text).unwrap());
            assert_eq!(kind(&Method::PUT, text).unwrap(), kept);
            assert_eq!(kind(&Method::PATCH, text).unwrap_err().code, Code::UnsupportedMediaType);
        }
        for text in ["nonsense", "text/csv; charset=latin1", "multipart/form-data"] {
            assert_eq!(kind(&Method::PUT, text).unwrap_err().code, Code::UnsupportedMediaType);
        }
    }

    #[test]
    fn lines_are_a_list_and_a_wrong_one_is_named() {
        let many = |text: &str| lines_to_json(Shape::Many, text.as_bytes());
        assert_eq!(many("{\"a\":1}\n\n {\"b\":2}\r\n").unwrap(), br#"[{"a":1},{"b":2}]"#);
        assert_eq!(many("").unwrap(), b"[]");
        assert!(many("{}\n{\n").unwrap_err().message.contains("Line 2"));
        assert!(many("1,2").unwrap_err().message.contains("Line 1"), "one value a line");
        assert_eq!(lines_to_json(Shape::One, b"{}\n").unwrap(), b"{}");
        assert!(lines_to_json(Shape::One, b"{}\n{}").is_err());
    }
}
