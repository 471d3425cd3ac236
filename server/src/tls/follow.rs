//! Following the files of the certificates while the server runs.

use super::files::Files;
use super::inquiry::Inquiries;
use super::{Configured, Generation, KEYS, Tls, TlsError, own};
use crate::reload::Reloads;
use crate::telemetry::NOTIFY;
use arc_swap::ArcSwap;
use harper_config::{Config, TlsListener};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What certificates are made of at one moment.
#[derive(Clone, PartialEq)]
pub(super) struct Sources {
    /// In the order of [`TlsListener::ALL`].
    pub(super) listeners: [Configured; TlsListener::ALL.len()],
    pub(super) files: Files,
}

impl Sources {
    /// Reads the configuration, and the files that it names or that are in `keys`.
    #[must_use]
    pub(super) fn read(config: &Config, keys: &Path) -> Self {
        let listeners = TlsListener::ALL.map(|listener| Configured::of(config, listener));
        let files = Files::read(&listeners, keys);
        Self { listeners, files }
    }

    /// What handshakes use.
    ///
    /// # Errors
    /// Everything that is wrong with it.
    pub(super) fn generation(&self, keys: &Path) -> Result<Generation, TlsError> {
        Generation::make(self, keys)
    }
}

/// Compares what certificates are made of with what it was. That follows any way of writing files, the exchanged symbolic link of
/// a Kubernetes volume included. Clones share it.
#[derive(Clone)]
pub(crate) struct Followed {
    pub(super) current: Arc<ArcSwap<Generation>>,
    /// Who asks authorities; there once it is wanted.
    pub(super) inquiries: Arc<OnceLock<Inquiries>>,
    keys: PathBuf,
    pub(super) reloads: Reloads,
    seen: Arc<Mutex<Seen>>,
}

struct Seen {
    /// What has been taken or refused.
    settled: Sources,
    /// What the last look found new; it is used when the next one finds the same, so that no half is.
    unsettled: Option<Sources>,
}

impl Followed {
    /// Reads the certificates of the configuration, and follows what was read; makes a self-signed one when none is
    /// configured and none is there.
    ///
    /// # Errors
    /// Everything that is wrong with them.
    pub(crate) fn open(config: &Config, root: &Path) -> Result<Self, TlsError> {
        let keys = root.join(KEYS);
        own::ensure(config, &keys).map_err(|problem| TlsError(vec![problem]))?;
        let settled = Sources::read(config, &keys);
        let generation = settled.generation(&keys)?;
        generation.warn_of_times();
        let current = Arc::new(ArcSwap::from_pointee(generation));
        let seen = Arc::new(Mutex::new(Seen { settled, unsettled: None }));
        let reloads = Reloads::of_certificates();
        let followed = Self { current, inquiries: Arc::default(), keys, reloads, seen };
        followed.ensure_inquiries(config);
        Ok(followed)
    }

    /// What a listener takes its certificates from.
    #[must_use]
    pub(crate) fn tls(&self, listener: TlsListener) -> Arc<Tls> {
        let (current, inquiries) = (Arc::clone(&self.current), Arc::clone(&self.inquiries));
        Arc::new(Tls { current, inquiries, listener })
    }

    /// Starts the thread that asks authorities, if it is to be asked and is not there.
    fn ensure_inquiries(&self, config: &Config) {
        let mut revocations = TlsListener::ALL
            .into_iter()
            .filter_map(|listener| config.client_certificates(listener)?.revocation.as_ref());
        let is_wanted = revocations.any(|revocation| revocation.inquiry.is_some());
        if !is_wanted || self.inquiries.get().is_some() {
            return;
        }
        match Inquiries::start() {
            // it is looked for by one thread alone
            Ok(inquiries) => drop(self.inquiries.set(inquiries)),
            Err(error) => tracing::error!(%error, "authorities cannot be asked about certificates"),
        }
    }

    /// What came of it.
    #[must_use]
    pub(crate) fn reloads(&self) -> Reloads {
        self.reloads.clone()
    }

    /// Looks once; to be called now and then. A change takes effect for every worker at the same instant, or, when anything is
    /// wrong with it, for none.
    pub(crate) fn look(&self, config: &Config) {
        self.ensure_inquiries(config);
        let Some(found) = self.changed(config) else { return };
        match found.generation(&self.keys) {
            Ok(generation) => {
                generation.warn_of_times();
                self.current.store(Arc::new(generation));
                self.reloads.taken(&[]);
                tracing::info!(target: NOTIFY, "the certificates have been read anew");
            }
            Err(error) => {
                tracing::error!("the new certificates are refused, those before go on: {error}");
                self.reloads.refused(&error.to_string());
            }
        }
    }

    /// What has changed, and has not changed since the last look.
    fn changed(&self, config: &Config) -> Option<Sources> {
        let now = Sources::read(config, &self.keys);
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if now == seen.settled {
            seen.unsettled = None;
            return None;
        }
        if seen.unsettled.as_ref() != Some(&now) {
            seen.unsettled = Some(now);
            return None;
        }
        seen.settled = now.clone();
        seen.unsettled = None;
        Some(now)
    }
}
