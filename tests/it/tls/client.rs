//! A TLS client whose every choice a test can make.

use super::certificates::Pair;
use crate::harness::{PATIENCE, Wire};
use rustls::client::ClientConnection;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, StreamOwned, SupportedProtocolVersion};
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// Requests over TLS.
pub(crate) type Secure = Wire<StreamOwned<ClientConnection, TcpStream>>;

/// How to connect; one of these shares its tickets.
#[derive(Clone)]
pub(crate) struct Tls {
    config: Arc<ClientConfig>,
}

impl Tls {
    /// A client that trusts the authorities of a PEM text.
    pub(crate) fn trusting(authority: &str) -> Self {
        Self::with(authority, rustls::ALL_VERSIONS, None)
    }

    /// The same with a choice of versions, and a certificate of its own.
    pub(crate) fn with(
        authority: &str,
        versions: &[&'static SupportedProtocolVersion],
        own: Option<&Pair>,
    ) -> Self {
        let mut roots = RootCertStore::empty();
        for certificate in CertificateDer::pem_slice_iter(authority.as_bytes()) {
            roots.add(certificate.unwrap()).unwrap();
        }
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(versions)
            .unwrap()
            .with_root_certificates(roots);
        let config = match own {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let chain = CertificateDer::pem_slice_iter(pair.certificate.as_bytes());
                let chain = chain.collect::<Result<Vec<_>, _>>().unwrap();
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).unwrap();
                builder.with_client_auth_cert(chain, key).unwrap()
            }
        };
        Self { config: Arc::new(config) }
    }

    /// The same client with a change.
    pub(crate) fn changed(&self, change: impl FnOnce(&mut ClientConfig)) -> Self {
        let mut config = (*self.config).clone();
        change(&mut config);
        Self { config: Arc::new(config) }
    }

    /// Connects and completes the handshake.
    pub(crate) fn connect(&self, address: SocketAddr, name: &str) -> std::io::Result<Secure> {
        self.connect_after(b"", address, name)
    }

    /// The same after some bytes in clear.
    pub(crate) fn connect_after(
        &self,
        before: &[u8],
        address: SocketAddr,
        name: &str,
    ) -> std::io::Result<Secure> {
        let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        socket.write_all(before)?;
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(PATIENCE))?;
        socket.set_write_timeout(Some(PATIENCE))?;
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let mut session = ClientConnection::new(Arc::clone(&self.config), name).unwrap();
        while session.is_handshaking() {
            session.complete_io(&mut socket)?;
        }
        Ok(Wire::over(StreamOwned::new(session, socket)))
    }

    /// The certificate that a client who asks for `name` gets.
    #[track_caller]
    pub(crate) fn certificate_for(&self, address: SocketAddr, name: &str) -> Vec<u8> {
        let secure = self.connect(address, name).unwrap_or_else(|error| panic!("{name}: {error}"));
        secure.stream.conn.peer_certificates().unwrap()[0].to_vec()
    }
}

/// The first certificate of a PEM text.
pub(crate) fn der(pem: &str) -> Vec<u8> {
    CertificateDer::from_pem_slice(pem.as_bytes()).unwrap().to_vec()
}
