//! What decides who is who: the users with their roles, the sessions, the keys of tokens, and how often passwords have
//! been tried. There is one for the process.

use super::oidc::Issuers;
use super::sessions::Sessions;
use super::system::SystemError;
use super::throttle::Throttle;
use super::tokens::{KeysError, Purpose, Tokens};
use super::users::{User, Users, UsersError};
use arc_swap::ArcSwap;
use harper_config::Authentication;
use harper_store::Database;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Everything that credentials are checked against.
pub(crate) struct Authority {
    /// The users and their roles.
    pub users: Users,
    /// The open sessions.
    pub sessions: Sessions,
    /// The keys of tokens.
    tokens: ArcSwap<Tokens>,
    /// Other issuers of tokens.
    issuers: ArcSwap<Issuers>,
    /// Grows when other tokens are accepted than before.
    keys_generation: Arc<AtomicU64>,
    /// Where the server's own keys are.
    folder: PathBuf,
    /// The counts of wrong passwords.
    pub throttle: Throttle,
}

/// Why it could not be opened.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AuthorityError {
    /// The users could not be read.
    #[error(transparent)]
    Users(#[from] UsersError),
    /// The sessions could not be read.
    #[error(transparent)]
    Sessions(#[from] SystemError),
    /// The keys of tokens cannot be used.
    #[error("keys of tokens: {0}")]
    Keys(#[from] KeysError),
    /// The keys of other issuers cannot be fetched.
    #[error("issuers of tokens: {0}")]
    Issuers(#[from] std::io::Error),
}

impl Authority {
    /// Opens the tables in the `system` database, and the keys, which are in `keys` unless others are configured.
    ///
    /// # Errors
    /// What could not be opened.
    pub(crate) fn open(
        database: &Arc<Database>,
        keys: &Path,
        settings: &Authentication,
    ) -> Result<Self, AuthorityError> {
        let keys_generation = Arc::new(AtomicU64::new(1));
        let issuers = Issuers::start(&settings.oidc, None, &keys_generation)?;
        Ok(Self {
            users: Users::open(database)?,
            sessions: Sessions::open(database)?,
            tokens: ArcSwap::from_pointee(Tokens::open(keys, &settings.tokens)?),
            issuers: ArcSwap::from_pointee(issuers),
            keys_generation,
            folder: keys.to_owned(),
            throttle: Throttle::default(),
        })
    }

    /// Reads the keys of tokens anew, and believes the configured issuers from now on.
    ///
    /// # Errors
    /// What cannot be used; all is then as before.
    pub(crate) fn reconfigure(&self, settings: &Authentication) -> Result<(), AuthorityError> {
        let tokens = Tokens::open(&self.folder, &settings.tokens)?;
        let before = self.issuers.load();
        if !before.are(&settings.oidc) {
            let issuers = Issuers::start(&settings.oidc, Some(&before), &self.keys_generation)?;
            self.issuers.store(Arc::new(issuers));
            self.keys_generation.fetch_add(1, Ordering::Release);
        }
        let before = self.tokens.swap(Arc::new(tokens));
        if !self.tokens.load().accept_as(&before) {
            self.keys_generation.fetch_add(1, Ordering::Release);
        }
        Ok(())
    }

    /// A number that changes when a token may stand for somebody else than before, or for nobody.
    #[must_use]
    pub(crate) fn tokens_generation(&self) -> u64 {
        let keys = self.keys_generation.load(Ordering::Acquire);
        self.users.generation().wrapping_add(keys << 32)
    }

    /// The keys of tokens as they are now.
    #[must_use]
    pub(crate) fn tokens(&self) -> Arc<Tokens> {
        self.tokens.load_full()
    }

    /// Other issuers of tokens as they are now.
    #[must_use]
    pub(crate) fn issuers(&self) -> Arc<Issuers> {
        self.issuers.load_full()
    }

    /// A token for `user`, as it was when its password was verified; none when it has changed meanwhile.
    ///
    /// # Errors
    /// The private key cannot sign.
    pub(crate) fn token(
        &self,
        user: &User,
        purpose: Purpose,
        life: Duration,
    ) -> Result<Option<String>, KeysError> {
        let token = self.tokens.load().issue(user, purpose, life)?;
        // looked at after the time was taken: a password that changes later makes the token one of before
        Ok(self.users.is_current(user).then_some(token))
    }
}
