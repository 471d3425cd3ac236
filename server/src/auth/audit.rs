//! The log of authentication: one record for each credential that was accepted or refused after it was looked at.

use super::cache::Ask;
use crate::telemetry::AUTH_EVENT;

/// How somebody has shown who they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Strategy {
    /// A password in the header `Authorization`.
    Basic,
    /// A token in the header `Authorization`.
    Bearer,
    /// A password in an operation.
    Login,
    /// A certificate in the handshake of TLS.
    Certificate,
}

impl Strategy {
    const fn name(self) -> &'static str {
        match self {
            Self::Basic => "Basic",
            Self::Bearer => "Bearer",
            Self::Login => "Login",
            Self::Certificate => "mTLS",
        }
    }
}

/// Records that credentials were accepted.
pub(super) fn accepted(ask: &Ask<'_>, strategy: Strategy, username: &str) {
    if ask.settings.audit.successful {
        record(ask, strategy, username, "success");
    }
}

/// Records that credentials were refused. The name is what was claimed.
pub(super) fn refused(ask: &Ask<'_>, strategy: Strategy, username: &str) {
    if ask.settings.audit.failed {
        record(ask, strategy, username, "failure");
    }
}

fn record(ask: &Ask<'_>, strategy: Strategy, username: &str, status: &str) {
    let (address, strategy) = (ask.address.to_string(), strategy.name());
    tracing::info!(
        target: AUTH_EVENT,
        username,
        status,
        "type" = "authentication",
        originating_ip = address,
        request_method = ask.method,
        path = ask.path,
        auth_strategy = strategy,
    );
}
