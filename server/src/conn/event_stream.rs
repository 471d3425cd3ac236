//! An event stream on HTTP/1, an answer that goes on for hours, without hyper: that would keep some 20 KB for a connection, most of
//! it for a next request, which there is not. The head is written here, and events go to the socket as they are.

use super::ConnState;
use super::io::Io;
use crate::exchange::{BodyError, Output, Response};
use crate::metrics::Closed;
use bytes::Bytes;
use http::{Version, header};
use http_body::Body as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::time::timeout;

/// Time for the end of the stream to be taken.
const LAST_WORD: Duration = Duration::from_secs(1);
/// Bytes that are read at once of what a client sends for nothing.
const READ_BYTES: usize = 512;
const CRLF: Bytes = Bytes::from_static(b"\r\n");
const LAST_CHUNK: Bytes = Bytes::from_static(b"0\r\n\r\n");

/// Sends the answer to its end, or to that of the connection.
pub(super) async fn serve<S>(state: Rc<ConnState>, mut io: Io<S>, mut response: Response) -> Closed
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    // HTTP/1.0 knows no chunks: the end of the connection is that of the stream (RFC 9112 §6.3)
    let is_chunked = response.version() == Version::HTTP_11;
    let mut output = Output::default();
    output.put(head(&response, is_chunked));
    let mut is_ended = false;
    let closed = poll_fn(|cx| {
        state.register(cx);
        loop {
            match output.poll_write(&mut io, cx) {
                Poll::Ready(Err(_)) => return Poll::Ready(Closed::Error),
                Poll::Ready(Ok(())) if is_ended => return Poll::Ready(Closed::Normal),
                Poll::Ready(Ok(())) => match next(&mut response, cx) {
                    Poll::Ready(Some(Ok(part))) => put(&mut output, part, is_chunked),
                    // broken off, so that the client sees that more was to come
                    Poll::Ready(Some(Err(_))) => return Poll::Ready(Closed::Error),
                    Poll::Ready(None) => {
                        is_ended = true;
                        output.put(if is_chunked { LAST_CHUNK } else { Bytes::new() });
                    }
                    Poll::Pending => break,
                },
                Poll::Pending => break,
            }
        }
        if has_gone(&mut io, cx) {
            return Poll::Ready(Closed::Normal);
        }
        if state.is_expired() { Poll::Ready(Closed::Timeout) } else { Poll::Pending }
    });
    let closed = closed.await;
    if is_ended {
        // a client that takes nothing hears nothing of it
        let _ = timeout(LAST_WORD, io.shutdown()).await;
    }
    if state.draining.get() { Closed::Drain } else { closed }
}

/// Status and headers (RFC 9112 §2.1), with the date (RFC 9110 §6.6.1).
fn head(response: &Response, is_chunked: bool) -> Bytes {
    let mut out = Vec::with_capacity(512);
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(response.status().as_str().as_bytes());
    out.extend_from_slice(b" OK\r\n");
    let mut field = |name: &[u8], value: &[u8]| {
        for part in [name, b": ", value, b"\r\n"] {
            out.extend_from_slice(part);
        }
    };
    for (name, value) in response.headers() {
        field(name.as_str().as_bytes(), value.as_bytes());
    }
    let date = httpdate::fmt_http_date(SystemTime::now());
    field(header::DATE.as_str().as_bytes(), date.as_bytes());
    if is_chunked {
        field(header::TRANSFER_ENCODING.as_str().as_bytes(), b"chunked");
    }
    out.extend_from_slice(b"\r\n");
    out.into()
}

/// The next part; none at the end.
fn next(response: &mut Response, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, BodyError>>> {
    let frame = ready!(Pin::new(response.body_mut()).poll_frame(cx));
    // there are no trailers
    Poll::Ready(frame.map(|frame| frame.map(|frame| frame.into_data().unwrap_or_default())))
}

/// Adds a part, as a chunk (RFC 9112 §7.1).
fn put(output: &mut Output, part: Bytes, is_chunked: bool) {
    if !is_chunked {
        return output.put(part);
    }
    output.put(Bytes::from(format!("{:x}\r\n", part.len())));
    output.put(part);
    output.put(CRLF);
}

/// Whether the client has closed. What it sends all the same is no request: it was told that there will be no answer.
fn has_gone<S: AsyncRead + Unpin>(io: &mut Io<S>, cx: &mut Context<'_>) -> bool {
    let mut bytes = [0; READ_BYTES];
    loop {
        let mut buffer = ReadBuf::new(&mut bytes);
        match Pin::new(&mut *io).poll_read(cx, &mut buffer) {
            Poll::Ready(Ok(())) if !buffer.filled().is_empty() => {}
            Poll::Ready(_) => return true,
            Poll::Pending => return false,
        }
    }
}
