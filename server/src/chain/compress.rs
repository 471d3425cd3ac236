//! Content codings of answers: bodies above the threshold, and results of queries of any size, for clients that take one.

use crate::coding::{self, Accepted, Coding, Encoder};
use crate::error::{Code, Failure};
use crate::exchange::{Body, BodyError, Chunks, Field, Request, Response};
use crate::pool::Pool;
use crate::reply;
use crate::resource::etag;
use crate::services::Services;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use harper_config::Compression;
use http::{HeaderMap, Method, StatusCode, header};

/// A larger body is compressed on the pool.
const INLINE_BYTES_MAX: usize = 16 * 1024;

/// Compresses the response's body where the client takes it and it is worth it.
pub(super) async fn body(services: &Services, request: &Request, response: &mut Response) {
    let threshold = services.config.http.compression_threshold_bytes;
    if threshold == 0 || !request.has(Field::AcceptEncoding) || !can_be_coded(response) {
        return;
    }
    let Accepted { coding, plain } = coding::accepted(&request.head.headers);
    match coding {
        Some(coding) if !plain || is_worth_it(services, response) => {
            // boxed, as most answers need none of it
            Box::pin(encode(services, coding, response)).await;
        }
        None if !plain && is_read(request, response) => *response = refused(request),
        _ => {}
    }
}

/// Whether there is a body, which has no coding yet and is not part of another.
fn can_be_coded(response: &Response) -> bool {
    response.body().len() != Some(0)
        && response.status() != StatusCode::PARTIAL_CONTENT
        && !response.headers().contains_key(header::CONTENT_ENCODING)
}

/// Results of queries are compressed whatever their size, event streams where that is configured, other streams never:
/// they set their own length or pace.
fn is_worth_it(services: &Services, response: &Response) -> bool {
    let (http, body) = (&services.config.http, response.body());
    if body.is_event_stream {
        return http.event_stream.is_compressed;
    }
    let threshold = http.compression_threshold_bytes;
    let is_large = body.len().is_some_and(|len| len > threshold);
    (body.is_query_result || is_large) && !is_dense(response.headers())
}

/// Whether the media type is one whose bytes are compressed already, or that must not be held up.
fn is_dense(headers: &HeaderMap) -> bool {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
    kind.is_some_and(coding::is_dense)
}

fn is_read(request: &Request, response: &Response) -> bool {
    matches!(request.head.method, Method::GET | Method::HEAD) && response.status().is_success()
}

/// RFC 9110 §12.5.3: the client excludes a plain body and every coding there is.
fn refused(request: &Request) -> Response {
    let names = Coding::ALL.map(Coding::name).join(", ");
    let sentence = format!("No supported content coding is accepted; there are {names}, identity");
    let failure = Failure::new(Code::NotAcceptable, sentence);
    reply::problem(&failure, &request.head.headers, request.id.get())
}

async fn encode(services: &Services, coding: Coding, response: &mut Response) {
    let quality = services.config.http.compression;
    let is_query_result = response.body().is_query_result;
    let body = match response.body_mut().take() {
        Err(chunks) => match Encoder::new(coding, &quality) {
            Ok(encoder) => Body::stream(encode_stream(chunks, encoder, services.pool.clone())),
            Err(_) => return plain(response, Body::stream(chunks), is_query_result),
        },
        Ok(bytes) => match encode_whole(services, coding, quality, bytes.clone()).await {
            Some(coded) => Body::whole(coded),
            // the plain body is as right, only larger
            None => return plain(response, Body::whole(bytes), is_query_result),
        },
    };
    *response.body_mut() = body;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, coding.header());
    headers.remove(header::CONTENT_LENGTH);
    if let Some(tag) = headers.get(header::ETAG).map(|tag| etag::with_coding(tag, coding)) {
        headers.insert(header::ETAG, tag);
    }
}

fn plain(response: &mut Response, body: Body, is_query_result: bool) {
    *response.body_mut() = if is_query_result { body.query_result() } else { body };
}

/// None when the pool has no room.
async fn encode_whole(
    services: &Services,
    coding: Coding,
    quality: Compression,
    bytes: Bytes,
) -> Option<Bytes> {
    if bytes.len() <= INLINE_BYTES_MAX {
        return coding::encode(coding, &quality, &bytes).ok();
    }
    services.pool.run(move || coding::encode(coding, &quality, &bytes)).await.ok()?.ok()
}

/// Compresses a stream part by part; each part is flushed, so that the client has it as soon as it is made.
fn encode_stream(chunks: Chunks, encoder: Encoder, pool: Pool) -> Chunks {
    let state = (chunks, Some(encoder), pool);
    Box::pin(stream::try_unfold(state, |(mut chunks, encoder, pool)| async move {
        let broken = |error: std::io::Error| BodyError(error.to_string());
        let Some(mut encoder) = encoder else { return Ok(None) };
        let Some(chunk) = chunks.next().await.transpose()? else {
            let last = Bytes::from(encoder.finish().map_err(broken)?);
            return Ok(Some((last, (chunks, None, pool))));
        };
        if chunk.len() <= INLINE_BYTES_MAX {
            let part = encoder.push(&chunk).map_err(broken)?;
            return Ok(Some((Bytes::from(part), (chunks, Some(encoder), pool))));
        }
        let work = pool.go_on(move || encoder.push(&chunk).map(|part| (encoder, part)));
        let (encoder, part) =
            work.await.map_err(|error| BodyError(error.to_string()))?.map_err(broken)?;
        Ok(Some((Bytes::from(part), (chunks, Some(encoder), pool))))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_is_coded_part_by_part() {
        let quality = Compression { brotli_quality: 4, gzip_level: 6, zstd_level: 3 };
        let text = "a city by the sea ".repeat(1000).into_bytes();
        let chunks: Vec<_> =
            text.chunks(999).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let parts = runtime.block_on(async {
            let pool = Pool::start("test", 1, 4).unwrap();
            let encoder = Encoder::new(Coding::Br, &quality).unwrap();
            let stream = encode_stream(Box::pin(stream::iter(chunks)), encoder, pool);
            stream.map(Result::unwrap).collect::<Vec<_>>().await
        });
        assert!(parts.len() > 10, "each part is sent as it is made");
        assert_eq!(coding::decode("br", &parts.concat(), text.len()).unwrap(), text);
    }
}
