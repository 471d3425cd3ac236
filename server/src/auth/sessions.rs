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
    /// The user is not the one any more whose password was verified.
    #[error("the user has changed since the password was verified")]
    Outdated,
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
            Attribute { indexed: true, ..Attribute::new("user", Kind::String) },
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

    /// Begins a session of `user`, as it was when its password was verified, and returns the id. Whoever has too many
    /// loses the oldest. Waits for the disk.
    ///
    /// # Errors
    /// All users together have too many, the user has changed meanwhile, or the database's refusal.
    pub(crate) fn begin(
        &self,
        user: &User,
        users: &Users,
        settings: &harper_config::Sessions,
    ) -> Result<String, SessionsError> {
        self.end_oldest(&user.username, settings.of_user_max)?;
        if self.table.count()? >= settings.sessions_max as u64 {
            return Err(SessionsError::Full);
        }
        let mut bytes = [0; ID_BYTES];
        getrandom::fill(&mut bytes).map_err(PasswordError::Random)?;
        let id = URL_SAFE_NO_PAD.encode(bytes);
        let now = now();
        let expires_ms = u64::try_from((now + settings.life).as_millis()).unwrap_or(u64::MAX);
        let (key, begun_s) = (key(&id), now.as_secs().max(user.since_s));
        // looked at after the time was taken: a password that changes later makes the session one of before
        if !users.is_current(user) {
            return Err(SessionsError::Outdated);
        }
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
        // anybody can send an id: one that opens nothing costs neither a write nor what the workers remember
        if id.len() != ID_CHARS || self.table.get::<Session>(&key(id))?.is_none() {
            return Ok(());
        }
        self.end_all(&[key(id)])
    }

    /// Makes room for one more session of a user.
    fn end_oldest(&self, user: &str, of_user_max: usize) -> Result<(), SystemError> {
        let mut open = self.table.all_with::<Session>("user", user)?;
        let too_many = (open.len() + 1).saturating_sub(of_user_max);
        if too_many == 0 {
            return Ok(());
        }
        open.sort_unstable_by_key(|session| (session.begun_s, session.expires_ms));
        let oldest: Vec<_> = open.into_iter().take(too_many).map(|session| session.id).collect();
        self.end_all(&oldest)
    }

    fn end_all(&self, keys: &[String]) -> Result<(), SystemError> {
        if self.table.delete(keys)? > 0 {
            self.generation.fetch_add(1, Ordering::Release);
        }
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
            self.try_begin(life, 10, 10).unwrap()
        }

        fn try_begin(
            &self,
            life: Duration,
            sessions_max: usize,
            of_user_max: usize,
        ) -> Result<String, SessionsError> {
            self.sessions.begin(
                &self.users.get("ann").unwrap(),
                &self.users,
                &settings(life, sessions_max, of_user_max),
            )
        }

        fn is_open(&self, id: &str) -> bool {
            self.sessions.user(id, &self.users).unwrap().is_some()
        }
    }

    fn settings(
        life: Duration,
        sessions_max: usize,
        of_user_max: usize,
    ) -> harper_config::Sessions {
        let domains = Vec::new();
        harper_config::Sessions { enabled: true, life, domains, sessions_max, of_user_max }
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
        fixture.try_begin(HOUR, 1, 10).unwrap();
        assert!(matches!(fixture.try_begin(HOUR, 1, 10), Err(SessionsError::Full)));
    }

    #[test]
    fn whoever_has_too_many_loses_the_oldest_alone() {
        let fixture = Fixture::new();
        let (username, password) = ("bob".to_owned(), "x".to_owned());
        let new = NewUser { username, password, role: SUPER_USER.to_owned(), active: true };
        fixture.users.add_user(new).unwrap();
        let bob = fixture.users.get("bob").unwrap();
        let of_bob = fixture.sessions.begin(&bob, &fixture.users, &settings(HOUR, 9, 3)).unwrap();
        let ids: Vec<_> = (1..6_u32)
            .map(|number| fixture.try_begin(HOUR + Duration::from_secs(number.into()), 4, 3))
            .collect::<Result<_, _>>()
            .unwrap();
        let open: Vec<_> = ids.iter().map(|id| fixture.is_open(id)).collect();
        assert_eq!(open, [false, false, true, true, true]);
        assert!(fixture.is_open(&of_bob));
    }

    #[test]
    fn what_opens_nothing_ends_nothing() {
        let fixture = Fixture::new();
        let id = fixture.begin(HOUR);
        let generation = fixture.sessions.generation();
        for junk in ["", "junk", &id[1..], &"A".repeat(ID_CHARS), &"x".repeat(5000)] {
            fixture.sessions.end(junk).unwrap();
        }
        assert_eq!(fixture.sessions.generation(), generation, "nothing is forgotten");
        fixture.sessions.end(&id).unwrap();
        assert_ne!(fixture.sessions.generation(), generation);
    }

    #[test]
    fn a_session_is_not_begun_for_a_password_that_has_changed_since() {
        let fixture = Fixture::new();
        let verified = fixture.users.get("ann").unwrap();
        fixture.users.ensure_super_user("ann", "another").unwrap();
        let begun = fixture.sessions.begin(&verified, &fixture.users, &settings(HOUR, 10, 10));
        assert!(matches!(begun, Err(SessionsError::Outdated)));
    }
}
