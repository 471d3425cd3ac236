//! One configured certificate: read, checked, and made into what a handshake uses.

use super::certificate::Certificate;
use super::clients::Clients;
use super::files::Files;
use super::inquiry::Authorities;
use super::{Configured, clients, problem, revocation};
use harper_config::{CipherSuite, Pem, Problem, TlsEntry, TlsVersion};
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::{TLS12, TLS13};
use rustls::{HandshakeKind, InconsistentKeys, RootCertStore, ServerConfig, ServerConnection};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// A certificate with less time left is worth a warning.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// A certificate in use.
pub(super) struct Entry {
    /// Where it is configured.
    pub(super) key: String,
    /// The configured names.
    pub(super) hosts: Vec<String>,
    /// What its own certificate says.
    pub(super) certificate: Certificate,
    /// Everything for a handshake.
    pub(super) offer: Arc<Offer>,
}

/// What a client is answered with.
pub(crate) struct Offer {
    /// Everything for a handshake.
    pub server: Arc<ServerConfig>,
    /// Who may present a certificate.
    pub(super) clients: Clients,
}

impl Offer {
    /// Checks what a handshake does not look at when it resumes a session: whether the certificate that the client showed
    /// when the session began is still good. Tickets live longer than some certificates.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(crate) fn check_resumed(&self, session: &ServerConnection) -> Result<(), rustls::Error> {
        match (session.handshake_kind(), session.peer_certificates()) {
            (Some(HandshakeKind::Resumed), Some([own, others @ ..])) => {
                self.clients.verifier.verify_client_cert(own, others, UnixTime::now()).map(drop)
            }
            _ => Ok(()),
        }
    }
}

impl Entry {
    /// Makes an entry of what was read, and checks it; files that it does not name are in `keys`.
    pub(super) fn make(
        entry: &TlsEntry,
        configured: &Configured,
        files: &Files,
        keys: &Path,
    ) -> Result<Self, Vec<Problem>> {
        let sources = Sources { entry, files, keys };
        let chain = sources
            .text("certificate", "certificate.pem", entry.certificate.as_ref())
            .and_then(|text| chain(&text));
        let key = sources
            .text("privateKey", "privateKey.pem", entry.private_key.as_ref())
            .and_then(|text| private_key(&text));
        let (chain, key) = match (chain, key) {
            (Ok(chain), Ok(key)) => (chain, key),
            (chain, key) => return Err([chain.err(), key.err()].into_iter().flatten().collect()),
        };
        let refuse = |member: &str, message: String, hint: &str| {
            vec![problem("certificates", format!("{}.{member}", entry.key), message, hint)]
        };
        let certificate = Certificate::from_der(&chain[0]).map_err(|error| {
            refuse("certificate", format!("the first certificate cannot be read: {error}"), "")
        })?;
        let provider = provider(entry);
        let key = provider.key_provider.load_private_key(key).map_err(|error| {
            let hint = "RSA, ECDSA P-256, P-384 and P-521, and Ed25519 keys can be used";
            refuse("privateKey", format!("the key cannot be used: {error}"), hint)
        })?;
        let certified = CertifiedKey::new(chain, key);
        certified.keys_match().map_err(|error| match error {
            rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
                let hint = "the first certificate of the file must be the one that the key is of";
                refuse("privateKey", "the key is not that of the certificate".into(), hint)
            }
            error => {
                refuse("certificate", format!("the first certificate cannot be used: {error}"), "")
            }
        })?;
        let provider = Arc::new(provider);
        let clients = sources.clients(configured, &provider).map_err(|problem| vec![problem])?;
        let mut server =
            server(provider, certified, Arc::clone(&clients.verifier), configured.protocols)
                .map_err(|error| refuse("ciphers", error.to_string(), ""))?;
        // a configured order counts; without one, a client without AES in hardware may prefer what is fast there
        server.ignore_client_order = entry.ciphers.is_some();
        Ok(Self {
            key: entry.key.clone(),
            hosts: entry.hosts.clone(),
            certificate,
            offer: Arc::new(Offer { server: Arc::new(server), clients }),
        })
    }
}

impl Entry {
    /// Says in the log when it is not valid, or not for long.
    pub(super) fn warn_of_times(&self) {
        let Self { key, certificate, .. } = self;
        let now = SystemTime::now();
        if certificate.not_before > now {
            tracing::warn!("{key}: the certificate is not valid yet");
        }
        match certificate.not_after.duration_since(now) {
            Err(_) => tracing::warn!("{key}: the certificate has expired"),
            Ok(left) if left < EXPIRES_SOON => {
                let days = left.as_secs() / (24 * 60 * 60);
                tracing::warn!("{key}: the certificate expires in {days} days");
            }
            Ok(_) => {}
        }
    }
}

/// Where the texts of an entry come from.
struct Sources<'a> {
    entry: &'a TlsEntry,
    files: &'a Files,
    keys: &'a Path,
}

impl<'a> Sources<'a> {
    /// The text of a member: as configured, else the file of this name in the directory of keys.
    fn text(&self, member: &str, default: &str, pem: Option<&'a Pem>) -> Result<Text<'a>, Problem> {
        let key = format!("{}.{member}", self.entry.key);
        let default = self.keys.join(default);
        let path = match pem {
            Some(Pem::Inline(text)) => {
                return Ok(Text { bytes: text.as_bytes(), origin: "inline PEM".to_owned(), key });
            }
            Some(Pem::Path(path)) => path,
            None => &default,
        };
        let origin = path.display().to_string();
        match self.files.get(path) {
            Ok(bytes) => Ok(Text { bytes, origin, key }),
            Err(error) => {
                let hint = "a path, or the PEM text itself";
                Err(problem(&origin, key, error.to_owned(), hint))
            }
        }
    }

    /// What checks the certificates of clients.
    fn clients(
        &self,
        configured: &Configured,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Clients, Problem> {
        let Some(clients) = &configured.clients else {
            return Ok(Clients::nobody());
        };
        let pem = configured.authority(self.entry);
        let text = self.text("certificateAuthority", "ca.pem", pem)?;
        let lists = configured.revocation_lists();
        let lists = lists.map(|lists| revocation::lists(lists, self.files)).transpose()?;
        let lists = lists.unwrap_or_default();
        let roots = Arc::new(authorities(&text)?);
        let authorities = Arc::new(Authorities::new(Arc::clone(&roots), &lists));
        let verifier = clients::verifier(clients, roots, lists, provider);
        let verifier = verifier.map_err(|error| match error {
            VerifierBuilderError::InvalidCrl(_) => {
                revocation::refused("certificates", &error.to_string())
            }
            error => text.refuse(&error.to_string(), ""),
        })?;
        Ok(Clients { verifier, authorities: Some(authorities) })
    }
}

/// PEM text that was read, and how to speak of it.
struct Text<'a> {
    bytes: &'a [u8],
    origin: String,
    key: String,
}

impl Text<'_> {
    fn refuse(&self, message: &str, hint: &str) -> Problem {
        problem(&self.origin, self.key.clone(), message.to_owned(), hint)
    }
}

/// The certificates of a text, the server's own first.
fn chain(text: &Text<'_>) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let parsed: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.bytes).collect();
    let chain = parsed.map_err(|error| text.refuse(&format!("not PEM: {error}"), ""))?;
    if chain.is_empty() {
        let hint = "it begins with -----BEGIN CERTIFICATE-----";
        return Err(text.refuse("there is no certificate in it", hint));
    }
    Ok(chain)
}

/// The authorities of a text.
fn authorities(text: &Text<'_>) -> Result<RootCertStore, Problem> {
    let mut roots = RootCertStore::empty();
    for certificate in chain(text)? {
        roots
            .add(certificate)
            .map_err(|error| text.refuse(&format!("an authority cannot be used: {error}"), ""))?;
    }
    Ok(roots)
}

/// The one private key of a text. What is wrong with it is said without a word of it.
fn private_key(text: &Text<'_>) -> Result<PrivateKeyDer<'static>, Problem> {
    let words = String::from_utf8_lossy(text.bytes);
    if words.contains("BEGIN ENCRYPTED PRIVATE KEY") || words.contains("Proc-Type: 4,ENCRYPTED") {
        let hint = "give it without a passphrase: openssl pkey -in FILE -out NEWFILE";
        return Err(text.refuse("the private key is encrypted", hint));
    }
    PrivateKeyDer::from_pem_slice(text.bytes).map_err(|_| {
        let hint = "it begins with -----BEGIN PRIVATE KEY-----";
        text.refuse("there is no private key in it", hint)
    })
}

/// The cryptography with the suites that the entry allows.
fn provider(entry: &TlsEntry) -> CryptoProvider {
    let mut provider = aws_lc_rs::default_provider();
    if let Some(allowed) = entry.cipher_suites() {
        let by_number = |suite: &CipherSuite| {
            provider.cipher_suites.iter().find(|known| u16::from(known.suite()) == suite.0).copied()
        };
        provider.cipher_suites = allowed.iter().filter_map(by_number).collect();
    }
    if entry.min_version == TlsVersion::V1_3 {
        provider.cipher_suites.retain(|suite| suite.tls13().is_some());
    }
    provider
}

fn server(
    provider: Arc<CryptoProvider>,
    key: CertifiedKey,
    clients: Arc<dyn ClientCertVerifier>,
    protocols: &[&[u8]],
) -> Result<ServerConfig, rustls::Error> {
    let has =
        |is_13: bool| provider.cipher_suites.iter().any(|suite| suite.tls13().is_some() == is_13);
    let versions: Vec<_> =
        [has(true).then_some(&TLS13), has(false).then_some(&TLS12)].into_iter().flatten().collect();
    let mut server = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&versions)?
        .with_client_cert_verifier(clients)
        .with_cert_resolver(Arc::new(SingleCertAndKey::from(key)));
    server.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    // tickets alone: any worker can resume what another began, and none keeps anything for it
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.ticketer = aws_lc_rs::Ticketer::new()?;
    Ok(server)
}
