//! Media types: which one the client wants (RFC 9110 §12), and records in it both ways. Stored records are JSON
//! text; JSON answers are those bytes as they are.

pub(crate) mod cbor;
pub(crate) mod json;

use crate::error::{Answer, Code, Failure};
use bytes::Bytes;
use harper_store::TableSchema;
use http::{HeaderMap, HeaderValue, header};

/// The media types of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Media {
    /// `application/json` (RFC 8259).
    Json,
    /// `application/cbor` (RFC 8949).
    Cbor,
}

impl Media {
    /// In the server's order of preference.
    pub(crate) const ALL: [Self; 2] = [Self::Json, Self::Cbor];

    /// The name on the wire.
    #[must_use]
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Cbor => "application/cbor",
        }
    }

    /// The `Content-Type` of an answer.
    #[must_use]
    pub(crate) fn header(self) -> HeaderValue {
        HeaderValue::from_static(self.name())
    }

    /// What marks this type in an entity tag; nothing for JSON.
    #[must_use]
    pub(crate) const fn tag(self) -> &'static str {
        match self {
            Self::Json => "",
            Self::Cbor => "-c",
        }
    }

    /// The type that the request's `Accept` prefers.
    ///
    /// # Errors
    /// 406 naming the types there are, when none of them is acceptable.
    pub(crate) fn negotiate(headers: &HeaderMap) -> Answer<Self> {
        let Some(accept) = headers.get(header::ACCEPT) else { return Ok(Self::Json) };
        let accept = accept.as_bytes();
        if accept == b"*/*" || accept == b"application/json" {
            return Ok(Self::Json);
        }
        let mut fields =
            headers.get_all(header::ACCEPT).iter().filter_map(|field| field.to_str().ok());
        let ranges = fields.by_ref().collect::<Vec<_>>().join(",");
        best(&ranges).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Failure::new(
                Code::NotAcceptable,
                format!("No supported type is accepted; there are {names}"),
            )
        })
    }

    /// Text that begins, separates and ends a list of records.
    #[must_use]
    pub(crate) const fn list_marks(self) -> (&'static [u8], &'static [u8], &'static [u8]) {
        match self {
            Self::Json => (b"[", b",", b"]"),
            // an array of indefinite length, RFC 8949 §3.2.2
            Self::Cbor => (&[0x9f], &[], &[0xff]),
        }
    }
}

/// The supported type with the greatest quality; on a tie the more specific range, then the one named first.
fn best(accept: &str) -> Option<Media> {
    if accept.trim().is_empty() {
        return Some(Media::Json);
    }
    let ranges: Vec<_> = accept.split(',').filter_map(weighted).collect();
    let rated = Media::ALL.iter().filter_map(|media| {
        let (position, range) = ranges
            .iter()
            .enumerate()
            .filter_map(|(position, range)| {
                specificity(range.0, media.name()).map(|_| (position, range))
            })
            .max_by_key(|(_, range)| specificity(range.0, media.name()))?;
        let rank = specificity(range.0, media.name())?;
        (range.1 > 0).then_some(((range.1, rank, std::cmp::Reverse(position)), *media))
    });
    // on an equal rank JSON, which comes first, wins
    rated.reduce(|best, next| if next.0 > best.0 { next } else { best }).map(|(_, media)| media)
}

/// One item of an `Accept` or `Accept-Encoding` field, and its quality in thousandths (RFC 9110 §12.4.2).
pub(crate) fn weighted(text: &str) -> Option<(&str, u16)> {
    let mut parts = text.split(';').map(str::trim);
    let range = parts.next().filter(|range| !range.is_empty())?;
    let weight = parts.find_map(|part| part.strip_prefix("q=").or_else(|| part.strip_prefix("Q=")));
    Some((range, weight.map_or(1000, quality)))
}

/// A quality value in thousandths; a malformed one counts as 0.
fn quality(text: &str) -> u16 {
    let value = text.trim().parse::<f32>().ok().filter(|value| (0.0..=1.0).contains(value));
    value.map_or(0, |value| (value * 1000.0).round() as u16)
}

fn specificity(range: &str, name: &str) -> Option<u8> {
    let (kind, _) = name.split_once('/')?;
    if range.eq_ignore_ascii_case(name) {
        Some(2)
    } else if range.strip_suffix("/*").is_some_and(|prefix| prefix.eq_ignore_ascii_case(kind)) {
        Some(1)
    } else {
        (range == "*/*" || range == "*").then_some(0)
    }
}

/// The media type of a request body; JSON when it is not named.
///
/// # Errors
/// 415 for a type that is not understood.
pub(crate) fn of_body(headers: &HeaderMap) -> Answer<Media> {
    let named = headers.get(header::CONTENT_TYPE).map(|value| value.to_str().unwrap_or("?"));
    let essence = named.unwrap_or_default().split(';').next().unwrap_or_default().trim();
    if essence.is_empty() {
        return Ok(Media::Json);
    }
    let known = Media::ALL.into_iter().find(|media| essence.eq_ignore_ascii_case(media.name()));
    known.ok_or_else(|| {
        let names = Media::ALL.map(Media::name).join(", ");
        let sentence = format!("A body of type {essence} is not understood; there are {names}");
        Failure::new(Code::UnsupportedMediaType, sentence)
    })
}

/// The JSON text of a body of this type.
///
/// # Errors
/// 400 for a body that is not of its type.
pub(crate) fn to_json(media: Media, body: Bytes) -> Answer<Bytes> {
    match media {
        Media::Json => Ok(body),
        Media::Cbor => cbor::to_json(&body).map(Bytes::from),
    }
}

/// Appends one stored record in `media` to `out`.
///
/// # Errors
/// 500 when the stored text is damaged.
pub(crate) fn encode(
    media: Media,
    schema: &TableSchema,
    record: &[u8],
    out: &mut Vec<u8>,
) -> Answer<()> {
    match media {
        Media::Json => out.extend_from_slice(record),
        Media::Cbor => cbor::from_record(schema, record, out)?,
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_type_wins() {
        assert_eq!(best("application/cbor"), Some(Media::Cbor));
        assert_eq!(best("application/json;q=0.1, application/cbor"), Some(Media::Cbor));
        assert_eq!(best("text/html, application/xhtml+xml, */*;q=0.8"), Some(Media::Json));
        assert_eq!(best("application/*"), Some(Media::Json));
        assert_eq!(best("application/json;q=0, */*"), Some(Media::Cbor));
        assert_eq!(best("application/cbor, application/json"), Some(Media::Cbor));
        assert_eq!(best(""), Some(Media::Json));
        assert_eq!(best("text/html"), None);
        assert_eq!(best("application/json;q=0"), None);
    }

    #[test]
    fn an_unknown_body_type_is_named() {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/xml; charset=utf-8"));
        let failure = of_body(&headers).unwrap_err();
        assert_eq!(failure.code, Code::UnsupportedMediaType);
        assert!(failure.message.contains("text/xml"));
        assert_eq!(of_body(&HeaderMap::new()).unwrap(), Media::Json);
    }
}
