//! Which media type the client prefers: `Accept` (RFC 9110 §12.5.1).

use super::Media;
use crate::error::{Answer, Code, Failure};
use http::{HeaderMap, header};
use std::cmp::Reverse;

impl Media {
    /// The type that the request's `Accept` prefers: by quality, then by how exactly it is named, then by who is named
    /// first, then by the server's own order.
    ///
    /// # Errors
    /// 406 naming the types there are, when none of them is acceptable.
    pub(crate) fn negotiate(headers: &HeaderMap) -> Answer<Self> {
        let Some(accept) = headers.get(header::ACCEPT) else { return Ok(Self::JSON) };
        if matches!(accept.as_bytes(), b"*/*" | b"application/json") {
            return Ok(Self::JSON);
        }
        let fields = headers.get_all(header::ACCEPT).iter().filter_map(|field| field.to_str().ok());
        best(&fields.collect::<Vec<_>>().join(",")).ok_or_else(|| {
            let sentence = format!("No supported type is accepted; there are {}", Self::names());
            Failure::new(Code::NotAcceptable, sentence)
        })
    }
}

/// The media type of event streams, which is no form of a single value: only who names it gets one.
const EVENT_STREAM: &str = "text/event-stream";

/// Whether the request prefers an event stream to every type of [`Media::ALL`], by the rules for those.
#[must_use]
pub(crate) fn prefers_event_stream(headers: &HeaderMap) -> bool {
    if !headers.contains_key(header::ACCEPT) {
        return false;
    }
    let fields = headers.get_all(header::ACCEPT).iter().filter_map(|field| field.to_str().ok());
    let accept = fields.collect::<Vec<_>>().join(",");
    if !accept.contains(EVENT_STREAM) {
        return false;
    }
    let ranges: Vec<_> = accept.split(',').filter_map(weighted).collect();
    let named = rank(&ranges, EVENT_STREAM).filter(|(_, exact, _)| *exact == EXACT);
    named > ranked(&ranges).map(|(rank, _)| rank)
}

/// How much a type is wanted: its quality, how exactly it is named, and how early.
type Rank = (u16, u8, Reverse<usize>);

fn best(accept: &str) -> Option<Media> {
    if accept.trim().is_empty() {
        return Some(Media::JSON);
    }
    let ranges: Vec<_> = accept.split(',').filter_map(weighted).collect();
    ranked(&ranges).map(|(_, media)| media)
}

fn ranked(ranges: &[(&str, u16)]) -> Option<(Rank, Media)> {
    let rated = Media::ALL.iter().filter_map(|media| Some((rank(ranges, media.name)?, *media)));
    // on an equal rank the earlier type wins
    rated.reduce(|best, next| if next.0 > best.0 { next } else { best })
}

/// None for a type that is not acceptable.
fn rank(ranges: &[(&str, u16)], name: &str) -> Option<Rank> {
    // the most exact range is the one that counts for a type, RFC 9110 §12.5.1
    let ranked = ranges.iter().enumerate().filter_map(|(position, (range, quality))| {
        specificity(range, name).map(|exact| (exact, Reverse(position), *quality))
    });
    let (exact, position, quality) = ranked.max()?;
    (quality > 0).then_some((quality, exact, position))
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

/// The specificity of a range that is the name itself.
const EXACT: u8 = 2;

fn specificity(range: &str, name: &str) -> Option<u8> {
    let (kind, _) = name.split_once('/')?;
    if range.eq_ignore_ascii_case(name) {
        Some(EXACT)
    } else if range.strip_suffix("/*").is_some_and(|prefix| prefix.eq_ignore_ascii_case(kind)) {
        Some(1)
    } else {
        (range == "*/*" || range == "*").then_some(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_preferred_type_wins() {
        let cases = [
            ("application/cbor", "application/cbor"),
            ("application/json;q=0.1, application/cbor", "application/cbor"),
            ("application/json;q=0.1,text/yaml", "text/yaml"),
            ("text/html, application/xhtml+xml, */*;q=0.8", "application/json"),
            ("application/*", "application/json"),
            ("text/*", "text/yaml"),
            ("text/*, text/yaml;q=0", "text/plain"),
            ("application/json;q=0, */*", "application/cbor"),
            ("application/cbor, application/json", "application/cbor"),
            ("application/json, application/cbor", "application/json"),
            ("text/csv;q=0.9, */*;q=0.8", "text/csv"),
            ("application/msgpack", "application/msgpack"),
            ("application/x-ndjson, application/json;q=0.9", "application/x-ndjson"),
            ("", "application/json"),
        ];
        for (accept, name) in cases {
            assert_eq!(best(accept).map(|media| media.name), Some(name), "{accept}");
        }
        for (accept, prefers) in [
            ("text/event-stream", true),
            ("text/event-stream, */*;q=0.1", true),
            ("*/*, text/event-stream", true),
            ("text/event-stream, application/json", true),
            ("application/json, text/event-stream", false),
            ("text/event-stream;q=0.5, application/json", false),
            ("text/event-stream;q=0.9, application/json;q=0.8", true),
            ("text/event-stream;q=0", false),
            ("text/event-stream;q=0, */*", false),
            ("text/*", false),
            ("*/*", false),
            ("", false),
        ] {
            let value = accept.parse().unwrap();
            let headers = HeaderMap::from_iter([(header::ACCEPT, value)]);
            assert_eq!(prefers_event_stream(&headers), prefers, "{accept}");
        }
        for accept in ["text/html", "application/json;q=0", "image/*", "text/event-stream"] {
            assert_eq!(best(accept), None, "{accept}");
        }
    }
}
