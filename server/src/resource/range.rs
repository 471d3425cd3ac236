//! Range requests (RFC 9110 §14): which parts of a representation are asked for, and what an answer with them is made of.

use crate::error::{Answer, Code, Failure};
use crate::exchange::Request;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use std::ops::Range;
use std::time::SystemTime;

/// More ranges than this are not worth their heads: the whole is sent.
const RANGES_MAX: usize = 16;
/// Random bytes of a boundary between parts.
const BOUNDARY_BYTES: usize = 12;

/// What ranges are taken from.
pub(crate) struct Representation<'a> {
    /// Its length in bytes.
    pub len: u64,
    /// Its strong entity tag, if it has one.
    pub tag: Option<&'a HeaderValue>,
    /// When it was last changed, if that is known.
    pub modified: Option<SystemTime>,
    /// Its media type.
    pub media_type: &'a HeaderValue,
}

/// A piece of a body.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// These bytes.
    Text(Bytes),
    /// These bytes of the representation.
    Span(Range<u64>),
}

/// The body of a 206 answer.
pub(crate) struct Partial {
    /// Its length in bytes.
    pub len: u64,
    /// Its pieces.
    pub segments: Vec<Segment>,
    /// `Content-Type`, where the parts are wrapped; else that of the representation.
    pub media_type: Option<HeaderValue>,
    /// `Content-Range`, where there is one part.
    pub content_range: Option<HeaderValue>,
}

/// The parts that a request asks for; none when the whole is to be sent.
///
/// # Errors
/// 416 when no part lies within the representation.
pub(crate) fn partial(request: &Request, whole: &Representation<'_>) -> Answer<Option<Partial>> {
    let headers = &request.head.headers;
    let asked = headers.get(header::RANGE).and_then(|range| range.to_str().ok());
    let (Some(asked), &Method::GET) = (asked, &request.head.method) else { return Ok(None) };
    if !holds_if_range(headers, whole) {
        return Ok(None);
    }
    match parse(asked, whole.len) {
        None => Ok(None),
        Some(ranges) if ranges.is_empty() => {
            let sentence = format!("No part of the {} bytes is asked for", whole.len);
            let failure = Failure::new(Code::RangeNotSatisfiable, sentence);
            Err(match HeaderValue::from_str(&format!("bytes */{}", whole.len)) {
                Ok(value) => failure.with(header::CONTENT_RANGE, value),
                Err(_) => failure,
            })
        }
        Some(ranges) => Ok(Some(assemble(ranges, whole))),
    }
}

/// Whether the representation is still the one that `If-Range` names (RFC 9110 §13.1.5).
fn holds_if_range(headers: &HeaderMap, whole: &Representation<'_>) -> bool {
    let Some(value) = headers.get(header::IF_RANGE) else { return true };
    if value.as_bytes().starts_with(b"\"") {
        return whole.tag == Some(value);
    }
    let date = value.to_str().ok().and_then(|text| httpdate::parse_http_date(text).ok());
    let seconds = |time: SystemTime| {
        time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
    };
    date.zip(whole.modified).is_some_and(|(date, modified)| seconds(date) == seconds(modified))
}

/// The ranges that lie within `len` bytes, in order and merged; none for text that is to be ignored: another unit, a
/// malformed range, or too many.
fn parse(text: &str, len: u64) -> Option<Vec<Range<u64>>> {
    let (unit, set) = text.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let mut ranges = Vec::new();
    for item in set.split(',').map(str::trim).filter(|item| !item.is_empty()) {
        let (first, last) = item.split_once('-')?;
        let range = match (number(first)?, number(last)?) {
            (None, None) => return None,
            (None, Some(suffix)) => len.saturating_sub(suffix)..len,
            (Some(first), None) => first..len,
            (Some(first), Some(last)) if first > last => return None,
            (Some(first), Some(last)) => first..last.saturating_add(1).min(len),
        };
        ranges.extend(Some(range).filter(|range| range.start < range.end));
    }
    if set.trim().is_empty() || ranges.len() > RANGES_MAX {
        return None;
    }
    Some(merged(ranges))
}

/// A number, or none where there is none; the outer none for anything else.
fn number(text: &str) -> Option<Option<u64>> {
    if text.is_empty() {
        return Some(None);
    }
    if !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(Some(text.parse().unwrap_or(u64::MAX)))
}

fn merged(mut ranges: Vec<Range<u64>>) -> Vec<Range<u64>> {
    ranges.sort_by_key(|range| range.start);
    let mut merged: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match merged.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => merged.push(range),
        }
    }
    merged
}

fn assemble(ranges: Vec<Range<u64>>, whole: &Representation<'_>) -> Partial {
    if let [range] = ranges.as_slice() {
        return Partial {
            len: range.end - range.start,
            media_type: None,
            content_range: HeaderValue::from_str(&content_range(range, whole.len)).ok(),
            segments: vec![Segment::Span(range.clone())],
        };
    }
    let boundary = boundary();
    let media_type = whole.media_type.to_str().unwrap_or_default();
    let mut segments = Vec::with_capacity(ranges.len() * 2 + 1);
    for range in ranges {
        let line_end = if segments.is_empty() { "" } else { "\r\n" };
        let place = content_range(&range, whole.len);
        let head = format!(
            "{line_end}--{boundary}\r\nContent-Type: {media_type}\r\nContent-Range: {place}\r\n\r\n"
        );
        segments.push(Segment::Text(head.into()));
        segments.push(Segment::Span(range));
    }
    segments.push(Segment::Text(format!("\r\n--{boundary}--\r\n").into()));
    let len = segments.iter().map(|segment| match segment {
        Segment::Text(text) => text.len() as u64,
        Segment::Span(range) => range.end - range.start,
    });
    let media_type = format!("multipart/byteranges; boundary={boundary}");
    Partial {
        len: len.sum(),
        media_type: HeaderValue::from_str(&media_type).ok(),
        content_range: None,
        segments,
    }
}

fn content_range(range: &Range<u64>, len: u64) -> String {
    format!("bytes {}-{}/{len}", range.start, range.end - 1)
}

/// A line that no content holds, but by a chance of one in 2^96.
fn boundary() -> String {
    let mut random = [0; BOUNDARY_BYTES];
    // without randomness the boundary is only less surprising
    let _ = getrandom::fill(&mut random);
    random.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// First byte and the one after the last of each range; none where the header is ignored.
    type Ranges = Option<&'static [(u64, u64)]>;

    #[test]
    fn ranges_are_read_as_the_standard_says() {
        let cases: [(&str, Ranges); 20] = [
            ("bytes=0-4", Some(&[(0, 5)])),
            ("bytes=0-", Some(&[(0, 10)])),
            ("bytes=-3", Some(&[(7, 10)])),
            ("bytes=-30", Some(&[(0, 10)])),
            ("BYTES=8-99", Some(&[(8, 10)])),
            ("bytes=0-1, 4-5", Some(&[(0, 2), (4, 6)])),
            ("bytes=4-5,0-1", Some(&[(0, 2), (4, 6)])),
            ("bytes=0-3,2-6", Some(&[(0, 7)])),
            ("bytes=0-0,20-30", Some(&[(0, 1)])),
            ("bytes=10-", Some(&[])),
            ("bytes=-0", Some(&[])),
            ("bytes=99999999999999999999999-", Some(&[])),
            ("bytes=5-4", None),
            ("bytes=-", None),
            ("bytes=", None),
            ("bytes=a-b", None),
            ("bytes=1", None),
            ("bytes=+1-2", None),
            ("items=0-4", None),
            ("0-4", None),
        ];
        for (text, expected) in cases {
            let found = parse(text, 10);
            let found =
                found.map(|all| all.iter().map(|one| (one.start, one.end)).collect::<Vec<_>>());
            assert_eq!(found.as_deref(), expected, "{text}");
        }
        let many = (0..20).map(|n| format!("{}-{}", n * 4, n * 4)).collect::<Vec<_>>().join(",");
        assert_eq!(parse(&format!("bytes={many}"), 1000), None);
        assert_eq!(parse("bytes=0-", 0), Some(Vec::new()), "there is nothing in an empty body");
    }

    proptest! {
        #[test]
        fn what_is_parsed_lies_within_and_never_overlaps(text in "bytes=[0-9,-]{0,24}", len in 0..50_u64) {
            let ranges = parse(&text, len).unwrap_or_default();
            prop_assert!(ranges.iter().all(|range| range.start < range.end && range.end <= len));
            prop_assert!(ranges.windows(2).all(|pair| pair[0].end < pair[1].start));
        }
    }

    #[test]
    fn several_parts_are_wrapped_and_their_length_is_right() {
        let (tag, media_type) =
            (HeaderValue::from_static("\"a\""), HeaderValue::from_static("text/plain"));
        let whole =
            Representation { len: 10, tag: Some(&tag), modified: None, media_type: &media_type };
        let partial = assemble(vec![0..2, 8..10], &whole);
        let data = b"0123456789";
        let body: Vec<u8> = partial
            .segments
            .iter()
            .flat_map(|segment| match segment {
                Segment::Text(text) => text.to_vec(),
                Segment::Span(range) => data[range.start as usize..range.end as usize].to_vec(),
            })
            .collect();
        assert_eq!(body.len() as u64, partial.len);
        let text = String::from_utf8(body).unwrap();
        let kind = partial.media_type.unwrap();
        let boundary = kind.to_str().unwrap().split_once("boundary=").unwrap().1.to_owned();
        assert_eq!(
            text.replace(&boundary, "B"),
            "--B\r\nContent-Type: text/plain\r\nContent-Range: bytes 0-1/10\r\n\r\n01\r\n\
             --B\r\nContent-Type: text/plain\r\nContent-Range: bytes 8-9/10\r\n\r\n89\r\n--B--\r\n"
        );
    }
}
