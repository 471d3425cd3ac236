//! What is told of a request that has its answer, to the log and to traces.

use super::{Request, TraceContext};
use crate::auth::Identity;
use http::{HeaderName, HeaderValue, Method, Uri, Version, header};
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// One request and its answer, without the bodies.
#[derive(Clone, Debug)]
pub(crate) struct Summary {
    /// The method.
    pub method: Method,
    /// Path and query.
    pub target: Uri,
    /// The version of HTTP.
    pub version: Version,
    /// Whether the client speaks TLS.
    pub is_secure: bool,
    /// The version of TLS on the connection.
    pub tls_version: Option<&'static str>,
    /// The status of the answer.
    pub status: u16,
    /// The client's address.
    pub client: IpAddr,
    /// The user's name, after a login.
    pub user: Option<String>,
    /// The host that the client asked for.
    pub host: Option<HeaderValue>,
    /// The page it came from, as it says.
    pub referer: Option<HeaderValue>,
    /// The program it is, as it says.
    pub user_agent: Option<HeaderValue>,
    /// The id of the request.
    pub id: HeaderValue,
    /// The trace that it is part of.
    pub trace: Option<TraceContext>,
    /// The path under which the resource is exported.
    pub route: Option<String>,
    /// Bytes of the request's body that were read.
    pub body_bytes: u64,
    /// Time until the answer was made.
    pub took: Duration,
    /// When the head had been read.
    pub started: Instant,
}

impl Summary {
    /// The summary of a request that was answered with `status`.
    #[must_use]
    pub(crate) fn new(request: &Request, status: u16) -> Self {
        let head = &request.head;
        let header = |name: HeaderName| head.headers.get(name).cloned();
        let user = match &request.identity {
            Identity::Anonymous => None,
            Identity::User(user) => Some(user.username.clone()),
        };
        Self {
            method: head.method.clone(),
            target: head.uri.clone(),
            version: head.version,
            is_secure: request.client.is_secure,
            tls_version: request.client.tls_version,
            status,
            client: request.client.address,
            user,
            host: request.client.host.clone().or_else(|| header(header::HOST)),
            referer: header(header::REFERER),
            user_agent: header(header::USER_AGENT),
            id: request.id.get().clone(),
            trace: request.trace.clone(),
            route: request.route.clone(),
            body_bytes: request.body_bytes,
            took: request.took,
            started: request.started,
        }
    }
}
