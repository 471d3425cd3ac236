//! The answer with a file: conditions, parts and codings.

use super::cache::Kept;
use super::find::{About, Large};
use super::{Files, Source};
use crate::coding::{self, Coding};
use crate::error::{Answer, Code, Failure};
use crate::exchange::{Body, BodyError, Chunks, Request, Response};
use crate::pool::Pool;
use crate::reply;
use crate::resource::etag;
use crate::resource::range::{self, Partial, Representation, Segment};
use crate::services::Services;
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderMap, HeaderValue, Method, StatusCode, header};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::sync::Arc;
use std::time::SystemTime;

/// Read from a file at a time.
const CHUNK_BYTES: u64 = 64 * 1024;
/// A file does not depend on `Accept`.
const VARY: HeaderValue = HeaderValue::from_static("Accept-Encoding, Origin");

/// The coding to look for, if any.
pub(super) fn coding(services: &Services, request: &Request) -> Option<Coding> {
    let is_off = services.config.http.compression_threshold_bytes == 0;
    if is_off || request.head.headers.contains_key(header::RANGE) {
        return None;
    }
    coding::accepted(&request.head.headers).coding
}

/// Sends a file with a status; conditions and ranges count only with 200.
///
/// # Errors
/// 412 and 416 as the request's header fields ask.
pub(super) async fn file(
    services: &Services,
    request: &Request,
    files: &Arc<Files>,
    source: Source,
    status: StatusCode,
) -> Answer<Response> {
    let about = source.about();
    if status == StatusCode::OK
        && let Some(unchanged) = conditions(&request.head.headers, about)?
    {
        return Ok(unchanged);
    }
    let partial = match (status, &source) {
        (StatusCode::OK, Source::Kept(_) | Source::Large(Large { coding: None, .. })) => {
            let (tag, media_type) = (Some(&about.tag), &about.media_type);
            let modified = Some(about.modified);
            range::partial(request, &Representation { len: about.len, tag, modified, media_type })?
        }
        _ => None,
    };
    let mut response = reply::with_status(status, Body::default());
    describe(response.headers_mut(), about);
    let headers = response.headers_mut();
    let body = match (source, partial) {
        (source, Some(partial)) => {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            part(response.headers_mut(), source, partial, services)
        }
        (Source::Kept(kept), None) => match encoded(services, request, files, &kept).await {
            Some((coding, coded)) => {
                code(headers, coding, &kept.about.tag);
                (coded.len() as u64, whole(coded))
            }
            None => (kept.about.len, whole(kept.plain.clone())),
        },
        (Source::Large(large), None) => {
            if let Some(coding) = large.coding {
                code(headers, coding, &large.about.tag);
            }
            let segments = vec![Segment::Span(0..large.len)];
            (large.len, from_disk(large.file, segments, services.pool.clone()))
        }
    };
    let (len, body) = body;
    response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(len));
    if request.head.method != Method::HEAD && len > 0 {
        *response.body_mut() = body;
    }
    Ok(response)
}

impl Source {
    fn about(&self) -> &About {
        match self {
            Self::Kept(kept) => &kept.about,
            Self::Large(large) => &large.about,
        }
    }
}

/// 301 to the same path with a slash at its end. Slashes at its beginning become one: two would name another host.
pub(super) fn to_folder(request: &Request) -> Response {
    let uri = &request.head.uri;
    let query = uri.query().map(|query| format!("?{query}")).unwrap_or_default();
    let location = format!("/{}/{query}", uri.path().trim_start_matches('/'));
    let mut response = reply::with_status(StatusCode::MOVED_PERMANENTLY, Body::default());
    if let Ok(location) = HeaderValue::from_str(&location) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

fn describe(headers: &mut HeaderMap, about: &About) {
    headers.insert(header::ETAG, about.tag.clone());
    headers.insert(header::VARY, VARY);
    headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=0"));
    headers.insert(header::CONTENT_TYPE, about.media_type.clone());
    if let Ok(modified) = HeaderValue::from_str(&httpdate::fmt_http_date(about.modified)) {
        headers.insert(header::LAST_MODIFIED, modified);
    }
}

fn code(headers: &mut HeaderMap, coding: Coding, tag: &HeaderValue) {
    headers.insert(header::CONTENT_ENCODING, coding.header());
    headers.insert(header::ETAG, etag::with_coding(tag, coding));
}

/// The preconditions in the order of RFC 9110 §13.2.2: 304 when the client has the file already.
fn conditions(headers: &HeaderMap, about: &About) -> Answer<Option<Response>> {
    let has = |name| headers.contains_key(name);
    let is_current = if has(header::IF_MATCH) {
        etag::strong_match(headers, &about.tag)
    } else {
        date(headers, header::IF_UNMODIFIED_SINCE).is_none_or(|date| second(about.modified) <= date)
    };
    if !is_current {
        let sentence = "The file is not in the state that the request asks for";
        return Err(Failure::new(Code::PreconditionFailed, sentence));
    }
    let known = if has(header::IF_NONE_MATCH) {
        etag::none_match(headers, &about.tag)
    } else {
        let since = date(headers, header::IF_MODIFIED_SINCE);
        since.filter(|since| second(about.modified) <= *since).map(|_| about.tag.clone())
    };
    Ok(known.map(|tag| {
        let mut response = reply::with_status(StatusCode::NOT_MODIFIED, Body::default());
        describe(response.headers_mut(), about);
        response.headers_mut().remove(header::CONTENT_TYPE);
        response.headers_mut().insert(header::ETAG, tag);
        response
    }))
}

/// A date field in seconds since 1970; none when it is absent or no date.
fn date(headers: &HeaderMap, name: http::HeaderName) -> Option<u64> {
    let text = headers.get(name)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok().map(second)
}

fn second(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_secs()
}

/// The file in the coding that the client prefers, where that is worth it.
async fn encoded(
    services: &Services,
    request: &Request,
    files: &Arc<Files>,
    kept: &Arc<Kept>,
) -> Option<(Coding, Bytes)> {
    let threshold = services.config.http.compression_threshold_bytes;
    let is_dense = kept.about.media_type.to_str().is_ok_and(coding::is_dense);
    let coding = coding(services, request)?;
    if is_dense || kept.plain.len() <= threshold {
        return None;
    }
    if let Some(made) = kept.coded(coding) {
        return made.map(|coded| (coding, coded));
    }
    let (files, kept) = (Arc::clone(files), Arc::clone(kept));
    let bytes_max = services.config.files.cache_bytes_max;
    let made = services.pool.run(move || {
        let coded = kept.encode(coding);
        files.cache.trim(bytes_max);
        coded
    });
    // without room on the pool the plain file is as right, only larger
    made.await.ok()?.map(|coded| (coding, coded))
}

fn part(
    headers: &mut HeaderMap,
    source: Source,
    partial: Partial,
    services: &Services,
) -> (u64, Body) {
    if let Some(media_type) = partial.media_type {
        headers.insert(header::CONTENT_TYPE, media_type);
    }
    if let Some(content_range) = partial.content_range {
        headers.insert(header::CONTENT_RANGE, content_range);
    }
    let body = match source {
        Source::Kept(kept) => {
            let pieces = partial.segments.into_iter().map(move |segment| {
                Ok(match segment {
                    Segment::Text(text) => text,
                    Segment::Span(span) => kept.plain.slice(span.start as usize..span.end as usize),
                })
            });
            Body::stream(Box::pin(stream::iter(pieces)))
        }
        Source::Large(large) => from_disk(large.file, partial.segments, services.pool.clone()),
    };
    (partial.len, body)
}

/// A stream, so that it is not taken for something to be compressed.
fn whole(bytes: Bytes) -> Body {
    Body::stream(Box::pin(stream::once(std::future::ready(Ok(bytes)))))
}

/// The segments, read from the file as the client takes them.
fn from_disk(file: File, segments: Vec<Segment>, pool: Pool) -> Body {
    let state = (file, segments.into_iter(), 0..0, pool);
    let chunks: Chunks =
        Box::pin(stream::try_unfold(state, |(file, mut segments, mut span, pool)| async move {
            if span.is_empty() {
                match segments.next() {
                    None => return Ok(None),
                    Some(Segment::Text(text)) => {
                        return Ok(Some((text, (file, segments, 0..0, pool))));
                    }
                    Some(Segment::Span(next)) => span = next,
                }
            }
            let end = span.end.min(span.start + CHUNK_BYTES);
            let wanted = span.start..end;
            let read = pool.go_on(move || read_at(file, wanted)).await;
            let read = read.map_err(|error| BodyError(error.to_string()))?;
            let (file, chunk) = read.map_err(|error| BodyError(error.to_string()))?;
            Ok(Some((chunk, (file, segments, end..span.end, pool))))
        }));
    Body::stream(chunks)
}

fn read_at(mut file: File, span: std::ops::Range<u64>) -> std::io::Result<(File, Bytes)> {
    let mut chunk = vec![0; usize::try_from(span.end - span.start).unwrap_or_default()];
    file.seek(SeekFrom::Start(span.start))?;
    file.read_exact(&mut chunk)?;
    Ok((file, chunk.into()))
}
