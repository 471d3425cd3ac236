//! Changes of users and roles. Each is written to the disk before it is seen, and waits for that: never on a worker.

use super::stored::{StoredRole, StoredUser};
use super::{Changing, Everyone, Role, SUPER_USER, User, Users, UsersError};
use crate::auth::password;
use crate::auth::permission;
use harper_config::Node;
use std::sync::{Arc, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

/// A user to be made.
#[derive(Debug)]
pub(crate) struct NewUser {
    /// The name.
    pub username: String,
    /// The password.
    pub password: String,
    /// The role's name.
    pub role: String,
    /// Whether the user may log in.
    pub active: bool,
}

/// What is to change of a user; what is not given stays.
#[derive(Clone, Debug, Default)]
pub(crate) struct UserChange {
    /// The name.
    pub username: String,
    /// A new password.
    pub password: Option<String>,
    /// The name of another role.
    pub role: Option<String>,
    /// Whether the user may log in.
    pub active: Option<bool>,
}

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
        let changing = self.lock();
        let role = self.role_named(SUPER_USER)?;
        let before = self.get(name).map_or(changing.removed_since_s, |user| user.since_s);
        self.store_user(User {
            username: name.to_owned(),
            password: hash,
            active: true,
            role,
            since_s: later_than(before),
            is_stored: true,
        })
    }

    /// Makes a user.
    ///
    /// # Errors
    /// A name that is taken or unusable, an empty password, a role that is not there, or the database's refusal.
    pub(crate) fn add_user(&self, new: NewUser) -> Result<(), UsersError> {
        let NewUser { username, password, role, active } = new;
        check(&username, &password, "the ")?;
        self.role_named(&role)?;
        let hash = password::hash(&password)?;
        let changing = self.lock();
        if self.get(&username).is_some() {
            return Err(UsersError::Conflict(format!("User {username} already exists")));
        }
        let role = self.role_named(&role)?;
        let since_s = later_than(changing.removed_since_s);
        let password = hash;
        self.store_user(User { username, password, active, role, since_s, is_stored: true })
    }

    /// Changes a user.
    ///
    /// # Errors
    /// No such user or role, an empty password, the last super user, or the database's refusal.
    pub(crate) fn alter_user(&self, change: UserChange) -> Result<(), UsersError> {
        let UserChange { username, password, role, active } = change;
        if let Some(password) = &password {
            check(&username, password, "the ")?;
        }
        let hash = password.as_deref().map(password::hash).transpose()?;
        let _changing = self.lock();
        let mut user = User::clone(&*self.user_named(&username)?);
        if let Some(hash) = hash {
            user.since_s = later_than(user.since_s);
            user.password = hash;
        }
        if let Some(role) = role {
            user.role = self.role_named(&role)?;
        }
        user.active = active.unwrap_or(user.active);
        let mut everyone = Everyone::clone(&self.everyone.load());
        everyone.users.insert(username, Arc::new(user.clone()));
        self.keeps_a_super_user(&everyone)?;
        self.store_user(user)
    }

    /// Removes a user.
    ///
    /// # Errors
    /// No such user, the last super user, or the database's refusal.
    pub(crate) fn drop_user(&self, name: &str) -> Result<(), UsersError> {
        let mut changing = self.lock();
        let since_s = self.user_named(name)?.since_s;
        let mut everyone = Everyone::clone(&self.everyone.load());
        everyone.users.remove(name);
        self.keeps_a_super_user(&everyone)?;
        self.user_table.delete(&[name.to_owned()])?;
        changing.removed_since_s = changing.removed_since_s.max(since_s);
        self.publish(everyone);
        Ok(())
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

    /// Removes the role with this id and returns its name.
    ///
    /// # Errors
    /// No such role, users that have it, or the database's refusal.
    pub(crate) fn drop_role(&self, id: &str) -> Result<String, UsersError> {
        let _changing = self.lock();
        let role = self.role_with_id(id)?;
        let mut everyone = Everyone::clone(&self.everyone.load());
        let count = everyone.users.values().filter(|user| user.role.id == id).count();
        let name = role.name.clone();
        if count > 0 {
            let sentence = format!("Cannot drop role {name}: it has {count} user(s)");
            return Err(UsersError::Conflict(sentence));
        }
        if name == SUPER_USER {
            return Err(needed(SUPER_USER, "drop"));
        }
        self.role_table.delete(&[id.to_owned()])?;
        everyone.roles.remove(&name);
        self.publish(everyone);
        Ok(name)
    }

    fn lock(&self) -> MutexGuard<'_, Changing> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn user_named(&self, name: &str) -> Result<Arc<User>, UsersError> {
        self.get(name).ok_or_else(|| UsersError::Missing(format!("User {name} does not exist")))
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

/// The second after now and after what counted before: what has been issued up to now is of a second before it.
fn later_than(before: u64) -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_secs());
    now.max(before).saturating_add(1)
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
