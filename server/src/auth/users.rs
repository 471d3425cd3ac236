//! The users of the server and their roles: kept in the `system` database, read into memory at start, and counted in
//! generations so that every worker forgets cached credentials when one of them changes.

mod change;
mod stored;

pub(crate) use change::{NewUser, UserChange};

use super::password::PasswordError;
use super::permission::{Mistake, Permission};
use super::system::{SystemError, SystemTable};
use arc_swap::ArcSwap;
use harper_store::{Attribute, Database, Kind};
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
    /// Whether it is a user of this server, and not one whom somebody else vouches for.
    pub is_stored: bool,
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
            is_stored: false,
        }
    }

    /// A user of another system, with a role of ours; without one, a user who may do nothing.
    #[must_use]
    pub(crate) fn outside(name: &str, role: Option<Arc<Role>>) -> Self {
        let role = role.unwrap_or_else(|| Arc::new(Role::missing("")));
        Self { username: name.to_owned(), role, ..Self::local() }
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

/// What only those who change something need to know.
#[derive(Default)]
struct Changing {
    /// The greatest `since_s` of the users that were removed: their tokens are not those of others who get their names.
    removed_since_s: u64,
}

/// All users and roles.
pub(crate) struct Users {
    user_table: SystemTable,
    role_table: SystemTable,
    everyone: ArcSwap<Everyone>,
    generation: AtomicU64,
    /// Held while something is changed, so that no change is built on what another one replaces.
    changing: Mutex<Changing>,
}

impl Users {
    /// Opens the tables of users and roles in the `system` database, and makes the role of super users.
    ///
    /// # Errors
    /// The database's refusal, or a stored user or role that cannot be read.
    pub(crate) fn open(database: &Arc<Database>) -> Result<Self, UsersError> {
        let user_attributes = vec![
            Attribute::new("username", Kind::String),
            Attribute::new("password", Kind::String),
            Attribute::new("active", Kind::Boolean),
            Attribute::new("role", Kind::String),
            Attribute::new("since_s", Kind::Long),
        ];
        let role_attributes = vec![
            Attribute::new("id", Kind::String),
            Attribute::new("role", Kind::String),
            Attribute::new("permission", Kind::Any),
        ];
        let user_table = SystemTable::open(database, "hdb_user", user_attributes)?;
        let role_table = SystemTable::open(database, "hdb_role", role_attributes)?;
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

    /// Whether `user` may still log in with the password that this copy of it has.
    #[must_use]
    pub(crate) fn is_current(&self, user: &User) -> bool {
        self.get(&user.username).is_some_and(|now| now.active && now.since_s == user.since_s)
    }

    /// The role of that name.
    #[must_use]
    pub(crate) fn role(&self, name: &str) -> Option<Arc<Role>> {
        self.everyone.load().roles.get(name).cloned()
    }

    /// A user as they are now; none for one who is gone, or has another password.
    #[must_use]
    pub(crate) fn now(&self, then: &User) -> Option<User> {
        if then.is_stored {
            let now = self.get(&then.username)?;
            let is_same = now.active && now.since_s <= then.since_s;
            return is_same.then(|| User::clone(&now));
        }
        Some(User { role: self.role(&then.role.name)?, ..User::clone(then) })
    }

    /// Every user, by name.
    #[must_use]
    pub(crate) fn users(&self) -> Vec<Arc<User>> {
        self.everyone.load().users.values().cloned().collect()
    }

    /// Every role, by name.
    #[must_use]
    pub(crate) fn roles(&self) -> Vec<Arc<Role>> {
        self.everyone.load().roles.values().cloned().collect()
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
    use std::time::UNIX_EPOCH;

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

    fn new_user(name: &str, role: &str) -> NewUser {
        NewUser {
            username: name.into(),
            password: "secret".into(),
            role: role.into(),
            active: true,
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
        let old = SystemTable::open(
            &database,
            "hdb_user",
            vec![Attribute::new("username", Kind::String)],
        )
        .unwrap();
        let user = |name: &str, super_user: bool| json!({"username": name, "password": "x", "active": true, "super_user": super_user});
        old.put("chef", &user("chef", true)).unwrap();
        old.put("guest", &user("guest", false)).unwrap();
        let users = fixture.users();
        assert!(users.get("chef").unwrap().role.permission.super_user);
        assert_eq!(users.get("guest").unwrap().role.permission, Permission::default());
    }

    #[test]
    fn a_changed_role_changes_its_users_at_once_and_after_a_restart() {
        let fixture = Fixture::new();
        let users = fixture.users();
        let permission = |text: &str| harper_config::parse(text).unwrap();
        users.ensure_role("reader", &permission("data: {Dog: {read: true}}")).unwrap();
        users.add_user(new_user("ann", "reader")).unwrap();
        let generation = users.generation();
        users.ensure_role("reader", &permission("data: {Dog: {read: true}}")).unwrap();
        assert_eq!(users.generation(), generation, "nothing changed, nothing is forgotten");
        users.ensure_role("reader", &permission("data: {Cat: {read: true}}")).unwrap();
        assert!(users.generation() > generation);
        for users in [users, fixture.users()] {
            let role = &users.get("ann").unwrap().role;
            assert!(role.permission.table("data", "Cat").is_some());
            assert!(role.permission.table("data", "Dog").is_none());
        }
    }

    #[test]
    fn changes_that_cannot_be_are_refused() {
        let fixture = Fixture::new();
        let users = fixture.users();
        users.ensure_super_user("admin", "first").unwrap();
        let permission = harper_config::parse("data: {Dog: {read: true}}").unwrap();
        users.add_role("reader", &permission).unwrap();
        let sentence = |result: Result<(), UsersError>| result.unwrap_err().to_string();
        assert_eq!(
            sentence(users.add_role("reader", &permission).map(drop)),
            "A role with name 'reader' already exists"
        );
        assert_eq!(sentence(users.add_user(new_user("a", "nope"))), "nope role not found");
        users.add_user(new_user("ann", "reader")).unwrap();
        assert_eq!(sentence(users.add_user(new_user("ann", "reader"))), "User ann already exists");
        assert!(sentence(users.drop_role("reader").map(drop)).contains("1 user"));
        assert_eq!(sentence(users.drop_role("nope").map(drop)), "Role not found");
        assert_eq!(sentence(users.drop_user("nope")), "User nope does not exist");
        let mut change =
            UserChange { username: "admin".into(), active: Some(false), ..UserChange::default() };
        assert!(sentence(users.alter_user(change.clone())).contains("last"));
        assert!(sentence(users.drop_user("admin")).contains("last"));
        change.active = None;
        change.role = Some("reader".into());
        assert!(sentence(users.alter_user(change)).contains("last"));
        let none = harper_config::parse("super_user: false").unwrap();
        assert!(
            sentence(users.alter_role("super_user", None, Some(&none)).map(drop))
                .contains("needs it")
        );
        assert!(sentence(users.drop_role("super_user").map(drop)).contains("user(s)"));
        users.drop_user("ann").unwrap();
        users.drop_role("reader").unwrap();
        assert!(fixture.users().get("ann").is_none() && fixture.users().role("reader").is_none());
    }

    #[test]
    fn what_is_begun_in_the_second_of_a_change_ends_with_it() {
        let fixture = Fixture::new();
        let users = fixture.users();
        // the latest second that a token or a session of now can be of
        let issued = |user: &User| user.since_s.max(UNIX_EPOCH.elapsed().unwrap().as_secs());
        users.add_user(new_user("ann", SUPER_USER)).unwrap();
        for _ in 0..2 {
            let before = issued(&users.get("ann").unwrap());
            let (username, password) = ("ann".to_owned(), Some("other".to_owned()));
            users.alter_user(UserChange { username, password, ..UserChange::default() }).unwrap();
            assert!(users.get("ann").unwrap().since_s > before);
            let before = issued(&users.get("ann").unwrap());
            users.add_user(new_user("bob", SUPER_USER)).unwrap();
            users.drop_user("ann").unwrap();
            users.add_user(new_user("ann", SUPER_USER)).unwrap();
            assert!(users.get("ann").unwrap().since_s > before, "another one of the same name");
            users.drop_user("bob").unwrap();
        }
    }

    #[test]
    fn a_copy_is_current_until_the_password_or_the_right_to_log_in_changes() {
        let fixture = Fixture::new();
        let users = fixture.users();
        users.ensure_super_user("admin", "first").unwrap();
        users.add_user(new_user("ann", SUPER_USER)).unwrap();
        let change = |active, password: Option<&str>| {
            let change = UserChange {
                username: "ann".into(),
                active,
                password: password.map(str::to_owned),
                role: Some(SUPER_USER.into()),
            };
            users.alter_user(change).unwrap();
        };
        let copy = users.get("ann").unwrap();
        change(None, None);
        assert!(users.is_current(&copy));
        change(Some(false), None);
        assert!(!users.is_current(&copy));
        change(Some(true), Some("new"));
        assert!(!users.is_current(&copy));
        let copy = users.get("ann").unwrap();
        users.drop_user("ann").unwrap();
        assert!(!users.is_current(&copy));
    }

    #[test]
    fn a_new_password_ends_what_was_begun_with_the_old_one() {
        let fixture = Fixture::new();
        let users = fixture.users();
        users.add_user(new_user("ann", SUPER_USER)).unwrap();
        let before = users.get("ann").unwrap();
        let password = Some("other".to_owned());
        let change = UserChange { username: "ann".into(), password, ..UserChange::default() };
        users.alter_user(change).unwrap();
        let after = users.get("ann").unwrap();
        assert!(after.since_s > before.since_s);
        assert!(password::verify("other", &after.password));
    }
}
