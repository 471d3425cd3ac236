//! Changes of users and roles. Each is written to the disk before it is seen, and waits for that: never on a worker.

use super::stored::{StoredRole, StoredUser};
use super::{Everyone, Role, SUPER_USER, User, Users, UsersError};
use crate::auth::password;
use crate::auth::permission;
use harper_config::Node;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

impl Users {
    /// Makes `name` an active super user with this password. Nothing is written when it is so already.
    ///
    /// # Errors
    /// An unusable name or password, or the database's refusal.
    pub(crate) fn ensure_super_user(&self, name: &str, password: &str) -> Result<(), UsersError> {
        check(name, password, "the administrator's ")?;
        let user = self.get(name);
        let is_so = user.as_ref().is_some_and(|user| {
            user.active
                && user.role.permission.super_user
                && password::verify(password, &user.password)
        });
        if is_so {
            return Ok(());
        }
        let hash = password::hash(password)?;
        let _changing = self.lock();
        let role = self.role_named(SUPER_USER)?;
        self.store_user(User {
            username: name.to_owned(),
            password: hash,
            active: true,
            role,
            since_s: later_than(user.as_deref()),
        })
    }

    /// Makes a role.
    ///
    /// # Errors
    /// A name that is taken or empty, mistakes in the permission, or the database's refusal.
    pub(crate) fn add_role(&self, name: &str, permission: &Node) -> Result<Arc<Role>, UsersError> {
        if name.is_empty() {
            return Err(UsersError::Unusable("the role's name is empty".to_owned()));
        }
        let parsed = permission::parse(name, permission).map_err(UsersError::Permission)?;
        let _changing = self.lock();
        if self.role(name).is_some() {
            let sentence = format!("A role with name '{name}' already exists");
            return Err(UsersError::Conflict(sentence));
        }
        self.store_role(Role::new(name.to_owned(), name.to_owned(), parsed))
    }

    /// Changes the role with this id: its name, its permission, or both.
    ///
    /// # Errors
    /// No such role, a name that is taken, mistakes in the permission, the last super user, or the database's refusal.
    pub(crate) fn alter_role(
        &self,
        id: &str,
        name: Option<&str>,
        permission: Option<&Node>,
    ) -> Result<Arc<Role>, UsersError> {
        let _changing = self.lock();
        let old = self.role_with_id(id)?;
        if old.name == SUPER_USER {
            return Err(needed(SUPER_USER, "alter"));
        }
        let name = name.unwrap_or(&old.name);
        if name != old.name && (name.is_empty() || self.role(name).is_some()) {
            let sentence = format!("A role with name '{name}' already exists");
            return Err(UsersError::Conflict(sentence));
        }
        let shown;
        let node = match permission {
            Some(node) => node,
            None => {
                shown = harper_config::parse(&old.shown.to_string())
                    .map_err(|(_, sentence)| UsersError::Unusable(sentence))?;
                &shown
            }
        };
        let parsed = permission::parse(name, node).map_err(UsersError::Permission)?;
        self.store_role(Role::new(id.to_owned(), name.to_owned(), parsed))
    }

    /// Makes the role `name` as it is given. Nothing is written when it is so already.
    ///
    /// # Errors
    /// As [`Users::add_role`] and [`Users::alter_role`].
    pub(crate) fn ensure_role(&self, name: &str, permission: &Node) -> Result<(), UsersError> {
        let Some(role) = self.role(name) else {
            return self.add_role(name, permission).map(|_| ());
        };
        let parsed = permission::parse(name, permission).map_err(UsersError::Permission)?;
        if parsed.shown != role.shown {
            self.alter_role(&role.id, None, Some(permission))?;
        }
        Ok(())
    }

    fn lock(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn role_named(&self, name: &str) -> Result<Arc<Role>, UsersError> {
        self.role(name).ok_or_else(|| UsersError::Missing(format!("{name} role not found")))
    }

    fn role_with_id(&self, id: &str) -> Result<Arc<Role>, UsersError> {
        let found = self.everyone.load().roles.values().find(|role| role.id == id).cloned();
        found.ok_or_else(|| UsersError::Missing("Role not found".to_owned()))
    }

    /// Whoever could administrate the server must not lock everybody out of it by a slip.
    fn keeps_a_super_user(&self, after: &Everyone) -> Result<(), UsersError> {
        let can_administrate = |everyone: &Everyone| {
            everyone.users.values().any(|user| user.active && user.role.permission.super_user)
        };
        if can_administrate(&self.everyone.load()) && !can_administrate(after) {
            let sentence = "The last active super user has to stay one";
            return Err(UsersError::Conflict(sentence.to_owned()));
        }
        Ok(())
    }

    fn store_user(&self, user: User) -> Result<(), UsersError> {
        self.user_table.put(&user.username, &StoredUser::of(&user))?;
        let mut everyone = Everyone::clone(&self.everyone.load());
        everyone.users.insert(user.username.clone(), Arc::new(user));
        self.publish(everyone);
        Ok(())
    }

    /// Stores a role and gives it to the users who have the one with the same id.
    pub(super) fn store_role(&self, role: Role) -> Result<Arc<Role>, UsersError> {
        let role = Arc::new(role);
        let mut everyone = Everyone::clone(&self.everyone.load());
        everyone.roles.retain(|_, known| known.id != role.id);
        everyone.roles.insert(role.name.clone(), Arc::clone(&role));
        for user in everyone.users.values_mut().filter(|user| user.role.id == role.id) {
            *user = Arc::new(User { role: Arc::clone(&role), ..User::clone(user) });
        }
        self.keeps_a_super_user(&everyone)?;
        self.role_table.put(&role.id, &StoredRole::of(&role))?;
        self.publish(everyone);
        Ok(role)
    }
}

fn needed(name: &str, verb: &str) -> UsersError {
    UsersError::Conflict(format!("Cannot {verb} role {name}: the server needs it"))
}

/// Now, and after what counted before.
fn later_than(before: Option<&User>) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    now.max(before.map_or(0, |user| user.since_s + 1))
}

fn check(name: &str, password: &str, whose: &str) -> Result<(), UsersError> {
    let refuse = |what: &str| Err(UsersError::Unusable(format!("{whose}{what}")));
    match (name, password) {
        ("", _) => refuse("name is empty"),
        (name, _) if name.contains(':') => {
            refuse("name contains a colon, which Basic authentication cannot carry")
        }
        (_, "") => refuse("password is empty"),
        _ => Ok(()),
    }
}
