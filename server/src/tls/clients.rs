//! The certificates of clients (RFC 8446 §4.4.2.4): who may present one, and what it says.

use super::certificate::Certificate;
use super::inquiry::{Authorities, Distrust};
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
    /// Why it is not believed all the same.
    pub distrust: Option<Distrust>,
}

/// Who may present a certificate.
pub(super) struct Clients {
    /// What a handshake checks it with.
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// The authorities that it must be from; none when nobody is asked for one.
    pub(super) authorities: Option<Arc<Authorities>>,
}

impl Clients {
    /// Nobody is asked.
    #[must_use]
    pub(super) fn nobody() -> Self {
        Self { verifier: WebPkiClientVerifier::no_client_auth(), authorities: None }
    }
}

impl ClientCertificate {
    /// Reads the chain of a verified client, its own certificate first; none when it is empty.
    #[must_use]
    pub(crate) fn from_chain(chain: &[CertificateDer<'_>]) -> Option<Self> {
        let own = Certificate::from_der(chain.first()?).ok();
        // one that is good for the handshake and cannot be read is nobody's
        Some(Self { common_name: own.and_then(|own| own.common_name), distrust: None })
    }
}

/// What checks the certificates of clients; where there are revocation lists, against these, the whole chain.
///
/// # Errors
/// There is no authority, or a list cannot be read.
pub(super) fn verifier(
    clients: &ClientCertificates,
    authorities: Arc<RootCertStore>,
    lists: Vec<CertificateRevocationListDer<'static>>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, VerifierBuilderError> {
    let mut builder =
        WebPkiClientVerifier::builder_with_provider(authorities, Arc::clone(provider));
    if !clients.required {
        builder = builder.allow_unauthenticated();
    }
    builder = builder.with_crls(lists);
    builder = match &clients.revocation {
        // what no list of the file tells, or one that is out of date, is asked when the handshake is done
        Some(Revocation { is_fail_open: true, .. } | Revocation { inquiry: Some(_), .. }) => {
            builder.allow_unknown_revocation_status()
        }
        Some(_) => builder.enforce_revocation_expiration(),
        None => builder,
    };
    builder.build()
}
