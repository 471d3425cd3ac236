//! TLS where this server is the client.

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject};
use std::io;
use std::sync::Arc;
use tokio_rustls::TlsConnector;

/// TLS with the authorities in a PEM file, else with those that the system trusts.
///
/// # Errors
/// A file that cannot be read or holds no certificates of authorities.
pub(crate) fn connector(authorities: Option<&str>) -> io::Result<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    match authorities {
        Some(path) => {
            let file = |error: pem::Error| io::Error::other(format!("{path}: {error}"));
            for certificate in CertificateDer::pem_file_iter(path).map_err(file)? {
                roots.add(certificate.map_err(file)?).map_err(io::Error::other)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}
