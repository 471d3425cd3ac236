//! The request log: `METHOD target HTTP/version status [n.nnms] [id: n]`, written only where the configuration has
//! an `http.logging` block.

use crate::exchange::{Request, Response};
use crate::services::Services;
use crate::telemetry::REQUEST;
use http::{HeaderMap, HeaderName, header};
use std::fmt::Write;
use std::sync::atomic::{AtomicU64, Ordering};

/// Requests logged with a number, since the start of the process.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// Headers whose values are secrets.
const SECRET: [HeaderName; 3] =
    [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

/// Writes the line of an answered request.
pub(super) fn line(services: &Services, request: &Request, response: &Response) {
    let Some(logging) = &services.config.http.logging else { return };
    let status = response.status().as_u16();
    let least = match logging.level.as_str() {
        "trace" | "debug" | "info" => 0,
        "warn" => 400,
        _ => 500,
    };
    if status < least {
        return;
    }
    let head = &request.head;
    let mut line = format!("{} {} {:?}", head.method, head.uri, head.version);
    if logging.headers {
        push_headers(&head.headers, &mut line);
    }
    // writing to a string cannot fail
    let _ = write!(line, " {status}");
    if logging.timing {
        let _ = write!(line, " {:.2}ms", request.took.as_secs_f64() * 1000.0);
    }
    if logging.id {
        let _ = write!(line, " id: {}", NUMBER.fetch_add(1, Ordering::Relaxed));
    }
    match status {
        500.. => tracing::error!(target: REQUEST, "{line}"),
        400.. => tracing::warn!(target: REQUEST, "{line}"),
        _ => tracing::info!(target: REQUEST, "{line}"),
    }
}

fn push_headers(headers: &HeaderMap, line: &mut String) {
    for (name, value) in headers.iter().filter(|(name, _)| !SECRET.contains(name)) {
        let _ = write!(line, " {name}: {value:?}");
    }
}
