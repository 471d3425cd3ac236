//! Users and roles as they are stored.

use super::{Role, SUPER_USER, User, UsersError};
use crate::auth::permission::{self, Permission};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::sync::Arc;

/// A stored user.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredUser {
    username: String,
    password: String,
    active: bool,
    /// The role's id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    role: Option<String>,
    #[serde(default)]
    since_s: u64,
    /// From before there were roles.
    #[serde(default, skip_serializing)]
    super_user: bool,
}

impl StoredUser {
    pub(super) fn of(user: &User) -> Self {
        Self {
            username: user.username.clone(),
            password: user.password.clone(),
            active: user.active,
            role: Some(user.role.id.clone()),
            since_s: user.since_s,
            super_user: false,
        }
    }

    /// The id of the user's role; empty for a user from before there were roles who was no super user.
    pub(super) fn role_id(&self) -> &str {
        let default = if self.super_user { SUPER_USER } else { "" };
        self.role.as_deref().unwrap_or(default)
    }

    pub(super) fn with_role(self, role: Arc<Role>) -> User {
        let Self { username, password, active, since_s, .. } = self;
        User { username, password, active, role, since_s, is_stored: true }
    }
}

/// A stored role.
#[derive(Serialize, Deserialize)]
pub(super) struct StoredRole {
    id: String,
    role: String,
    permission: Value,
}

impl StoredRole {
    pub(super) fn of(role: &Role) -> Self {
        Self { id: role.id.clone(), role: role.name.clone(), permission: role.shown.clone() }
    }

    pub(super) fn compiled(self) -> Result<Role, UsersError> {
        let node = harper_config::parse(&self.permission.to_string());
        let node = node.map_err(|(_, sentence)| {
            UsersError::Unusable(format!("the permission of role {}: {sentence}", self.role))
        })?;
        let parsed = permission::parse(&self.role, &node).map_err(UsersError::Permission)?;
        Ok(Role::new(self.id, self.role, parsed))
    }
}

impl Role {
    /// A role with a permission that was read.
    pub(super) fn new(id: String, name: String, parsed: permission::Parsed) -> Self {
        let permission::Parsed { permission, shown } = parsed;
        Self { id, name, permission, shown }
    }

    /// The role that may do everything.
    #[must_use]
    pub(super) fn super_user() -> Self {
        let permission = Permission::everything();
        let shown = json!({ "super_user": true });
        Self { id: SUPER_USER.to_owned(), name: SUPER_USER.to_owned(), permission, shown }
    }

    /// A role that is not there any more: it allows nothing.
    #[must_use]
    pub(super) fn missing(name: &str) -> Self {
        let (permission, shown) = (Permission::default(), json!({}));
        Self { id: name.to_owned(), name: name.to_owned(), permission, shown }
    }
}
