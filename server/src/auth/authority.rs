//! What decides who is who: the users with their roles, the sessions, the keys of tokens, and how often passwords have
//! been tried. There is one for the process.

use super::oidc::Issuers;
use super::sessions::Sessions;
use super::system::SystemError;
use super::throttle::Throttle;
use super::tokens::{KeysError, Tokens};
use super::users::{Users, UsersError};
use harper_config::Authentication;
use harper_store::Database;
use std::path::Path;
use std::sync::Arc;

/// Everything that credentials are checked against.
pub(crate) struct Authority {
    /// The users and their roles.
    pub users: Users,
    /// The open sessions.
    pub sessions: Sessions,
    /// The keys of tokens.
    pub tokens: Tokens,
    /// Other issuers of tokens.
    pub issuers: Issuers,
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
        Ok(Self {
            users: Users::open(database)?,
            sessions: Sessions::open(database)?,
            tokens: Tokens::open(keys, &settings.tokens)?,
            issuers: Issuers::start(&settings.oidc)?,
            throttle: Throttle::default(),
        })
    }
}
