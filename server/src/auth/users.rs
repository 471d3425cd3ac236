//! The users of the server and their roles: kept in the `system` database, read into memory at start, and counted in
//! generations so that every worker forgets cached credentials when one of them changes.

mod change;
mod stored;

use super::password::PasswordError;
use super::permission::{Mistake, Permission};
use super::system::{SystemError, SystemTable};
use arc_swap::ArcSwap;
use harper_store::{Database, Kind};
use serde_json::Value;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use stored::{StoredRole, StoredUser};

/// The role that may do everything; there by default.
pub(crate) const SUPER_USER: &str = "super_user";

/// One role.
#[derive(Debug, PartialEq)]
pub(crate) struct Role {
    /// The key under which it is stored.
    pub id: String,
    /// The name that people use.
    pub name: String,
    /// What it allows.
    pub permission: Permission,
    /// The same as people write it.
    pub shown: Value,
}

/// One user.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct User {
    /// The name, which is also the key.
    pub username: String,
    /// The password's hash as a PHC string.
    pub password: String,
    /// Whether the user may log in.
    pub active: bool,
    /// What the user may do.
    pub role: Arc<Role>,
    /// Seconds since 1970 before which tokens and sessions count for nothing: the last change of the password.
    pub since_s: u64,
}

impl User {
    /// The super user that is nobody in particular: a client on this machine.
    #[must_use]
    pub(crate) fn local() -> Self {
        Self {
            username: "local".to_owned(),
            password: String::new(),
            active: true,
            role: Arc::new(Role::super_user()),
            since_s: 0,
        }
    }
}

/// Why the users could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsersError {
    /// The `system` database refused.
    #[error(transparent)]
    System(#[from] SystemError),
    /// A password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A name, a password or a permission is not usable.
    #[error("{0}")]
    Unusable(String),
    /// A permission is not usable; each mistake with the names that lead there.
    #[error("{}", .0.iter().map(|mistake| mistake.message.as_str()).collect::<Vec<_>>().join("; "))]
    Permission(Vec<Mistake>),
    /// There is one of this name already, or it is still needed.
    #[error("{0}")]
    Conflict(String),
    /// There is none of this name.
    #[error("{0}")]
    Missing(String),
}

/// Everyone, at one moment.
#[derive(Clone, Debug, Default)]
struct Everyone {
    users: BTreeMap<String, Arc<User>>,
    /// By name.
    roles: BTreeMap<String, Arc<Role>>,
}

/// All users and roles.
pub(crate) struct Users {
    user_table: SystemTable,
    role_table: SystemTable,
    everyone: ArcSwap<Everyone>,
    generation: AtomicU64,
    /// Held while something is changed, so that no change is built on what another one replaces.
    changing: Mutex<()>,
}

impl Users {
    /// Opens the tables of users and roles in the `system` database, and makes the role of super users.
    ///
    /// # Errors
    /// The database's refusal, or a stored user or role that cannot be read.
    pub(crate) fn open(database: &Arc<Database>) -> Result<Self, UsersError> {
        let user_table = SystemTable::open(
            database,
            "hdb_user",
            &[
                ("username", Kind::String),
                ("password", Kind::String),
                ("active", Kind::Boolean),
                ("role", Kind::String),
                ("since_s", Kind::Long),
            ],
        )?;
        let role_attributes =
            [("id", Kind::String), ("role", Kind::String), ("permission", Kind::Any)];
        let role_table = SystemTable::open(database, "hdb_role", &role_attributes)?;
        let users = Self {
            user_table,
            role_table,
            everyone: ArcSwap::default(),
            generation: AtomicU64::new(1),
            changing: Mutex::default(),
        };
        let everyone = users.read_all()?;
        users.everyone.store(Arc::new(everyone));
        if users.role(SUPER_USER).is_none() {
            users.store_role(Role::super_user())?;
        }
        Ok(users)
    }

    /// The user of that name.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<Arc<User>> {
        self.everyone.load().users.get(name).cloned()
    }

    /// The role of that name.
    #[must_use]
    pub(crate) fn role(&self, name: &str) -> Option<Arc<Role>> {
        self.everyone.load().roles.get(name).cloned()
    }

    /// Whether there is nobody yet.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.everyone.load().users.is_empty()
    }

    /// A number that grows with every change of any user or role.
    #[must_use]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    fn read_all(&self) -> Result<Everyone, UsersError> {
        let mut everyone = Everyone::default();
        let mut names = BTreeMap::new();
        for stored in self.role_table.all::<StoredRole>()? {
            let role = Arc::new(stored.compiled()?);
            names.insert(role.id.clone(), role.name.clone());
            everyone.roles.insert(role.name.clone(), role);
        }
        for stored in self.user_table.all::<StoredUser>()? {
            let name = names.get(stored.role_id()).map_or(stored.role_id(), String::as_str);
            let role = everyone.roles.get(name).cloned();
            let role = role.unwrap_or_else(|| Arc::new(Role::missing(name)));
            let user = stored.with_role(role);
            everyone.users.insert(user.username.clone(), Arc::new(user));
        }
        Ok(everyone)
    }

    /// Shows a change to everybody, and makes every worker forget what it remembers of credentials.
    fn publish(&self, everyone: Everyone) {
        self.everyone.store(Arc::new(everyone));
        self.generation.fetch_add(1, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::password;
    use serde_json::json;

    struct Fixture {
        root: tempfile::TempDir,
        store: harper_store::Store,
    }

    impl Fixture {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("database");
            let options = harper_store::Options::default();
            let store = harper_store::Store::open(root.path(), &path, options).unwrap();
            Self { root, store }
        }

        fn users(&self) -> Users {
            assert!(self.root.path().exists());
            Users::open(&self.store.database("system").unwrap()).unwrap()
        }
    }

    #[test]
    fn a_super_user_is_made_once_kept_and_changed() {
        let fixture = Fixture::new();
        let users = fixture.users();
        assert!(users.is_empty());
        users.ensure_super_user("admin", "first").unwrap();
        let generation = users.generation();
        users.ensure_super_user("admin", "first").unwrap();
        assert_eq!(users.generation(), generation, "nothing changed, nothing is forgotten");
        users.ensure_super_user("admin", "second").unwrap();
        assert!(users.generation() > generation);
        assert!(password::verify("second", &users.get("admin").unwrap().password));
        assert_eq!(fixture.users().get("admin"), users.get("admin"));
        assert!(users.ensure_super_user("a:b", "x").is_err());
        assert!(users.ensure_super_user("admin", "").is_err());
    }

    #[test]
    fn a_user_stored_before_there_were_roles_still_opens() {
        let fixture = Fixture::new();
        let database = fixture.store.database("system").unwrap();
        let old = SystemTable::open(&database, "hdb_user", &[("username", Kind::String)]).unwrap();
        let user = |name: &str, super_user: bool| json!({"username": name, "password": "x", "active": true, "super_user": super_user});
        old.put("chef", &user("chef", true)).unwrap();
        old.put("guest", &user("guest", false)).unwrap();
        let users = fixture.users();
        assert!(users.get("chef").unwrap().role.permission.super_user);
        assert_eq!(users.get("guest").unwrap().role.permission, Permission::default());
    }
}
