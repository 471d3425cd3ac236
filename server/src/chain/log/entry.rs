//! What is known of a request when its answer is made, kept until the answer ends.

use crate::exchange::{Request, Summary};
use harper_config::{HttpLogging, RequestLogFormat};
use http::{HeaderMap, HeaderName, header};
use std::sync::atomic::{AtomicU64, Ordering};

/// Requests logged with a number, since the start of the process.
static NUMBER: AtomicU64 = AtomicU64::new(1);

/// Headers whose values are secrets.
const SECRET: [HeaderName; 3] =
    [header::AUTHORIZATION, header::COOKIE, header::PROXY_AUTHORIZATION];

/// One request of the log.
pub(super) struct Entry {
    pub(super) format: RequestLogFormat,
    pub(super) tag: String,
    /// Whether the text form tells the time.
    pub(super) has_timing: bool,
    /// The number of the line, where lines are numbered.
    pub(super) number: Option<u64>,
    /// The request's headers but for secrets, where they are asked for.
    pub(super) headers: Option<HeaderMap>,
    pub(super) summary: Summary,
}

impl Entry {
    /// What the log needs of a request that has its answer.
    pub(super) fn new(logging: &HttpLogging, request: &Request, status: u16) -> Self {
        Self {
            format: logging.format,
            tag: logging.tag.clone(),
            has_timing: logging.timing,
            number: logging.id.then(|| NUMBER.fetch_add(1, Ordering::Relaxed)),
            headers: logging.headers.then(|| without_secrets(&request.head.headers)),
            summary: Summary::new(request, status),
        }
    }

    /// The protocol's name: `HTTP/1.1`, or `HTTPS/1.1` for a client that speaks TLS.
    pub(super) fn protocol(&self) -> String {
        let name = format!("{:?}", self.summary.version);
        if self.summary.is_secure { name.replacen("HTTP", "HTTPS", 1) } else { name }
    }
}

fn without_secrets(headers: &HeaderMap) -> HeaderMap {
    let shown = headers.iter().filter(|(name, _)| !SECRET.contains(name));
    shown.map(|(name, value)| (name.clone(), value.clone())).collect()
}
