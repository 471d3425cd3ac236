//! Who is asking, and what they may do. Passwords are kept as argon2id hashes; a verified credential is remembered for a while under a
//! keyed hash, so that the cost of hashing is paid once and a dump of memory shows no password. A connection remembers, under another,
//! whose its last credentials were.

pub(crate) mod access;
mod audit;
pub(crate) mod authority;
pub(crate) mod cache;
pub(crate) mod cookie;
mod memory;
pub(crate) mod oidc;
pub(crate) mod password;
pub(crate) mod permission;
pub(crate) mod sessions;
mod system;
pub(crate) mod throttle;
pub(crate) mod tokens;
pub(crate) mod users;

use http::HeaderValue;
use std::rc::Rc;
use users::User;

/// What a client that has not logged in, or not rightly, is asked for (RFC 7617 §2).
pub(crate) const BASIC: HeaderValue =
    HeaderValue::from_static("Basic realm=\"Harper\", charset=\"UTF-8\"");

/// Who makes a request.
#[derive(Clone, Debug)]
pub(crate) enum Identity {
    /// Nobody in particular.
    Anonymous,
    /// A user of this server. Each worker has its own copy, so that requests count it up and down without a locked
    /// instruction.
    User(Rc<User>),
}

impl Identity {
    /// Whether everything is allowed.
    #[must_use]
    pub(crate) fn is_super_user(&self) -> bool {
        matches!(self, Self::User(user) if user.role.permission.super_user)
    }
}
