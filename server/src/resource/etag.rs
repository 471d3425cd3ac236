//! Entity tags (RFC 9110 §8.8.3) and the conditions on them (§13.1). A tag is strong: it is made of the record's
//! version and of everything that changes the bytes (media type, selection, content coding).

use crate::coding::Coding;
use harper_store::Precondition;
use http::{HeaderMap, HeaderName, HeaderValue, header};

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
/// Characters that hold a version of 64 bits.
const VERSION_CHARS: usize = 11;

/// Room for a tag: the version, the quotes, and the marks of media type and selection.
const TAG_BYTES_MAX: usize = 64;

/// The tag of a representation; `marks` is what distinguishes it from the plain JSON record.
#[must_use]
pub(crate) fn tag(version: u64, marks: &[&str]) -> HeaderValue {
    let mut text = [b'"'; TAG_BYTES_MAX];
    let mut len = 1 + VERSION_CHARS;
    text[1..len].copy_from_slice(&encode(version));
    for mark in marks.iter().filter(|mark| !mark.is_empty()) {
        text[len..len + mark.len()].copy_from_slice(mark.as_bytes());
        len += mark.len();
    }
    // the alphabet and the marks are visible ASCII, and a quote follows
    HeaderValue::from_bytes(&text[..=len]).unwrap_or_else(|_| HeaderValue::from_static("\"\""))
}

/// The tag of the same representation in a content coding.
#[must_use]
pub(crate) fn with_coding(tag: &HeaderValue, coding: Coding) -> HeaderValue {
    let bytes = tag.as_bytes();
    let inner = bytes.strip_suffix(b"\"").unwrap_or(bytes);
    HeaderValue::from_bytes(&[inner, coding.tag().as_bytes(), b"\""].concat())
        .unwrap_or_else(|_| tag.clone())
}

fn encode(version: u64) -> [u8; VERSION_CHARS] {
    let mut text = [0; VERSION_CHARS];
    let mut rest = version;
    for letter in text.iter_mut().rev() {
        *letter = ALPHABET[(rest & 63) as usize];
        rest >>= 6;
    }
    text
}

fn decode(text: &[u8]) -> Option<u64> {
    text.iter().try_fold(0_u64, |version, letter| {
        let digit = ALPHABET.iter().position(|known| known == letter)?;
        Some((version << 6) | digit as u64)
    })
}

/// The entry of `If-None-Match` that names this representation, whatever its coding: the answer is then 304 with
/// that tag (RFC 9110 §13.1.2; the comparison is weak).
#[must_use]
pub(crate) fn none_match(headers: &HeaderMap, current: &HeaderValue) -> Option<HeaderValue> {
    let wanted = opaque(current.as_bytes());
    entries(headers, &header::IF_NONE_MATCH).find_map(|entry| {
        let entry = entry.as_bytes();
        if entry == b"*" || opaque(entry) == wanted {
            Some(current.clone())
        } else {
            let mut coded = Coding::ALL.iter().map(|coding| with_coding(current, *coding));
            coded.find(|coded| opaque(coded.as_bytes()) == opaque(entry))
        }
    })
}

/// A tag without the mark of weakness.
fn opaque(tag: &[u8]) -> &[u8] {
    tag.strip_prefix(b"W/").unwrap_or(tag)
}

/// The condition that a request puts on a write, in the order of RFC 9110 §13.2.2: `If-Match`, without it
/// `If-Unmodified-Since`, and `If-None-Match`. Any tag of the record's version names it, in whatever representation
/// the client read it.
#[must_use]
pub(crate) fn precondition(headers: &HeaderMap) -> Precondition {
    let none_match = headers.contains_key(header::IF_NONE_MATCH).then(|| {
        let all: Vec<_> = entries(headers, &header::IF_NONE_MATCH).collect();
        if all.contains(&"*") {
            return Precondition::Absent;
        }
        // the comparison is weak, that of If-Match strong
        let opaque = all.iter().map(|entry| entry.strip_prefix("W/").unwrap_or(entry));
        Precondition::VersionNotIn(opaque.filter_map(version).collect())
    });
    match (held(headers), none_match) {
        (Precondition::None, None) => Precondition::None,
        (Precondition::None, Some(only)) | (only, None) => only,
        (first, Some(second)) => Precondition::All(vec![first, second]),
    }
}

/// What `If-Match`, or without it `If-Unmodified-Since`, asks of a record that is read or written (RFC 9110 §13.1.1,
/// §13.1.4). A date that is none is no condition.
#[must_use]
pub(crate) fn held(headers: &HeaderMap) -> Precondition {
    if headers.contains_key(header::IF_MATCH) {
        let all: Vec<_> = entries(headers, &header::IF_MATCH).collect();
        if all.contains(&"*") {
            return Precondition::Present;
        }
        return Precondition::VersionIn(all.into_iter().filter_map(version).collect());
    }
    match date(headers, &header::IF_UNMODIFIED_SINCE) {
        Some(second) => Precondition::UnmodifiedSince(second),
        None => Precondition::None,
    }
}

/// The seconds since 1970 of a field that holds one date; none for anything else.
#[must_use]
pub(crate) fn date(headers: &HeaderMap, name: &HeaderName) -> Option<u64> {
    let mut fields = headers.get_all(name).into_iter();
    let (Some(field), None) = (fields.next(), fields.next()) else { return None };
    let time = httpdate::parse_http_date(field.to_str().ok()?).ok()?;
    time.duration_since(std::time::UNIX_EPOCH).ok().map(|since| since.as_secs())
}

/// Whether an entry of `If-Match` names this representation in any of its codings (RFC 9110 §13.1.1; the comparison is
/// strong).
#[must_use]
pub(crate) fn strong_match(headers: &HeaderMap, current: &HeaderValue) -> bool {
    let is_same = |entry: &str| {
        let mut coded = Coding::ALL.iter().map(|coding| with_coding(current, *coding));
        entry == current || coded.any(|coded| entry == coded)
    };
    entries(headers, &header::IF_MATCH)
        .any(|entry| entry == "*" || (!entry.starts_with("W/") && is_same(entry)))
}

/// The version in a strong tag of ours.
fn version(entry: &str) -> Option<u64> {
    let inner = entry.strip_prefix('"')?.strip_suffix('"')?.as_bytes();
    decode(inner.get(..VERSION_CHARS)?)
}

/// The tags of a list field; ours hold no comma.
pub(super) fn entries<'a>(
    headers: &'a HeaderMap,
    name: &HeaderName,
) -> impl Iterator<Item = &'a str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|field| field.to_str().ok())
        .flat_map(|field| field.split(','))
        .map(str::trim)
        .filter(|entry| !entry.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: HeaderName, value: &str) -> HeaderMap {
        HeaderMap::from_iter([(name, HeaderValue::from_str(value).unwrap())])
    }

    #[test]
    fn a_version_is_read_back_from_any_of_its_tags() {
        for version in [0, 1, 0x0123_4567_89ab_cdef, u64::MAX] {
            let plain = tag(version, &[]);
            assert_eq!(super::version(plain.to_str().unwrap()), Some(version));
            let coded = with_coding(&tag(version, &["-c", "-s12345678"]), Coding::Zstd);
            assert_eq!(super::version(coded.to_str().unwrap()), Some(version));
            assert_ne!(plain, coded);
        }
    }

    #[test]
    fn if_none_match_honours_lists_weak_tags_codings_and_the_star() {
        let current = tag(7, &[]);
        let text = current.to_str().unwrap();
        let hit = |value: &str| none_match(&headers(header::IF_NONE_MATCH, value), &current);
        assert_eq!(hit(text), Some(current.clone()));
        assert_eq!(hit(&format!("\"x\", W/{text}")), Some(current.clone()));
        assert_eq!(hit("*"), Some(current.clone()));
        for coding in Coding::ALL {
            let coded = with_coding(&current, coding);
            assert_eq!(hit(coded.to_str().unwrap()), Some(coded));
        }
        assert_eq!(hit("\"other\""), None);
        assert_eq!(
            hit(tag(7, &["-c"]).to_str().unwrap()),
            None,
            "another media type is another representation"
        );
    }

    #[test]
    fn write_conditions_name_versions() {
        let text = tag(7, &["-c"]);
        let text = text.to_str().unwrap();
        let of = |name, value: &str| precondition(&headers(name, value));
        assert!(matches!(of(header::IF_MATCH, text), Precondition::VersionIn(v) if v == [7]));
        assert!(
            matches!(of(header::IF_MATCH, "\"junk\""), Precondition::VersionIn(v) if v.is_empty())
        );
        let weak = format!("W/{text}");
        assert!(
            matches!(of(header::IF_NONE_MATCH, &weak), Precondition::VersionNotIn(v) if v == [7])
        );
        assert!(matches!(of(header::IF_MATCH, &weak), Precondition::VersionIn(v) if v.is_empty()));
        assert!(matches!(of(header::IF_MATCH, "*"), Precondition::Present));
        assert!(matches!(of(header::IF_NONE_MATCH, "*"), Precondition::Absent));
        assert!(
            matches!(of(header::IF_NONE_MATCH, text), Precondition::VersionNotIn(v) if v == [7])
        );
        assert!(matches!(precondition(&HeaderMap::new()), Precondition::None));
        let date = "Thu, 01 Jan 1970 00:01:00 GMT";
        assert_eq!(of(header::IF_UNMODIFIED_SINCE, date), Precondition::UnmodifiedSince(60));
        assert_eq!(of(header::IF_UNMODIFIED_SINCE, "yesterday"), Precondition::None);
        let mut all = headers(header::IF_UNMODIFIED_SINCE, date);
        all.insert(header::IF_NONE_MATCH, HeaderValue::from_static("*"));
        let both = vec![Precondition::UnmodifiedSince(60), Precondition::Absent];
        assert_eq!(precondition(&all), Precondition::All(both));
        all.insert(header::IF_MATCH, HeaderValue::from_static("*"));
        let both = vec![Precondition::Present, Precondition::Absent];
        assert_eq!(precondition(&all), Precondition::All(both), "the tag goes before the time");
    }
}
