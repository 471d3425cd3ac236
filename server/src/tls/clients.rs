//! The certificates of clients (RFC 8446 §4.4.2.4): who may present one, and what it says.

use super::certificate::Certificate;
use harper_config::{ClientCertificates, Revocation};
use rustls::RootCertStore;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{VerifierBuilderError, WebPkiClientVerifier};
use std::sync::Arc;

/// A certificate that a client has shown, and that the configured authorities answer for.
#[derive(Debug)]
pub(crate) struct ClientCertificate {
    /// The common name of its subject.
    pub common_name: Option<String>,
}

impl ClientCertificate {
    /// Reads the chain of a verified client, its own certificate first; none when there is none.
    #[must_use]
    pub(crate) fn from_chain(chain: Option<&[CertificateDer<'_>]>) -> Option<Self> {
        let own = Certificate::from_der(chain?.first()?).ok();
        // one that is good for the handshake and cannot be read is nobody's
        Some(Self { common_name: own.and_then(|own| own.common_name) })
    }
}

/// What checks the certificates of clients; where there are revocation lists, against these, the whole chain.
///
/// # Errors
/// There is no authority, or a list cannot be read.
pub(super) fn verifier(
    clients: &ClientCertificates,
    authorities: RootCertStore,
    lists: Vec<CertificateRevocationListDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(Arc::new(authorities), Arc::clone(provider));
    if !clients.required {
        builder = builder.allow_unauthenticated();
    }
    builder = builder.with_crls(lists);
    builder = match &clients.revocation {
        Some(Revocation { is_fail_open: true, .. }) => builder.allow_unknown_revocation_status(),
        Some(_) => builder.enforce_revocation_expiration(),
        None => builder,
    };
    builder.build()
}
