//! `authentication.*`, and the log of its events.

use super::Reader;
use crate::oidc::{self, OidcIssuer};
use std::time::Duration;

/// Who is it.
#[derive(Clone, Debug, PartialEq)]
pub struct Authentication {
    /// A loopback client without credentials is a super user.
    pub authorize_local: bool,
    /// Time a verified credential is remembered.
    pub cache_ttl: Duration,
    /// Logins that may wait to be verified.
    pub verifications_max: usize,
    /// How fast passwords may be tried.
    pub throttle: Throttle,
    /// Cookie sessions.
    pub sessions: Sessions,
    /// Tokens that this server signs.
    pub tokens: Tokens,
    /// Tokens of other issuers.
    pub oidc: Oidc,
    /// Which events are logged.
    pub audit: AuthAudit,
}

/// How fast wrong passwords may be tried.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Throttle {
    /// Wrong passwords from one address, and for one user, within the window; 0 sets no limit.
    pub attempts: u32,
    /// The window.
    pub window: Duration,
    /// Addresses and users of which count is kept.
    pub entries_max: usize,
}

/// Cookie sessions.
#[derive(Clone, Debug, PartialEq)]
pub struct Sessions {
    /// Whether there are any.
    pub enabled: bool,
    /// Their life.
    pub life: Duration,
    /// Domains for which the cookie is set; one with a leading dot stands for all names below it.
    pub domains: Vec<String>,
    /// Sessions that may be open.
    pub sessions_max: usize,
    /// Sessions that one user may have open.
    pub of_user_max: usize,
}

/// Tokens that this server signs.
#[derive(Clone, Debug, PartialEq)]
pub struct Tokens {
    /// Life of an operation token.
    pub operation_life: Duration,
    /// Life of a refresh token.
    pub refresh_life: Duration,
    /// The private key as PEM text or the path of a file; none for one of the server's own.
    pub private_key: Option<String>,
    /// Public keys, as the private one is given, whose tokens are accepted too.
    pub public_keys: Vec<String>,
}

/// Tokens of other issuers.
#[derive(Clone, Debug, PartialEq)]
pub struct Oidc {
    /// The issuers that are believed.
    pub issuers: Vec<OidcIssuer>,
    /// Time after which their keys are fetched again.
    pub refresh: Duration,
    /// By how much clocks may differ.
    pub leeway: Duration,
}

/// Which events of authentication are logged.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct AuthAudit {
    /// Refused credentials.
    pub failed: bool,
    /// Accepted credentials, when they are verified anew.
    pub successful: bool,
}

impl Reader<'_> {
    pub(super) fn authentication(&self) -> Authentication {
        let attempts = self.number("authentication.throttle.attempts");
        Authentication {
            authorize_local: self.flag("authentication.authorizeLocal"),
            cache_ttl: self.millis("authentication.cacheTTL"),
            verifications_max: self.size("authentication.verificationsMax"),
            throttle: Throttle {
                attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
                window: self.millis("authentication.throttle.window"),
                entries_max: self.size("authentication.throttle.entriesMax"),
            },
            sessions: Sessions {
                enabled: self.flag("authentication.enableSessions"),
                life: self.millis("authentication.cookie.expires"),
                domains: self.list("authentication.cookie.domains").unwrap_or_default(),
                sessions_max: self.size("authentication.sessionsMax"),
                of_user_max: self.size("authentication.sessionsOfUserMax"),
            },
            tokens: Tokens {
                operation_life: self.millis("authentication.operationTokenTimeout"),
                refresh_life: self.millis("authentication.refreshTokenTimeout"),
                private_key: self
                    .value("authentication.jwt.privateKey")
                    .as_str()
                    .map(str::to_owned),
                public_keys: self.list("authentication.jwt.publicKeys").unwrap_or_default(),
            },
            oidc: Oidc {
                issuers: oidc::issuers(self.value("authentication.oidc")),
                refresh: self.millis("authentication.oidcRefresh"),
                leeway: self.millis("authentication.oidcLeeway"),
            },
            audit: AuthAudit {
                failed: self.flag("logging.auditAuthEvents.logFailed"),
                successful: self.flag("logging.auditAuthEvents.logSuccessful"),
            },
        }
    }
}
