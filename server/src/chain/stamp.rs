//! Headers that every answer carries, and the time it took: the clock is read once for all who tell it.

use crate::exchange::{Request, Response};
use crate::services::Services;
use http::{HeaderName, HeaderValue, Version, header};

const CLOSE: HeaderValue = HeaderValue::from_static("close");
const KEEP_ALIVE: HeaderValue = HeaderValue::from_static("keep-alive");
const KEEP_ALIVE_NAME: HeaderName = HeaderName::from_static("keep-alive");
const SERVER_TIMING: HeaderName = HeaderName::from_static("server-timing");

/// Adds `Server`, `Server-Timing` and, on a connection that stays open, how long it may be idle.
pub(super) fn headers(services: &Services, request: &mut Request, response: &mut Response) {
    request.took = request.started.elapsed();
    let headers = response.headers_mut();
    if let Some(server) = &services.headers.server {
        headers.insert(header::SERVER, server.clone());
    }
    if services.config.http.server_timing {
        headers.insert(SERVER_TIMING, timing(request.took.as_micros()));
    }
    let is_http1 = request.head.version <= Version::HTTP_11;
    if headers.contains_key(header::CONNECTION) {
        return;
    }
    let is_last = services.is_ending.get() || request.distrust().is_some();
    if is_last && is_http1 {
        headers.insert(header::CONNECTION, CLOSE);
    } else if stays_open(services, request) {
        headers.insert(header::CONNECTION, KEEP_ALIVE);
        let known = &services.headers;
        let is_operations = request.interface.is_operations();
        let value = if is_operations { &known.operations_keep_alive } else { &known.keep_alive };
        headers.insert(KEEP_ALIVE_NAME, value.clone());
    }
}

/// Whether the connection goes on after this answer (RFC 9112 §9.3).
fn stays_open(services: &Services, request: &Request) -> bool {
    let closes = |value: &HeaderValue| {
        let tokens = value.as_bytes().split(|byte| *byte == b',');
        tokens.into_iter().any(|token| token.trim_ascii().eq_ignore_ascii_case(b"close"))
    };
    request.head.version == Version::HTTP_11
        && !services.config.timeouts(request.interface.is_operations()).keep_alive.is_zero()
        && !request.head.headers.get_all(header::CONNECTION).iter().any(closes)
}

/// `hdb;dur=<milliseconds with two decimals>`.
fn timing(micros: u128) -> HeaderValue {
    let hundredths = u64::try_from(micros / 10).unwrap_or(u64::MAX);
    let mut text = [0_u8; 32];
    let mut at = text.len();
    let mut rest = hundredths;
    for place in 0.. {
        if place == 2 {
            at -= 1;
            text[at] = b'.';
        }
        at -= 1;
        text[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 && place >= 2 {
            break;
        }
    }
    at -= 8;
    text[at..at + 8].copy_from_slice(b"hdb;dur=");
    HeaderValue::from_bytes(&text[at..]).unwrap_or_else(|_| HeaderValue::from_static("hdb"))
}

#[cfg(test)]
mod tests {
    use super::timing;

    #[test]
    fn the_time_is_in_milliseconds_with_two_decimals() {
        for (micros, text) in [
            (0, "hdb;dur=0.00"),
            (430, "hdb;dur=0.43"),
            (1_234_567, "hdb;dur=1234.56"),
            (u128::MAX, "hdb;dur=184467440737095516.15"),
        ] {
            assert_eq!(timing(micros), text);
        }
    }
}
