//! Bytes that are kept with their media type: records that were stored as they came, and attributes of type Bytes and
//! Blob. They are answered as they are, whatever `Accept` says, and in parts where these are asked for.

use super::range::{self, Representation, Segment};
use crate::content::json;
use crate::error::{Answer, Failure};
use crate::exchange::{self, Body, Request, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::{Bytes, BytesMut};
use harper_store::{Attribute, Kind, TableSchema};
use http::{HeaderValue, StatusCode, header};
use std::ops::Range;

/// Such an answer does not depend on `Accept`.
const VARY: HeaderValue = HeaderValue::from_static("Accept-Encoding, Origin");
const OCTETS: HeaderValue = HeaderValue::from_static("application/octet-stream");

/// Which bytes of a record.
#[derive(Clone, Debug)]
pub(super) enum Part {
    /// Those that the record was stored with.
    Record,
    /// Those of the attribute.
    Attribute(String),
}

impl Part {
    /// What marks the bytes in an entity tag.
    #[must_use]
    pub(super) fn tag(&self) -> &'static str {
        match self {
            Self::Record => "-b",
            Self::Attribute(_) => "-a",
        }
    }
}

/// Bytes and what they are.
pub(super) struct Binary {
    /// Their media type.
    pub media_type: HeaderValue,
    /// The bytes.
    pub data: Bytes,
}

/// Whether an attribute holds bytes.
pub(super) fn is_binary(attribute: &Attribute) -> bool {
    matches!(attribute.kind, Kind::Bytes | Kind::Blob)
}

/// The record's key and the binary attribute that the end of a path names, as in `/Dog/1/photo`.
pub(super) fn attribute<'a, 's>(
    schema: &'s TableSchema,
    id: &'a str,
) -> Option<(&'a str, &'s Attribute)> {
    let (id, name) = id.rsplit_once('/')?;
    let attribute = schema.attribute(name)?;
    (is_binary(attribute) && !id.is_empty()).then_some((id, attribute))
}

/// The bytes in a stored record; none when there are none.
///
/// # Errors
/// 500 when the record cannot be read.
pub(super) fn extract(record: &[u8], part: &Part) -> Answer<Option<Binary>> {
    let damaged =
        |error: serde_json::Error| Failure::internal("a stored record cannot be read", &error);
    let value = match part {
        Part::Record => return content(record).map_err(damaged),
        Part::Attribute(name) => {
            let members = json::members(record).map_err(damaged)?;
            members.into_iter().find(|(member, _)| member == name).map(|(_, value)| value.get())
        }
    };
    match value {
        None | Some("null") => Ok(None),
        Some(object) if object.starts_with('{') => content(object.as_bytes()).map_err(damaged),
        Some(text) => Ok(decode(text).map(|data| Binary { media_type: OCTETS, data })),
    }
}

/// An object with `contentType` and `data`; none when it is no such object any more.
fn content(object: &[u8]) -> Result<Option<Binary>, serde_json::Error> {
    let members = json::members(object)?;
    let find = |name: &str| members.iter().find(|(member, _)| member == name);
    let (Some((_, media_type)), Some((_, data))) = (find("contentType"), find("data")) else {
        return Ok(None);
    };
    let media_type: Option<String> = serde_json::from_str(media_type.get()).ok();
    let media_type = media_type.and_then(|name| HeaderValue::from_str(&name).ok());
    let data = decode(data.get());
    Ok(media_type.zip(data).map(|(media_type, data)| Binary { media_type, data }))
}

/// The bytes of base64 in a JSON string, which needs no escapes.
fn decode(text: &str) -> Option<Bytes> {
    let text = text.strip_prefix('"')?.strip_suffix('"')?;
    STANDARD.decode(text).ok().map(Bytes::from)
}

/// 200 with all bytes, or 206 with the parts that are asked for.
///
/// # Errors
/// 416 when no part lies within.
pub(super) fn answer(
    request: &Request,
    tag: Option<&HeaderValue>,
    binary: Binary,
) -> Answer<Response> {
    let Binary { media_type, data } = binary;
    let whole =
        Representation { len: data.len() as u64, tag, modified: None, media_type: &media_type };
    let partial = range::partial(request, &whole)?;
    let mut response = exchange::response(Body::default());
    let headers = response.headers_mut();
    headers.extend(tag.map(|tag| (header::ETAG, tag.clone())));
    headers.insert(header::VARY, VARY);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    headers.insert(header::CONTENT_TYPE, media_type);
    let Some(partial) = partial else {
        *response.body_mut() = Body::whole(data);
        return Ok(response);
    };
    if let Some(media_type) = partial.media_type {
        headers.insert(header::CONTENT_TYPE, media_type);
    }
    if let Some(content_range) = partial.content_range {
        headers.insert(header::CONTENT_RANGE, content_range);
    }
    *response.body_mut() = Body::whole(assembled(&data, partial.len, partial.segments));
    *response.status_mut() = StatusCode::PARTIAL_CONTENT;
    Ok(response)
}

fn assembled(data: &Bytes, len: u64, segments: Vec<Segment>) -> Bytes {
    let slice = |range: &Range<u64>| {
        let place = |at| usize::try_from(at).unwrap_or(usize::MAX).min(data.len());
        data.slice(place(range.start)..place(range.end))
    };
    if let [Segment::Span(range)] = segments.as_slice() {
        return slice(range);
    }
    let mut body = BytesMut::with_capacity(usize::try_from(len).unwrap_or_default());
    for segment in segments {
        match segment {
            Segment::Text(text) => body.extend_from_slice(&text),
            Segment::Span(range) => body.extend_from_slice(&slice(&range)),
        }
    }
    body.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_names_an_attribute_only_if_it_is_binary() {
        let schema = TableSchema::new(
            "data",
            "T",
            vec![
                Attribute::new("id", Kind::Id),
                Attribute::new("photo", Kind::Blob),
                Attribute::new("name", Kind::String),
            ],
        );
        let of = |id| attribute(&schema, id).map(|(id, attribute)| (id, &*attribute.name));
        assert_eq!(of("1/photo"), Some(("1", "photo")));
        assert_eq!(of("a.b/c/photo"), Some(("a.b/c", "photo")));
        for id in ["1/name", "1", "/photo", "1/photo/x", "1.photo"] {
            assert_eq!(of(id), None, "{id}");
        }
    }

    #[test]
    fn bytes_are_found_in_records_and_attributes() {
        let record = br#"{"id":"1","contentType":"image/png","data":"aGk=","raw":"eW8=","none":null,"blob":{"contentType":"text/x","data":""}}"#;
        let found = |part| {
            let binary = extract(record, &part).unwrap()?;
            Some((binary.media_type.to_str().unwrap().to_owned(), binary.data.to_vec()))
        };
        let attribute = |name: &str| found(Part::Attribute(name.to_owned()));
        assert_eq!(found(Part::Record), Some(("image/png".into(), b"hi".to_vec())));
        assert_eq!(attribute("raw"), Some(("application/octet-stream".into(), b"yo".to_vec())));
        assert_eq!(attribute("blob"), Some(("text/x".into(), Vec::new())));
        assert_eq!(attribute("none"), None);
        assert_eq!(attribute("nosuch"), None);
    }
}
