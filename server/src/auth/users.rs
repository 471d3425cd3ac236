//! The users of the server: kept in the `system` database, read into memory at start, and counted in generations
//! so that every worker forgets cached credentials when one of them changes.

use super::password::{self, PasswordError};
use arc_swap::ArcSwap;
use harper_store::{
    Attribute, Database, Key, Kind, Op, Precondition, Prepared, Table, TableSchema,
};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// One user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct User {
    /// The name, which is also the key.
    pub username: String,
    /// The password's hash as a PHC string.
    pub password: String,
    /// Whether the user may log in.
    pub active: bool,
    /// Whether everything is allowed.
    pub super_user: bool,
}

impl User {
    /// The super user that is nobody in particular: a client on this machine.
    #[must_use]
    pub(crate) fn local() -> Self {
        let (username, password) = ("local".to_owned(), String::new());
        Self { username, password, active: true, super_user: true }
    }
}

/// Why the users could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub(crate) enum UsersError {
    /// The `system` database refused.
    #[error("the users could not be read or written: {0}")]
    Store(#[from] harper_store::Error),
    /// A password could not be hashed.
    #[error(transparent)]
    Password(#[from] PasswordError),
    /// A stored user is not of the known form.
    #[error("a stored user cannot be read: {0}")]
    Form(#[from] serde_json::Error),
    /// A user's name or password is not usable.
    #[error("{0}")]
    Unusable(String),
}

/// All users.
pub(crate) struct Users {
    database: Arc<Database>,
    table: Table,
    by_name: ArcSwap<HashMap<String, Arc<User>>>,
    generation: AtomicU64,
}

impl Users {
    /// Opens the table of users in the `system` database.
    ///
    /// # Errors
    /// The database's refusal, or a stored user that cannot be read.
    pub(crate) fn open(database: Arc<Database>) -> Result<Self, UsersError> {
        let table = database.define(schema())?;
        let users =
            Self { database, table, by_name: ArcSwap::default(), generation: AtomicU64::new(1) };
        users.by_name.store(Arc::new(users.read_all()?));
        Ok(users)
    }

    /// The user of that name.
    #[must_use]
    pub(crate) fn get(&self, name: &str) -> Option<Arc<User>> {
        self.by_name.load().get(name).cloned()
    }

    /// Whether there is nobody yet.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.by_name.load().is_empty()
    }

    /// A number that grows with every change of any user.
    #[must_use]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Makes `name` an active super user with this password. Nothing is written when it is so already.
    ///
    /// # Errors
    /// An unusable name or password, or the database's refusal.
    pub(crate) fn ensure_super_user(&self, name: &str, password: &str) -> Result<(), UsersError> {
        check(name, password)?;
        let is_so = self.get(name).is_some_and(|user| {
            user.active && user.super_user && password::verify(password, &user.password)
        });
        if is_so {
            return Ok(());
        }
        let password = password::hash(password)?;
        self.put(User { username: name.to_owned(), password, active: true, super_user: true })
    }

    /// Adds or replaces a user and makes every worker forget what it remembers of credentials.
    ///
    /// # Errors
    /// The database's refusal.
    pub(crate) fn put(&self, user: User) -> Result<(), UsersError> {
        let schema = self.table.schema();
        let body = serde_json::to_vec(&user)?;
        let body = Prepared::put(&schema, &body).map_err(harper_store::Error::Invalid)?;
        let key = Key::from_path(&schema, &user.username)?;
        let op = Op::Put { table: self.table.clone(), key, body, when: Precondition::None };
        self.database.commit(vec![op])?;
        let mut all = HashMap::clone(&self.by_name.load());
        all.insert(user.username.clone(), Arc::new(user));
        self.by_name.store(Arc::new(all));
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }

    fn read_all(&self) -> Result<HashMap<String, Arc<User>>, UsersError> {
        let mut bodies = Vec::new();
        let mut run = self.table.query(harper_store::Query::default())?;
        loop {
            let txn = self.database.read()?;
            let budget = harper_store::Budget { rows_max: 1024, bytes_max: 1 << 20 };
            let step = run.step(&txn, budget, &mut |record| bodies.push(record.body.to_vec()))?;
            if step == harper_store::Step::Done {
                break;
            }
        }
        let users = bodies.iter().map(|body| serde_json::from_slice::<User>(body));
        let users = users.map(|user| user.map(|user| (user.username.clone(), Arc::new(user))));
        Ok(users.collect::<Result<_, _>>()?)
    }
}

fn check(name: &str, password: &str) -> Result<(), UsersError> {
    let refuse = |why: &str| Err(UsersError::Unusable(why.to_owned()));
    match (name, password) {
        ("", _) => refuse("the administrator's name is empty"),
        (name, _) if name.contains(':') => refuse(
            "the administrator's name contains a colon, which Basic authentication cannot carry",
        ),
        (_, "") => refuse("the administrator's password is empty"),
        _ => Ok(()),
    }
}

fn schema() -> TableSchema {
    let attribute =
        |name: &str, kind: Kind| Attribute { required: true, ..Attribute::new(name, kind) };
    TableSchema::new(
        "system",
        "hdb_user",
        vec![
            attribute("username", Kind::String),
            attribute("password", Kind::String),
            attribute("active", Kind::Boolean),
            attribute("super_user", Kind::Boolean),
        ],
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_super_user_is_made_once_kept_and_changed() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("database");
        let store = harper_store::Store::open(root.path(), &path, harper_store::Options::default())
            .unwrap();
        let users = Users::open(store.database("system").unwrap()).unwrap();
        assert!(users.is_empty());
        users.ensure_super_user("admin", "first").unwrap();
        let generation = users.generation();
        users.ensure_super_user("admin", "first").unwrap();
        assert_eq!(users.generation(), generation, "nothing changed, nothing is forgotten");
        users.ensure_super_user("admin", "second").unwrap();
        assert!(users.generation() > generation);
        assert!(password::verify("second", &users.get("admin").unwrap().password));
        let again = Users::open(store.database("system").unwrap()).unwrap();
        assert_eq!(again.get("admin"), users.get("admin"));
        assert!(users.ensure_super_user("a:b", "x").is_err());
        assert!(users.ensure_super_user("admin", "").is_err());
    }
}
