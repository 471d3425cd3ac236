//! Cookie sessions: kept in the `system` database under the hash of their id, so that a copy of the database opens
//! none of them. Those whose time is over are removed by the store.

use super::password::PasswordError;
use super::system::{SystemError, SystemTable};
use super::users::{User, Users};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harper_store::{Attribute, Database, Kind, Role};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Random bytes of an id.
const ID_BYTES: usize = 24;
/// Letters of an id.
const ID_CHARS: usize = ID_BYTES / 3 * 4;

/// A stored session.
#[derive(Serialize, Deserialize)]
struct Session {
    id: String,
    user: String,
    /// Seconds since 1970.
    begun_s: u64,
    /// Milliseconds since 1970.
    expires_ms: u64,
}

/// Why a session could not be begun.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SessionsError {
    /// There are as many as allowed.
    #[error("too many sessions are open")]
    Full,
    /// The system gave no randomness.
    #[error(transparent)]
    Random(#[from] PasswordError),
    /// The database refused.
    #[error(transparent)]
    System(#[from] SystemError),
}

/// The sessions of the server.
pub(crate) struct Sessions {
    table: SystemTable,
    generation: AtomicU64,
}

impl Sessions {
    /// Opens the table.
    ///
    /// # Errors
    /// The database's refusal.
    pub(crate) fn open(database: &Arc<Database>) -> Result<Self, SystemError> {
        let expires =
            Attribute { role: Role::ExpiresAt, ..Attribute::new("expires_ms", Kind::Long) };
        let attributes = vec![
            Attribute::new("id", Kind::String),
            Attribute::new("user", Kind::String),
            Attribute::new("begun_s", Kind::Long),
            expires,
        ];
        let table = SystemTable::open(database, "hdb_session", attributes)?;
        Ok(Self { table, generation: AtomicU64::new(1) })
    }

    /// A number that grows when a session ends.
    #[must_use]
    pub(crate) fn generation(&self) -> u64 {
        self.generation.load(Ordering::Acquire)
    }

    /// Begins a session of `user` and returns its id. Waits for the disk.
    ///
    /// # Errors
    /// `sessions_max` are open, or the database's refusal.
    pub(crate) fn begin(
        &self,
        user: &User,
        life: Duration,
        sessions_max: usize,
    ) -> Result<String, SessionsError> {
        if self.table.count()? >= sessions_max as u64 {
            return Err(SessionsError::Full);
        }
        let mut bytes = [0; ID_BYTES];
        getrandom::fill(&mut bytes).map_err(PasswordError::Random)?;
        let id = URL_SAFE_NO_PAD.encode(bytes);
        let now = now();
        let expires_ms = u64::try_from((now + life).as_millis()).unwrap_or(u64::MAX);
        let (key, begun_s) = (key(&id), now.as_secs().max(user.since_s));
        let user = user.username.clone();
        self.table.put(&key, &Session { id: key.clone(), user, begun_s, expires_ms })?;
        Ok(id)
    }

    /// Whose session has this id, and how long it is open: a user who is still there, is active, and has the password
    /// with which it began.
    ///
    /// # Errors
    /// The database's refusal.
    pub(crate) fn user(
        &self,
        id: &str,
        users: &Users,
    ) -> Result<Option<(Arc<User>, Duration)>, SystemError> {
        if id.len() != ID_CHARS {
            return Ok(None);
        }
        let Some(session) = self.table.get::<Session>(&key(id))? else { return Ok(None) };
        let left = Duration::from_millis(session.expires_ms).saturating_sub(now());
        let user = users.get(&session.user);
        let user = user.filter(|user| user.active && user.since_s <= session.begun_s);
        Ok(user.filter(|_| !left.is_zero()).map(|user| (user, left)))
    }

    /// Ends the session with this id. Waits for the disk.
    ///
    /// # Errors
    /// The database's refusal.
    pub(crate) fn end(&self, id: &str) -> Result<(), SystemError> {
        self.table.delete(&[key(id)])?;
        self.generation.fetch_add(1, Ordering::Release);
        Ok(())
    }
}

/// The key under which a session is stored. An id is random and long, so that its hash needs no salt.
fn key(id: &str) -> String {
    blake3::hash(id.as_bytes()).to_hex().to_string()
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::auth::users::{NewUser, SUPER_USER, UserChange};

    struct Fixture {
        _root: tempfile::TempDir,
        users: Users,
        sessions: Sessions,
    }

    impl Fixture {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("database");
            let options = harper_store::Options::default();
            let store = harper_store::Store::open(root.path(), &path, options).unwrap();
            let database = store.database("system").unwrap();
            let users = Users::open(&database).unwrap();
            let (username, password) = ("ann".to_owned(), "secret".to_owned());
            let role = SUPER_USER.to_owned();
            users.add_user(NewUser { username, password, role, active: true }).unwrap();
            Self { _root: root, users, sessions: Sessions::open(&database).unwrap() }
        }

        fn begin(&self, life: Duration) -> String {
            self.sessions.begin(&self.users.get("ann").unwrap(), life, 10).unwrap()
        }

        fn is_open(&self, id: &str) -> bool {
            self.sessions.user(id, &self.users).unwrap().is_some()
        }
    }

    const HOUR: Duration = Duration::from_secs(3600);

    #[test]
    fn a_session_is_its_users_until_it_ends() {
        let fixture = Fixture::new();
        let (one, two) = (fixture.begin(HOUR), fixture.begin(HOUR));
        assert!(one != two && one.len() == ID_CHARS);
        assert!(
            fixture.is_open(&one) && !fixture.is_open("nosuch") && !fixture.is_open(&key(&one))
        );
        let generation = fixture.sessions.generation();
        fixture.sessions.end(&one).unwrap();
        assert!(!fixture.is_open(&one) && fixture.is_open(&two));
        assert!(fixture.sessions.generation() > generation);
        assert!(!fixture.is_open(&fixture.begin(Duration::ZERO)), "its time is over");
    }

    #[test]
    fn a_user_who_changes_takes_the_sessions_along() {
        let fixture = Fixture::new();
        let id = fixture.begin(HOUR);
        let change = |active, password: Option<&str>| {
            let password = password.map(str::to_owned);
            let other = NewUser {
                username: "other".into(),
                password: "x".into(),
                role: SUPER_USER.into(),
                active: true,
            };
            let _ = fixture.users.add_user(other);
            fixture
                .users
                .alter_user(UserChange {
                    username: "ann".into(),
                    active: Some(active),
                    password,
                    role: None,
                })
                .unwrap();
        };
        change(false, None);
        assert!(!fixture.is_open(&id));
        change(true, None);
        assert!(fixture.is_open(&id));
        change(true, Some("new"));
        assert!(!fixture.is_open(&id), "begun with the old password");
        let id = fixture.begin(HOUR);
        assert!(fixture.is_open(&id));
        fixture.users.drop_user("ann").unwrap();
        assert!(!fixture.is_open(&id));
    }

    #[test]
    fn their_number_is_bounded() {
        let fixture = Fixture::new();
        let user = fixture.users.get("ann").unwrap();
        fixture.sessions.begin(&user, HOUR, 1).unwrap();
        assert!(matches!(fixture.sessions.begin(&user, HOUR, 1), Err(SessionsError::Full)));
    }
}
