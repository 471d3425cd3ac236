//! One request as a server span, with the names of OpenTelemetry's semantic conventions for HTTP (1.23, stable).

use super::messages::{KeyValue, SpanMessage, Status};
use crate::exchange::{Sent, Summary};
use http::{HeaderValue, Version};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// `SPAN_KIND_SERVER`.
const SERVER: i32 = 2;
/// `STATUS_CODE_ERROR`.
const ERROR: i32 = 2;
/// The trace is recorded.
const SAMPLED: u32 = 1;
/// Whether the parent is known to be remote, and that it is: bits 8 and 9 of the flags.
const REMOTE: u32 = 0x300;
/// The same for a span without a parent.
const LOCAL: u32 = 0x100;

/// Methods that are told by name.
const METHODS: [&str; 9] =
    ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT"];

/// A request whose answer has ended.
pub(crate) struct Span {
    summary: Summary,
    sent: Sent,
    ended: SystemTime,
    took: Duration,
}

impl Span {
    /// The span of a request that ends now.
    #[must_use]
    pub(crate) fn new(summary: Summary, sent: Sent) -> Self {
        Self { ended: SystemTime::now(), took: summary.started.elapsed(), summary, sent }
    }

    pub(super) fn into_message(self) -> SpanMessage {
        let attributes = self.attributes();
        let Self { summary, ended, took, .. } = self;
        let method = known_method(&summary).unwrap_or("HTTP");
        let name = match &summary.route {
            Some(route) => format!("{method} {route}"),
            None => method.to_owned(),
        };
        let end = u64::try_from(ended.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos());
        let end = end.unwrap_or(u64::MAX);
        let mut message = SpanMessage {
            name,
            kind: SERVER,
            start_time_unix_nano: end.saturating_sub(took.as_nanos() as u64),
            end_time_unix_nano: end,
            attributes,
            // what the client did wrong is no error of the server
            status: (summary.status >= 500).then_some(Status { code: ERROR }),
            ..SpanMessage::default()
        };
        if let Some(trace) = summary.trace {
            message.flags = SAMPLED | if trace.parent_id.is_some() { REMOTE } else { LOCAL };
            message.trace_id = trace.trace_id.to_vec();
            message.span_id = trace.span_id.to_vec();
            message.parent_span_id = trace.parent_id.map(Vec::from).unwrap_or_default();
            message.trace_state = trace.state;
        }
        message
    }

    fn attributes(&self) -> Vec<KeyValue> {
        let summary = &self.summary;
        let mut all = vec![
            KeyValue::text("http.request.method", known_method(summary).unwrap_or("_OTHER")),
            KeyValue::text("url.path", summary.target.path()),
            KeyValue::text("url.scheme", if summary.is_secure { "https" } else { "http" }),
            KeyValue::whole("http.response.status_code", summary.status),
            KeyValue::whole("http.request.body.size", summary.body_bytes),
            KeyValue::whole("http.response.body.size", self.sent.bytes),
            KeyValue::text("client.address", summary.client.to_string()),
            KeyValue::text("network.protocol.version", version(summary.version)),
            KeyValue::text("harper.request.id", lossy(&summary.id)),
        ];
        if known_method(summary).is_none() {
            all.push(KeyValue::text("http.request.method_original", summary.method.as_str()));
        }
        if summary.status >= 500 {
            all.push(KeyValue::text("error.type", summary.status.to_string()));
        }
        if let Some(host) = &summary.host {
            all.extend(server(&lossy(host)));
        }
        let optional = [
            ("http.route", summary.route.clone()),
            ("tls.protocol.version", summary.tls_version.map(str::to_owned)),
            ("url.query", summary.target.query().map(str::to_owned)),
            ("user.name", summary.user.clone()),
            ("user_agent.original", summary.user_agent.as_ref().map(lossy)),
        ];
        let optional = optional.into_iter().filter_map(|(key, value)| Some((key, value?)));
        all.extend(optional.map(|(key, value)| KeyValue::text(key, value)));
        all
    }
}

fn known_method(summary: &Summary) -> Option<&'static str> {
    METHODS.into_iter().find(|known| *known == summary.method.as_str())
}

/// `server.address` and `server.port`.
fn server(host: &str) -> Vec<KeyValue> {
    let authority = host.parse::<http::uri::Authority>().ok();
    let Some(authority) = authority.filter(|authority| !authority.host().is_empty()) else {
        return Vec::new();
    };
    let name = authority.host().trim_matches(['[', ']']);
    let mut all = vec![KeyValue::text("server.address", name)];
    all.extend(authority.port_u16().map(|port| KeyValue::whole("server.port", port)));
    all
}

fn version(version: Version) -> &'static str {
    match version {
        Version::HTTP_10 => "1.0",
        Version::HTTP_2 => "2",
        _ => "1.1",
    }
}

fn lossy(value: &HeaderValue) -> String {
    String::from_utf8_lossy(value.as_bytes()).into_owned()
}
