//! `operationsApi.*`

use super::{Cors, Reader};
use crate::tls::TlsEntry;
use crate::value::Port;

/// The Operations API.
#[derive(Clone, Debug, PartialEq)]
pub struct OperationsApi {
    /// Its plain-text listener, if any; the application's own port for one-port mode.
    pub port: Option<Port>,
    /// Its TLS listener, if any.
    pub secure_port: Option<Port>,
    /// Its own certificates; when empty, those of `tls`.
    pub tls: Vec<TlsEntry>,
    /// Cross-origin requests.
    pub cors: Cors,
}

impl Reader<'_> {
    pub(super) fn operations_api(&self) -> OperationsApi {
        OperationsApi {
            port: self.port("operationsApi.network.port"),
            secure_port: self.port("operationsApi.network.securePort"),
            tls: self.own_tls("operationsApi.tls"),
            cors: self.cors("operationsApi.network"),
        }
    }
}
