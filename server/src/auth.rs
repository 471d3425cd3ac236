//! Who is asking, and what they may do. Passwords are kept as argon2id hashes; a verified credential is remembered for a while under a
//! keyed hash, so that the cost of hashing is paid once and a dump of memory shows no password.

pub(crate) mod access;
pub(crate) mod cache;
pub(crate) mod password;
pub(crate) mod permission;
mod system;
pub(crate) mod users;

use std::rc::Rc;
use users::User;

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
