//! The configuration of a Harper server: its keys, where their values come from, and what they mean.
//!
//! One ordered table ([`KEYS`]) is the only place that knows a key. Parsing, validation, the documentation, the
//! JSON Schema and what the operator writes are all derived from it. The crate reads text and returns values: it
//! opens no file, reads no environment and starts nothing.

mod ciphers;
mod config;
mod docs;
mod headers;
mod keys;
mod layers;
mod oidc;
mod problem;
mod reload;
mod render;
mod shown;
mod table;
mod tls;
mod tree;
mod value;

pub use ciphers::CipherSuite;
pub use config::{
    Admin, AuthAudit, Authentication, CertificateUser, ClientCertificates, Compression, Computed,
    Config, Cors, CrlInquiry, EventStream, Files, Http, Http2, HttpLogging, Inquiry, Logging, Mqtt,
    OcspInquiry, Oidc, OperationsApi, Otlp, Proxies, Query, RateLimit, RateLimitBy, Realtime,
    RequestId, RequestLogFormat, Revocation, Sessions, Shutdown, Storage, Telemetry, Threads,
    ThreadsBasis, Throttle, Timeouts, TlsListener, Tokens, WebSocket,
};
pub use docs::{json_schema, markdown};
pub use keys::{Key, Kind, Reload, Support, find, find_by_env};
pub use layers::{Effective, Loaded, Origin, Sources, load};
pub use oidc::{OidcIssuer, check_issuer_url};
pub use problem::{Problem, Severity};
pub use reload::Change;
pub use render::{flatten, render};
pub use table::KEYS;
pub use tls::{Pem, TlsEntry, TlsVersion};
pub use tree::{Node, Place, Scalar, parse};
pub use value::Port;

/// Reads one YAML text as the server would read its configuration file, with nothing else set.
///
/// The configuration is `None` when any problem is an error.
#[must_use]
pub fn from_text(yaml: &str) -> (Option<Config>, Vec<Problem>) {
    let loaded =
        load(&Sources { file: Some(("harperdb-config.yaml", yaml)), ..Sources::default() });
    (loaded.config, loaded.problems)
}
