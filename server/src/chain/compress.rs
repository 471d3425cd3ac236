//! Brotli (RFC 7932) for clients that take it: bodies above the threshold, and results of queries of any size.

use crate::content::weighted;
use crate::exchange::{Body, BodyError, Chunks, Request, Response};
use crate::pool::Pool;
use crate::resource::etag;
use crate::services::Services;
use brotli::CompressorWriter;
use bytes::Bytes;
use futures_util::{StreamExt, stream};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use std::io::Write;

/// A larger body is compressed on the pool.
const INLINE_BYTES_MAX: usize = 16 * 1024;
/// Brotli quality: for answers made once, the knee of bytes saved against time spent.
const QUALITY: u32 = 4;
/// Base-2 logarithm of the window: 256 KiB bounds the memory of one response.
const WINDOW: u32 = 18;
/// The encoder's own buffer.
const BUFFER_BYTES: usize = 4096;

/// Compresses the response's body where the client takes it and it is worth it.
pub(super) async fn body(services: &Services, request: &Request, response: &mut Response) {
    let threshold = services.config.http.compression_threshold_bytes;
    let is_worth_it = match response.body().len() {
        Some(len) => len > threshold || (response.body().is_query_result && len > 0),
        None => response.body().is_query_result,
    };
    let applies = threshold > 0
        && is_worth_it
        && response.status() != StatusCode::PARTIAL_CONTENT
        && !response.headers().contains_key(header::CONTENT_ENCODING)
        && accepts_brotli(&request.head.headers);
    if !applies {
        return;
    }
    let compressed = match response.body_mut().take() {
        Ok(bytes) if bytes.len() <= INLINE_BYTES_MAX => Body::whole(compress(&bytes)),
        Ok(bytes) => {
            let plain = bytes.clone();
            match services.pool.run(move || compress(&bytes)).await {
                Ok(compressed) => Body::whole(compressed),
                Err(_) => {
                    // no room on the pool: the plain body is as right, only larger
                    *response.body_mut() = Body::whole(plain);
                    return;
                }
            }
        }
        Err(chunks) => Body::stream(compress_stream(chunks, services.pool.clone())),
    };
    *response.body_mut() = compressed;
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("br"));
    if let Some(tag) = headers.get(header::ETAG).map(etag::with_brotli) {
        headers.insert(header::ETAG, tag);
    }
}

/// Whether `Accept-Encoding` gives `br`, or else `*`, a quality above 0 (RFC 9110 §12.5.3).
fn accepts_brotli(headers: &HeaderMap) -> bool {
    let fields =
        headers.get_all(header::ACCEPT_ENCODING).iter().filter_map(|field| field.to_str().ok());
    let mut star = 0;
    for (name, weight) in fields.flat_map(|field| field.split(',')).filter_map(weighted) {
        match name {
            "*" => star = weight,
            name if name.eq_ignore_ascii_case("br") => return weight > 0,
            _ => {}
        }
    }
    star > 0
}

fn encoder(capacity: usize) -> CompressorWriter<Vec<u8>> {
    CompressorWriter::new(Vec::with_capacity(capacity), BUFFER_BYTES, QUALITY, WINDOW)
}

fn compress(bytes: &[u8]) -> Bytes {
    let mut encoder = encoder(bytes.len() / 2);
    // writing to a vector cannot fail
    let _ = encoder.write_all(bytes);
    encoder.into_inner().into()
}

/// Compresses a stream part by part; each part is flushed, so that the client has it as soon as it is made.
fn compress_stream(chunks: Chunks, pool: Pool) -> Chunks {
    let state = (chunks, Some(encoder(0)), pool);
    Box::pin(stream::try_unfold(state, |(mut chunks, encoder, pool)| async move {
        let Some(mut encoder) = encoder else { return Ok(None) };
        let Some(chunk) = chunks.next().await.transpose()? else {
            let last = Bytes::from(encoder.into_inner());
            return Ok(Some((last, (chunks, None, pool))));
        };
        let work = pool.go_on(move || {
            let written = encoder.write_all(&chunk).and_then(|()| encoder.flush());
            let part = std::mem::take(encoder.get_mut());
            written.map(|()| (encoder, Bytes::from(part)))
        });
        let (encoder, part) = work
            .await
            .map_err(|error| BodyError(error.to_string()))?
            .map_err(|error| BodyError(error.to_string()))?;
        Ok(Some((part, (chunks, Some(encoder), pool))))
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accepts(value: &str) -> bool {
        let value = HeaderValue::from_str(value).unwrap();
        accepts_brotli(&HeaderMap::from_iter([(header::ACCEPT_ENCODING, value)]))
    }

    #[test]
    fn brotli_is_sent_only_where_it_is_taken() {
        assert!(accepts("br"));
        assert!(accepts("gzip, BR;q=0.5"));
        assert!(accepts("*"));
        assert!(!accepts("gzip, deflate"));
        assert!(!accepts("br;q=0"));
        assert!(!accepts("br;q=0, *"));
        assert!(!accepts(""));
        assert!(!accepts("brx"));
        assert!(!accepts_brotli(&HeaderMap::new()));
    }

    fn decompress(bytes: &[u8]) -> Vec<u8> {
        let mut plain = Vec::new();
        brotli::BrotliDecompress(&mut &*bytes, &mut plain).unwrap();
        plain
    }

    #[test]
    fn whole_bodies_and_streams_decompress_to_what_they_were() {
        let text = "a city by the sea ".repeat(1000).into_bytes();
        assert_eq!(decompress(&compress(&text)), text);
        let chunks: Vec<_> =
            text.chunks(999).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let parts = runtime.block_on(async {
            let pool = Pool::start("test", 1, 4).unwrap();
            let stream = compress_stream(Box::pin(stream::iter(chunks)), pool);
            stream.map(Result::unwrap).collect::<Vec<_>>().await
        });
        assert!(parts.len() > 10, "each part is sent as it is made");
        assert_eq!(decompress(&parts.concat()), text);
    }
}
