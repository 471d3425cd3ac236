//! What a read tells of a record besides its contents, and the conditions on that: its tag and date (RFC 9110 §8.8,
//! §13), and how long it may be kept (RFC 9111).

use super::etag;
use crate::error::{Answer, Code, Failure};
use crate::exchange::{Body, Response};
use crate::reply;
use harper_store::Meta;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// The longest time a field may name, in seconds (RFC 9111 §1.2.2).
const SECONDS_MAX: u64 = 1 << 31;

/// What tells one state of a representation from another.
pub(super) struct Validators {
    /// What the store knows of the record.
    meta: Meta,
    /// None where the record's version does not tell the whole of it, as with related records.
    tag: Option<HeaderValue>,
    /// Whether the date of the last write is told.
    is_dated: bool,
}

impl Validators {
    /// Of a record as it is represented under this tag.
    #[must_use]
    pub(super) fn new(meta: Meta, tag: Option<HeaderValue>, is_dated: bool) -> Self {
        let is_dated = is_dated && tag.is_some();
        Self { meta, tag, is_dated }
    }

    /// 304 when the client has the representation already, as it says in `If-None-Match` or, without that, in
    /// `If-Modified-Since`.
    ///
    /// # Errors
    /// 412 when the record is not in the state that `If-Match` or `If-Unmodified-Since` asks for.
    pub(super) fn unchanged(&self, headers: &HeaderMap) -> Answer<Option<Response>> {
        if !etag::held(headers).holds(Some(&self.meta)) {
            let sentence = "The record is not in the state that the request asks for";
            return Err(Failure::new(Code::PreconditionFailed, sentence));
        }
        let known = if headers.contains_key(header::IF_NONE_MATCH) {
            self.tag.as_ref().and_then(|tag| etag::none_match(headers, tag))
        } else {
            let since = etag::date(headers, &header::IF_MODIFIED_SINCE);
            let is_known = since.is_some_and(|second| self.meta.updated_ms / 1000 <= second);
            self.tag.clone().filter(|_| self.is_dated && is_known)
        };
        Ok(known.map(|tag| {
            let mut response = reply::with_status(StatusCode::NOT_MODIFIED, Body::default());
            let headers = response.headers_mut();
            self.date(headers);
            headers.insert(header::ETAG, tag);
            headers.insert(header::VARY, reply::VARY);
            response
        }))
    }

    /// The tag of the representation, if it has one.
    #[must_use]
    pub(super) fn tag(&self) -> Option<&HeaderValue> {
        self.tag.as_ref()
    }

    /// Adds all of it: `ETag` and what [`Validators::date`] does.
    pub(super) fn describe(mut self, headers: &mut HeaderMap) {
        if let Some(tag) = self.tag.take() {
            headers.insert(header::ETAG, tag);
        }
        self.date(headers);
    }

    /// Adds `Last-Modified` and, for a record that expires, `Cache-Control`. What a login was needed for is for nobody
    /// else's cache (RFC 9111 §3.5).
    pub(super) fn date(&self, headers: &mut HeaderMap) {
        if self.is_dated {
            let modified = UNIX_EPOCH + Duration::from_millis(self.meta.updated_ms);
            let text = httpdate::fmt_http_date(modified);
            headers.extend(HeaderValue::try_from(text).ok().map(|v| (header::LAST_MODIFIED, v)));
        }
        if self.meta.expires_ms != 0 {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            let left = Duration::from_millis(self.meta.expires_ms).saturating_sub(now);
            let text = format!("private, max-age={}", left.as_secs().min(SECONDS_MAX));
            headers.extend(HeaderValue::try_from(text).ok().map(|v| (header::CACHE_CONTROL, v)));
        }
    }
}

/// The answer for a record that is not there: 404, or 504 where the client wants only what is kept (RFC 9111
/// §5.2.1.7) of a table whose records come and go.
#[must_use]
pub(super) fn absent(headers: &HeaderMap, expires: bool) -> Box<Failure> {
    if expires && directive(headers, "only-if-cached").is_some() {
        return Failure::new(
            Code::NotKept,
            "The record is not kept, and only-if-cached was asked for",
        );
    }
    Failure::new(Code::NotFound, "Not found")
}

/// How long the client lets a record live that it writes, in milliseconds, from `Cache-Control: max-age`.
///
/// # Errors
/// 400 when that is no number of seconds.
pub(super) fn lifetime_ms(headers: &HeaderMap, method: &Method) -> Answer<Option<u64>> {
    let Some(value) = directive(headers, "max-age") else { return Ok(None) };
    let value = value.trim_matches('"');
    if value.is_empty() || !value.bytes().all(|byte| byte.is_ascii_digit()) {
        let sentence = format!("max-age of a {method} must be a number of seconds");
        return Err(Failure::new(Code::BadRequest, sentence));
    }
    // digits alone can only be too many
    let seconds: u64 = value.parse().unwrap_or(SECONDS_MAX);
    Ok(Some(seconds.min(SECONDS_MAX) * 1000))
}

/// The value of a directive of the request's `Cache-Control`, empty when it has none; the first counts.
fn directive<'a>(headers: &'a HeaderMap, wanted: &str) -> Option<&'a str> {
    etag::entries(headers, &header::CACHE_CONTROL).find_map(|entry| {
        let (name, value) = entry.split_once('=').unwrap_or((entry, ""));
        name.trim().eq_ignore_ascii_case(wanted).then_some(value.trim())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderName;

    fn headers(fields: &[(HeaderName, &str)]) -> HeaderMap {
        let field = |(name, value): &(HeaderName, &str)| (name.clone(), value.parse().unwrap());
        fields.iter().map(field).collect()
    }

    /// Written at second 60 of 1970.
    fn validators(is_dated: bool) -> Validators {
        let meta = Meta { version: 7, updated_ms: 60_500, ..Meta::default() };
        Validators::new(meta, Some(etag::tag(7, &[])), is_dated)
    }

    const BEFORE: &str = "Thu, 01 Jan 1970 00:00:59 GMT";
    const THEN: &str = "Thu, 01 Jan 1970 00:01:00 GMT";

    #[test]
    fn conditions_are_looked_at_in_their_order() {
        use header::{IF_MATCH, IF_MODIFIED_SINCE, IF_NONE_MATCH, IF_UNMODIFIED_SINCE};
        let tag = etag::tag(7, &[]);
        let tag = tag.to_str().unwrap();
        let status =
            |fields: &[(HeaderName, &str)]| match validators(true).unchanged(&headers(fields)) {
                Ok(Some(response)) => response.status().as_u16(),
                Ok(None) => 200,
                Err(failure) => failure.code.row().1.as_u16(),
            };
        for (fields, expected) in [
            (&[(IF_MODIFIED_SINCE, THEN)][..], 304),
            (&[(IF_MODIFIED_SINCE, BEFORE)], 200),
            (&[(IF_MODIFIED_SINCE, "soon")], 200),
            (&[(IF_MODIFIED_SINCE, THEN), (IF_NONE_MATCH, "\"x\"")], 200),
            (&[(IF_MODIFIED_SINCE, BEFORE), (IF_NONE_MATCH, tag)], 304),
            (&[(IF_UNMODIFIED_SINCE, BEFORE)], 412),
            (&[(IF_UNMODIFIED_SINCE, THEN)], 200),
            (&[(IF_UNMODIFIED_SINCE, BEFORE), (IF_MATCH, tag)], 200),
            (&[(IF_UNMODIFIED_SINCE, THEN), (IF_NONE_MATCH, tag)], 304),
            (&[(IF_MATCH, "\"x\""), (IF_NONE_MATCH, tag)], 412),
        ] {
            assert_eq!(status(fields), expected, "{fields:?}");
        }
        let undated = validators(false).unchanged(&headers(&[(IF_MODIFIED_SINCE, THEN)]));
        assert!(undated.unwrap().is_none(), "no date was told");
    }

    #[test]
    fn directives_are_read_without_regard_to_case() {
        let of = |value: &str| {
            lifetime_ms(&headers(&[(header::CACHE_CONTROL, value)]), &Method::PUT).ok()
        };
        assert_eq!(of("no-store, Max-Age=5"), Some(Some(5000)));
        assert_eq!(of("max-age=\"5\", max-age=7"), Some(Some(5000)));
        assert_eq!(of("max-age=99999999999999999999999"), Some(Some(SECONDS_MAX * 1000)));
        assert_eq!(of("no-cache"), Some(None));
        assert_eq!(of("max-age=-1"), None);
        assert_eq!(of("max-age"), None);
        let kept = headers(&[(header::CACHE_CONTROL, "only-if-cached")]);
        assert_eq!(absent(&kept, true).code, Code::NotKept);
        assert_eq!(absent(&kept, false).code, Code::NotFound);
    }
}
