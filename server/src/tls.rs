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
mod inquiry;
mod metrics;
mod own;
mod revocation;

pub(crate) use clients::ClientCertificate;
pub(crate) use entry::Offer;
pub(crate) use follow::Followed;
use follow::Sources;

use arc_swap::ArcSwap;
use entry::Entry;
use files::Files;
use harper_config::{ClientCertificates, Config, Pem, Problem, Severity, TlsEntry, TlsListener};
use hosts::Hosts;
pub(crate) use inquiry::Distrust;
use inquiry::Inquiries;
use rustls::ServerConnection;
use rustls::server::ClientHello;
use std::path::{Path, PathBuf};
use std::sync::{Arc, OnceLock};

/// HTTP/2 in the words of ALPN (RFC 9113 §3.2).
pub(crate) const HTTP_2: &[u8] = b"h2";

/// Where certificates are when nothing else is said, below the root.
const KEYS: &str = "keys";

/// The certificates of the process.
pub(crate) struct Tls {
    current: Arc<ArcSwap<Generation>>,
    inquiries: Arc<OnceLock<Inquiries>>,
    listener: TlsListener,
}

/// What the configuration says of the certificates of a listener.
#[derive(Clone, PartialEq)]
struct Configured {
    entries: Vec<TlsEntry>,
    /// Whether and how clients are asked for theirs.
    clients: Option<ClientCertificates>,
    /// What clients are offered, the best first (ALPN, RFC 7301).
    protocols: &'static [&'static [u8]],
}

impl Configured {
    fn of(config: &Config, listener: TlsListener) -> Self {
        let entries = config.certificates(listener).unwrap_or_default();
        Self {
            entries: entries.into_iter().cloned().collect(),
            clients: config.client_certificates(listener).cloned(),
            protocols: match listener {
                TlsListener::Mqtt => &[b"mqtt"],
                _ if config.http.http2.is_enabled => &[HTTP_2, b"http/1.1"],
                _ => &[b"http/1.1"],
            },
        }
    }

    /// The configured lists of revoked certificates of clients, if there are.
    fn revocation_lists(&self) -> Option<&Pem> {
        self.clients.as_ref()?.revocation.as_ref()?.lists.as_ref()
    }

    /// The authorities of the certificates of clients that get this entry.
    fn authority<'a>(&'a self, entry: &'a TlsEntry) -> Option<&'a Pem> {
        let own = self.clients.as_ref().and_then(|clients| clients.authority.as_ref());
        own.or(entry.certificate_authority.as_ref())
    }
}

/// The certificates of one moment, those of every listener in the order of [`TlsListener::ALL`].
struct Generation {
    sites: [Site; TlsListener::ALL.len()],
}

/// The certificates of a listener.
struct Site {
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
    /// What a client that begins a handshake is answered with; none when there are no certificates for the listener.
    #[must_use]
    pub(crate) fn choose(&self, hello: &ClientHello<'_>) -> Option<Arc<Offer>> {
        let now = self.current.load();
        let Site { entries, hosts } = &now.sites[self.listener as usize];
        let index = hello.server_name().and_then(|name| hosts.find(name)).unwrap_or_default();
        Some(Arc::clone(&entries.get(index)?.offer))
    }

    /// Whether the listener speaks HTTP.
    #[must_use]
    pub(crate) fn is_http(&self) -> bool {
        self.listener != TlsListener::Mqtt
    }

    /// The certificate that the client of a handshake has shown, after its authorities have been asked about it, if they are to be;
    /// none when it has shown none.
    pub(crate) async fn certificate(
        &self,
        session: &ServerConnection,
        offer: &Offer,
        config: &Config,
    ) -> Option<ClientCertificate> {
        let chain = session.peer_certificates()?;
        let mut certificate = ClientCertificate::from_chain(chain)?;
        let clients = config.client_certificates(self.listener);
        let inquiry = clients.and_then(|clients| clients.revocation.as_ref()?.inquiry);
        let (Some(inquiry), Some(authorities)) = (inquiry, &offer.clients.authorities) else {
            return Some(certificate);
        };
        let chain = chain.iter().map(|own| own.clone().into_owned()).collect();
        certificate.distrust = match self.inquiries.get() {
            Some(inquiries) => inquiries.ask(chain, Arc::clone(authorities), inquiry).await,
            // the system has refused the thread for it
            None => Some(Distrust::Unknown),
        };
        Some(certificate)
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
    fn make(sources: &Sources, keys: &Path) -> Result<Self, TlsError> {
        let (mut sites, mut problems) = (Vec::new(), Vec::new());
        for configured in &sources.listeners {
            match Site::make(configured, &sources.files, keys) {
                Ok(site) => sites.push(site),
                // a certificate that is for several listeners is wrong for each
                Err(TlsError(found)) => {
                    let is_new = |problem: &Problem| !problems.contains(problem);
                    let found: Vec<_> = found.into_iter().filter(is_new).collect();
                    problems.extend(found);
                }
            }
        }
        sites.try_into().map(|sites| Self { sites }).map_err(|_| TlsError(problems))
    }

    /// Every certificate once.
    fn entries(&self) -> impl Iterator<Item = &Entry> {
        self.sites.iter().enumerate().flat_map(|(index, site)| {
            let before = self.sites[..index].iter().flat_map(|site| &site.entries);
            let is_new = move |entry: &&Entry| before.clone().all(|known| known.key != entry.key);
            site.entries.iter().filter(is_new)
        })
    }

    /// Certificates are used even when clients will refuse them: that is better seen by a person than a server that is gone.
    fn warn_of_times(&self) {
        self.entries().for_each(Entry::warn_of_times);
    }
}

impl Site {
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
