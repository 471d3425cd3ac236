//! Headers that every answer carries, and the time it took: the clock is read once for all who tell it.

use crate::exchange::{Field, Request, Response};
use crate::services::Services;
use http::header::{self, Entry};
use http::{HeaderName, HeaderValue, Version};
use std::time::Duration;

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
        headers.insert(SERVER_TIMING, timing(request.took));
    }
    let is_http1 = request.head.version <= Version::HTTP_11;
    let is_last = services.is_ending.get() || request.distrust().is_some();
    let is_kept = !(is_last && is_http1);
    if is_kept && !stays_open(services, request) {
        return;
    }
    let Entry::Vacant(connection) = headers.entry(header::CONNECTION) else { return };
    connection.insert(if is_kept { KEEP_ALIVE } else { CLOSE });
    if is_kept {
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
        && !(request.has(Field::Connection)
            && request.head.headers.get_all(header::CONNECTION).iter().any(closes))
}

/// `hdb;dur=<milliseconds with two decimals>`.
fn timing(took: Duration) -> HeaderValue {
    // in 64 bits, where a division is cheap
    let hundredths =
        took.as_secs().saturating_mul(100_000).saturating_add(u64::from(took.subsec_micros() / 10));
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
    use std::time::Duration;

    #[test]
    fn the_time_is_in_milliseconds_with_two_decimals() {
        for (micros, text) in [
            (0, "hdb;dur=0.00"),
            (430, "hdb;dur=0.43"),
            (1_234_567, "hdb;dur=1234.56"),
            (u64::MAX, "hdb;dur=18446744073709551.61"),
        ] {
            assert_eq!(timing(Duration::from_micros(micros)), text);
        }
        assert_eq!(timing(Duration::MAX), "hdb;dur=184467440737095516.15");
    }
}
