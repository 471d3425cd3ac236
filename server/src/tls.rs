//! TLS: the certificates of the secure listeners, and which of them a client gets.
//!
//! All that a handshake uses is one immutable [`Generation`]: certificates with their keys, names, ciphers. It is made and checked
//! whole, then swapped in, so that every worker changes at the same instant and no handshake meets a certificate and a key that do
//! not belong together.

mod certificate;
pub(crate) mod client;
mod clients;
mod entry;
mod files;
mod follow;
mod hosts;
mod metrics;
mod own;

pub(crate) use clients::ClientCertificate;
pub(crate) use follow::Followed;
use follow::Sources;

use arc_swap::ArcSwap;
use entry::{Entry, Offer};
use files::Files;
use harper_config::{ClientCertificates, Config, Pem, Problem, Severity, TlsEntry};
use hosts::Hosts;
use rustls::server::ClientHello;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// HTTP/2 in the words of ALPN (RFC 9113 §3.2).
pub(crate) const HTTP_2: &[u8] = b"h2";

/// Where certificates are when nothing else is said, below the root.
const KEYS: &str = "keys";

/// A certificate with less time left is worth a warning.
const EXPIRES_SOON: Duration = Duration::from_secs(14 * 24 * 60 * 60);

/// The certificates of the process.
pub(crate) struct Tls {
    current: ArcSwap<Generation>,
}

/// What the configuration says of certificates.
#[derive(Clone, PartialEq)]
struct Configured {
    entries: Vec<TlsEntry>,
    /// Whether and how clients are asked for theirs.
    clients: Option<ClientCertificates>,
    is_http2: bool,
}

impl Configured {
    fn of(config: &Config) -> Self {
        Self {
            entries: config.tls.clone(),
            clients: config.http.client_certificates.clone(),
            is_http2: config.http.http2.is_enabled,
        }
    }

    /// What clients are offered, the best first (ALPN, RFC 7301).
    fn protocols(&self) -> &'static [&'static [u8]] {
        if self.is_http2 { &[HTTP_2, b"http/1.1"] } else { &[b"http/1.1"] }
    }

    /// The authorities of the certificates of clients that get this entry.
    fn authority<'a>(&'a self, entry: &'a TlsEntry) -> Option<&'a Pem> {
        let own = self.clients.as_ref().and_then(|clients| clients.authority.as_ref());
        own.or(entry.certificate_authority.as_ref())
    }
}

/// The certificates of one moment.
struct Generation {
    entries: Vec<Entry>,
    hosts: Hosts,
}

/// Why certificates cannot be used: every problem that was found.
#[derive(Debug, thiserror::Error)]
#[error("{}", lines(.0))]
pub(crate) struct TlsError(pub Vec<Problem>);

fn lines(problems: &[Problem]) -> String {
    problems.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

impl Tls {
    /// What a client that begins a handshake is answered with.
    #[must_use]
    pub(crate) fn choose(&self, hello: &ClientHello<'_>) -> Arc<Offer> {
        let now = self.current.load();
        let index = hello.server_name().and_then(|name| now.hosts.find(name)).unwrap_or_default();
        Arc::clone(&now.entries[index].offer)
    }
}

/// Makes the self-signed certificate of a first start anew, whatever there is; a running server takes it by itself.
///
/// # Errors
/// The configuration names certificates of its own, or the files cannot be written.
pub(crate) fn renew(config: &Config) -> Result<PathBuf, TlsError> {
    let keys = config.root_path.join(KEYS);
    own::renew(config, &keys).map_err(|problem| TlsError(vec![problem]))?;
    Ok(keys)
}

/// What is wrong with the certificates of a configuration. Files that a first start would make are not missed.
#[must_use]
pub(crate) fn check(config: &Config, root: &Path) -> Vec<Problem> {
    let is_used = config.is_secure();
    if !is_used || own::is_wanted(config, &root.join(KEYS)) {
        return Vec::new();
    }
    let keys = root.join(KEYS);
    Sources::read(config, &keys).generation(&keys).err().map(|error| error.0).unwrap_or_default()
}

impl Generation {
    fn make(configured: &Configured, files: &Files, keys: &Path) -> Result<Self, TlsError> {
        let (mut entries, mut problems) = (Vec::new(), Vec::new());
        for entry in &configured.entries {
            match Entry::make(entry, configured, files, keys) {
                Ok(entry) => entries.push(entry),
                Err(found) => problems.extend(found),
            }
        }
        if !problems.is_empty() {
            return Err(TlsError(problems));
        }
        let names = entries.iter().map(|entry| (&entry.hosts[..], &entry.certificate.names[..]));
        Ok(Self { hosts: Hosts::new(names), entries })
    }

    /// Certificates are used even when clients will refuse them: that is better seen by a person than a server that is gone.
    fn warn_of_times(&self) {
        let now = SystemTime::now();
        for Entry { key, certificate, .. } in &self.entries {
            let left = certificate.not_after.duration_since(now);
            if certificate.not_before > now {
                tracing::warn!("{key}: the certificate is not valid yet");
            }
            match left {
                Err(_) => tracing::warn!("{key}: the certificate has expired"),
                Ok(left) if left < EXPIRES_SOON => {
                    let days = left.as_secs() / (24 * 60 * 60);
                    tracing::warn!("{key}: the certificate expires in {days} days");
                }
                Ok(_) => {}
            }
        }
    }
}

/// An error about a key of the configuration.
fn problem(origin: &str, key: String, message: String, hint: &str) -> Problem {
    let (origin, hint) = (origin.to_owned(), hint.to_owned());
    Problem { severity: Severity::Error, key, origin, message, hint }
}

/// The path of a file that a key names, else of the one that stands for it.
fn path_or(configured: Option<&Path>, keys: &Path, default: &str) -> PathBuf {
    configured.map_or_else(|| keys.join(default), Path::to_owned)
}
