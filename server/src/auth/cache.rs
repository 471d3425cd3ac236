//! Basic authentication (RFC 7617) with a memory: each worker remembers verified credentials under a keyed hash.

use super::Identity;
use super::password;
use super::users::{User, Users};
use crate::error::{Answer, Code, Failure};
use crate::metrics::{Rejected, WorkerMetrics};
use crate::pool::{Pool, PoolError};
use base64::Engine;
use http::{HeaderValue, header};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// Credentials that one worker remembers.
const CREDENTIALS_MAX: usize = 4096;

type Fingerprint = [u8; 32];

/// What one worker knows of credentials.
pub(crate) struct Credentials {
    users: Arc<Users>,
    pool: Pool,
    metrics: Arc<WorkerMetrics>,
    key: Fingerprint,
    generation: Cell<u64>,
    known: RefCell<HashMap<Fingerprint, (Identity, Instant)>>,
    being_verified: RefCell<HashMap<Fingerprint, Rc<Notify>>>,
}

impl Credentials {
    /// An empty memory under `key`, which is random and lives as long as the process. Passwords are hashed on `pool`,
    /// which serves nothing else: a flood of logins must not hold up other work.
    #[must_use]
    pub(crate) fn new(
        users: Arc<Users>,
        pool: Pool,
        metrics: Arc<WorkerMetrics>,
        key: Fingerprint,
    ) -> Self {
        let generation = Cell::new(users.generation());
        let (known, being_verified) = (RefCell::default(), RefCell::default());
        Self { users, pool, metrics, key, generation, known, being_verified }
    }

    /// Who sent this `Authorization` header; what was verified less than `ttl` ago is not verified again.
    ///
    /// # Errors
    /// 401 with Harper's sentence for wrong credentials, 503 when too many are being verified.
    pub(crate) async fn identify(
        &self,
        header: &[u8],
        now: Instant,
        ttl: Duration,
    ) -> Answer<Identity> {
        let fingerprint = *blake3::keyed_hash(&self.key, header).as_bytes();
        if let Some(identity) = self.recall(&fingerprint, now, ttl) {
            self.metrics.credentials_cached.add(1);
            return Ok(identity);
        }
        let Some((name, password)) = parse_basic(header)? else { return Ok(Identity::Anonymous) };
        while let Some(other) = self.other_verification(&fingerprint) {
            other.notified().await;
            if let Some(identity) = self.recall(&fingerprint, now, ttl) {
                return Ok(identity);
            }
        }
        let _turn = Turn::begin(self, fingerprint);
        let generation = self.users.generation();
        let verified = self.verify(name, password).await;
        if let Ok(identity) = &verified
            && generation == self.users.generation()
        {
            self.remember(fingerprint, identity.clone(), ttl);
        }
        verified
    }

    fn other_verification(&self, fingerprint: &Fingerprint) -> Option<Rc<Notify>> {
        self.being_verified.borrow().get(fingerprint).cloned()
    }

    fn recall(&self, fingerprint: &Fingerprint, now: Instant, ttl: Duration) -> Option<Identity> {
        let generation = self.users.generation();
        if self.generation.replace(generation) != generation {
            self.known.borrow_mut().clear();
        }
        let known = self.known.borrow();
        let (who, since) = known.get(fingerprint)?;
        (now.saturating_duration_since(*since) < ttl).then(|| who.clone())
    }

    fn remember(&self, fingerprint: Fingerprint, identity: Identity, ttl: Duration) {
        let now = Instant::now();
        let mut known = self.known.borrow_mut();
        if known.len() >= CREDENTIALS_MAX {
            known.retain(|_, (_, since)| now.saturating_duration_since(*since) < ttl);
        }
        if known.len() >= CREDENTIALS_MAX {
            known.clear();
        }
        known.insert(fingerprint, (identity, now));
    }

    async fn verify(&self, name: String, password: String) -> Answer<Identity> {
        self.metrics.credentials_verified.add(1);
        let user = self.users.get(&name);
        let stored = user.as_ref().map(|user| user.password.clone());
        let matches = self.pool.run(move || {
            // an unknown name costs as much time as a known one
            let hash = stored.as_deref().unwrap_or(&NOBODY);
            password::verify(&password, hash) && stored.is_some()
        });
        let matches = matches.await.map_err(|error| match error {
            PoolError::Full => {
                self.metrics.rejected(Rejected::Logins);
                Failure::new(Code::Overloaded, "Too many logins are being verified; try again")
                    .with(header::RETRY_AFTER, HeaderValue::from_static("1"))
            }
            PoolError::Failed => Failure::internal("a password could not be verified", &error),
        })?;
        match user {
            Some(user) if matches && user.active => Ok(Identity::User(Rc::new(User::clone(&user)))),
            Some(_) if matches => self.refuse("Cannot complete request: User is inactive"),
            _ => self.refuse("Login failed"),
        }
    }

    fn refuse(&self, why: &'static str) -> Answer<Identity> {
        self.metrics.credentials_refused.add(1);
        Err(Failure::new(Code::LoginFailed, why))
    }
}

/// The hash of a password that nobody has.
static NOBODY: LazyLock<String> = LazyLock::new(|| password::hash("").unwrap_or_default());

/// One verification under way; those who bring the same credentials wait for its end.
struct Turn<'a> {
    credentials: &'a Credentials,
    fingerprint: Fingerprint,
}

impl<'a> Turn<'a> {
    fn begin(credentials: &'a Credentials, fingerprint: Fingerprint) -> Self {
        credentials.being_verified.borrow_mut().insert(fingerprint, Rc::default());
        Self { credentials, fingerprint }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(waiting) =
            self.credentials.being_verified.borrow_mut().remove(&self.fingerprint)
        {
            waiting.notify_waiters();
        }
    }
}

/// Name and password of a `Basic` header; none for blank ones, which Harper treats as no credentials.
fn parse_basic(header: &[u8]) -> Answer<Option<(String, String)>> {
    let refuse = |why: &'static str| Err(Failure::new(Code::LoginFailed, why));
    let Ok(text) = std::str::from_utf8(header) else { return refuse("Invalid character") };
    let (scheme, encoded) = text.split_once(' ').unwrap_or((text, ""));
    if !scheme.eq_ignore_ascii_case("basic") {
        return refuse("Only Basic authentication is supported");
    }
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded.trim());
    let Some(decoded) = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
        return refuse("Invalid character");
    };
    match decoded.split_once(':') {
        Some(("", "")) => Ok(None),
        Some((name, password)) => Ok(Some((name.to_owned(), password.to_owned()))),
        None => refuse("Basic credentials need a colon between name and password"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(text: &str) -> Vec<u8> {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text)).into_bytes()
    }

    struct Fixture {
        ttl: Duration,
        _root: tempfile::TempDir,
        users: Arc<Users>,
        credentials: Credentials,
    }

    fn fixture(ttl: Duration) -> Fixture {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("database");
        let store = harper_store::Store::open(root.path(), &path, harper_store::Options::default())
            .unwrap();
        let users = Arc::new(Users::open(&store.database("system").unwrap()).unwrap());
        users.ensure_super_user("admin", "right").unwrap();
        let (pool, metrics) = (Pool::start("test", 2, 8).unwrap(), Arc::default());
        let credentials = Credentials::new(Arc::clone(&users), pool, metrics, [7; 32]);
        Fixture { ttl, _root: root, users, credentials }
    }

    fn ask(fixture: &Fixture, text: &str) -> Answer<Identity> {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(fixture.credentials.identify(&basic(text), Instant::now(), fixture.ttl))
    }

    #[test]
    fn a_verified_credential_is_hashed_once_until_its_time_is_over() {
        let fixture = fixture(Duration::from_secs(60));
        let verified = || fixture.credentials.metrics.credentials_verified.get();
        assert!(ask(&fixture, "admin:right").unwrap().is_super_user());
        assert!(ask(&fixture, "admin:right").unwrap().is_super_user());
        assert_eq!(verified(), 1);
        assert_eq!(ask(&fixture, "admin:wrong").unwrap_err().message, "Login failed");
        assert_eq!(ask(&fixture, "nobody:right").unwrap_err().message, "Login failed");
        let expired = self::fixture(Duration::ZERO);
        ask(&expired, "admin:right").unwrap();
        ask(&expired, "admin:right").unwrap();
        assert_eq!(expired.credentials.metrics.credentials_verified.get(), 2);
    }

    #[test]
    fn a_changed_user_is_forgotten_at_once() {
        let fixture = fixture(Duration::from_secs(60));
        ask(&fixture, "admin:right").unwrap();
        fixture.users.ensure_super_user("admin", "new").unwrap();
        assert!(ask(&fixture, "admin:right").is_err());
        assert!(ask(&fixture, "admin:new").is_ok());
    }

    #[test]
    fn equal_credentials_that_arrive_together_are_verified_once() {
        let fixture = fixture(Duration::from_secs(60));
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let header = basic("admin:right");
        let all =
            (0..8).map(|_| fixture.credentials.identify(&header, Instant::now(), fixture.ttl));
        let all = runtime.block_on(futures_util::future::join_all(all));
        assert!(all.iter().all(Result::is_ok));
        assert_eq!(fixture.credentials.metrics.credentials_verified.get(), 1);
    }

    #[test]
    fn malformed_credentials_are_refused_with_a_reason() {
        let message = |header: &[u8]| parse_basic(header).unwrap_err().message;
        assert_eq!(message(b"Basic %%%"), "Invalid character");
        assert_eq!(message(b"Bearer abc"), "Only Basic authentication is supported");
        assert_eq!(parse_basic(&basic(":")).unwrap(), None);
        assert_eq!(parse_basic(b"bAsIc YTpi").unwrap(), Some(("a".into(), "b".into())));
    }
}
