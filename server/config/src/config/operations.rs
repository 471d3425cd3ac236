//! `operationsApi.*`

use super::{Cors, Reader, Timeouts};
use crate::tls::TlsEntry;
use crate::value::Port;
use std::path::PathBuf;

/// The Operations API.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationsApi {
    /// Its plain-text listener, if any; the application's own port for one-port mode.
    pub port: Option<Port>,
    /// Its TLS listener, if any.
    pub secure_port: Option<Port>,
    /// Its Unix socket, if any; a relative path begins at the root directory.
    pub domain_socket: Option<PathBuf>,
    /// How long a client of its own listeners may take.
    pub timeouts: Timeouts,
    /// Its own certificates; when empty, those of `tls`.
    pub tls: Vec<TlsEntry>,
    /// Cross-origin requests.
    pub cors: Cors,
}

impl Reader<'_> {
    pub(super) fn operations_api(&self) -> OperationsApi {
        let http = self.timeouts();
        let own = |name: &str| self.millis_if_set(&format!("operationsApi.network.{name}"));
        OperationsApi {
            domain_socket: self.path("operationsApi.network.domainSocket"),
            timeouts: Timeouts {
                headers: own("headersTimeout").unwrap_or(http.headers),
                keep_alive: own("keepAliveTimeout").unwrap_or(http.keep_alive),
                request: own("timeout").unwrap_or(http.request),
            },
            port: self.port("operationsApi.network.port"),
            secure_port: self.port("operationsApi.network.securePort"),
            tls: self.own_tls("operationsApi.tls"),
            cors: self.cors("operationsApi.network"),
        }
    }
}
