//! Reading a request body within its limit.

use crate::coding::{self, DecodeError};
use crate::error::{Answer, Code, Failure};
use crate::exchange::{Request, RequestBody};
use crate::metrics::Rejected;
use crate::services::Services;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, header};
use std::io;

/// The largest body of an operation or of a query.
const SMALL_BYTES_MAX: usize = 256 * 1024;
/// Bodies up to this size are not counted against `http.bodiesBytesMax`: the number of connections bounds them.
const UNCOUNTED_BYTES: usize = 64 * 1024;

/// The whole body, without its content coding (RFC 9110 §8.4).
///
/// # Errors
/// As [`read_coded`]; 415 for a coding that is not known, 400 for a body that is not of its coding.
pub(crate) async fn read(services: &Services, request: &mut Request) -> Answer<Bytes> {
    let Some(coding) = request.head.headers.get(header::CONTENT_ENCODING) else {
        return read_coded(services, request).await;
    };
    let coding = coding.to_str().unwrap_or("?").trim().to_owned();
    if coding.is_empty() || coding.eq_ignore_ascii_case("identity") {
        return read_coded(services, request).await;
    }
    if !coding::TAKEN.split(", ").chain(["x-gzip"]).any(|known| coding.eq_ignore_ascii_case(known))
    {
        return Err(unknown_coding(&coding));
    }
    let body = read_coded(services, request).await?;
    let bytes_max = services.config.http.body_bytes_max;
    let decoded = services.block_on_pool({
        let coding = coding.clone();
        move || coding::decode(&coding, &body, bytes_max)
    });
    let body = decoded.await?.map_err(|error| match error {
        DecodeError::TooLarge => too_large(services, bytes_max),
        DecodeError::Unknown => unknown_coding(&coding),
        DecodeError::Malformed(error) => {
            Failure::new(Code::InvalidBody, format!("The body is not valid {coding}: {error}"))
        }
    })?;
    let all_max = services.config.http.bodies_bytes_max;
    if body.len() > UNCOUNTED_BYTES
        && !request.held.raise_to(body.len(), &services.bodies_bytes, all_max)
    {
        return Err(too_many(services));
    }
    Ok(body.into())
}

fn unknown_coding(coding: &str) -> Box<Failure> {
    let sentence =
        format!("A body in the coding {coding} is not understood; there are {}", coding::TAKEN);
    Failure::new(Code::UnsupportedMediaType, sentence)
        .with(header::ACCEPT_ENCODING, HeaderValue::from_static(coding::TAKEN))
}

/// The whole body as it was sent.
///
/// # Errors
/// 413 for more than `http.bodyBytesMax` (RFC 9110 §15.5.14; the connection is then closed), 503 when the process
/// holds `http.bodiesBytesMax` already, 400 for a broken transfer.
async fn read_coded(services: &Services, request: &mut Request) -> Answer<Bytes> {
    let bytes_max = services.config.http.body_bytes_max;
    let RequestBody::Incoming(mut incoming) =
        std::mem::replace(&mut request.body, RequestBody::Empty)
    else {
        return Ok(Bytes::new());
    };
    let announced =
        request.header(header::CONTENT_LENGTH).and_then(|length| length.parse::<usize>().ok());
    if announced.is_some_and(|length| length > bytes_max) {
        return Err(too_large(services, bytes_max));
    }
    let mut first: Option<Bytes> = None;
    let mut rest = BytesMut::new();
    while let Some(frame) = incoming.frame().await {
        let frame = frame.map_err(|error| broken(&error))?;
        let Ok(data) = frame.into_data() else { continue };
        let so_far = first.as_ref().map_or(0, Bytes::len) + rest.len();
        let size = so_far + data.len();
        request.body_bytes = size as u64;
        if size > bytes_max {
            return Err(too_large(services, bytes_max));
        }
        let all_max = services.config.http.bodies_bytes_max;
        if size > UNCOUNTED_BYTES && !request.held.raise_to(size, &services.bodies_bytes, all_max) {
            return Err(too_many(services));
        }
        match first.take() {
            // most bodies come in one frame, which is then the body
            None if rest.is_empty() => first = Some(data),
            begin => {
                // room for what is announced, within what a client may take without sending it
                rest.reserve(announced.unwrap_or(0).saturating_sub(rest.len()).min(1 << 20));
                rest.extend_from_slice(&begin.unwrap_or_default());
                rest.extend_from_slice(&data);
            }
        }
    }
    Ok(first.unwrap_or_else(|| rest.freeze()))
}

fn too_many(services: &Services) -> Box<Failure> {
    services.metrics.rejected(Rejected::BodiesBytes);
    Failure::new(Code::Overloaded, "The server holds as many request bodies as it may; try again")
        .closing()
}

/// Reads a body that says what to do, and is small: it is read here as a tree, which takes many times its size.
///
/// # Errors
/// 413 above [`SMALL_BYTES_MAX`], else as [`read`].
pub(crate) async fn read_small(services: &Services, request: &mut Request) -> Answer<Bytes> {
    let body = read(services, request).await?;
    check_small(services, &body)?;
    Ok(body)
}

/// Refuses the text of such a body when it is too large.
///
/// # Errors
/// 413 above [`SMALL_BYTES_MAX`].
pub(crate) fn check_small(services: &Services, text: &[u8]) -> Answer<()> {
    if text.len() <= SMALL_BYTES_MAX {
        return Ok(());
    }
    Err(too_large(services, SMALL_BYTES_MAX))
}

fn too_large(services: &Services, bytes_max: usize) -> Box<Failure> {
    services.metrics.rejected(Rejected::BodyBytes);
    Failure::new(Code::BodyTooLarge, format!("The body is larger than {bytes_max} bytes")).closing()
}

/// The body cannot be read to its end.
fn broken(error: &io::Error) -> Box<Failure> {
    let failure = match error.kind() {
        io::ErrorKind::TimedOut => {
            Failure::new(Code::RequestTimeout, "The body did not arrive in time")
        }
        _ => Failure::new(Code::BadRequest, format!("The body could not be read: {error}")),
    };
    failure.closing()
}
