//! What is known of a request when its answer is made, kept until the answer ends.

use crate::auth::Identity;
use crate::exchange::Request;
use harper_config::{HttpLogging, RequestLogFormat};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Uri, Version, header};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

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
    pub(super) method: Method,
    pub(super) target: Uri,
    pub(super) version: Version,
    pub(super) is_secure: bool,
    pub(super) status: u16,
    pub(super) client: IpAddr,
    pub(super) user: Option<String>,
    pub(super) host: Option<HeaderValue>,
    pub(super) referer: Option<HeaderValue>,
    pub(super) user_agent: Option<HeaderValue>,
    pub(super) id: HeaderValue,
    pub(super) body_bytes: u64,
    /// Time until the answer was made.
    pub(super) took: Duration,
    pub(super) started: Instant,
}

impl Entry {
    /// What the log needs of a request that has its answer.
    pub(super) fn new(logging: &HttpLogging, request: &Request, status: u16) -> Self {
        let head = &request.head;
        let header = |name: HeaderName| head.headers.get(name).cloned();
        let user = match &request.identity {
            Identity::Anonymous => None,
            Identity::User(user) => Some(user.username.clone()),
        };
        Self {
            format: logging.format,
            tag: logging.tag.clone(),
            has_timing: logging.timing,
            number: logging.id.then(|| NUMBER.fetch_add(1, Ordering::Relaxed)),
            headers: logging.headers.then(|| without_secrets(&head.headers)),
            method: head.method.clone(),
            target: head.uri.clone(),
            version: head.version,
            is_secure: request.client.is_secure,
            status,
            client: request.client.address,
            user,
            host: request.client.host.clone().or_else(|| header(header::HOST)),
            referer: header(header::REFERER),
            user_agent: header(header::USER_AGENT),
            id: request.id.get().clone(),
            body_bytes: request.body_bytes,
            took: request.took,
            started: request.started,
        }
    }

    /// The protocol's name: `HTTP/1.1`, or `HTTPS/1.1` for a client that speaks TLS.
    pub(super) fn protocol(&self) -> String {
        let name = format!("{:?}", self.version);
        if self.is_secure { name.replacen("HTTP", "HTTPS", 1) } else { name }
    }
}

fn without_secrets(headers: &HeaderMap) -> HeaderMap {
    let shown = headers.iter().filter(|(name, _)| !SECRET.contains(name));
    shown.map(|(name, value)| (name.clone(), value.clone())).collect()
}
