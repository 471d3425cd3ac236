//! Checking credentials, with a memory: each worker remembers under a keyed hash what it has verified, so that the
//! cost of a password is paid once.

use super::Identity;
use super::audit::{self, Strategy};
use super::authority::Authority;
use super::memory::{Fingerprint, Found, Memory};
use super::password;
use super::throttle::Attempt;
use super::tokens::{Purpose, Refusal};
use super::users::User;
use crate::error::{Answer, Code, Failure};
use crate::metrics::{Rejected, WorkerMetrics};
use crate::pool::{Pool, PoolError};
use base64::Engine;
use harper_config::Authentication;
use http::{HeaderValue, header};
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::net::IpAddr;
use std::rc::Rc;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// How long a wrong password is known as wrong without being hashed again.
const WRONG_FOR: Duration = Duration::from_secs(10);

/// Who asks, from where and for what; and the settings that credentials are judged by.
pub(crate) struct Ask<'a> {
    /// `authentication.*`
    pub settings: &'a Authentication,
    /// Where the request comes from.
    pub address: IpAddr,
    /// The request's method.
    pub method: &'a str,
    /// The request's path.
    pub path: &'a str,
    /// When the request began.
    pub now: Instant,
    /// Whether a refresh token is let through as nobody: the operation that takes it looks at it by itself.
    pub takes_refresh: bool,
}

/// The last credentials of a connection, and whose they were: a client sends the same with each request. Of the credentials
/// themselves there is only a keyed hash (SipHash). Others have it by a chance of 2⁻⁶⁴, on this connection alone, and a refused try forgets it.
#[derive(Clone)]
pub(crate) struct Recent {
    mark: u64,
    generation: u64,
    found: Found<Identity>,
}

impl Recent {
    fn is_fresh(&self, ask: &Ask<'_>) -> bool {
        self.found.is_fresh(ask.now, ask.settings.cache_ttl)
    }
}

/// What one worker knows of credentials.
pub(crate) struct Credentials {
    /// What they are checked against.
    pub authority: Arc<Authority>,
    pool: Pool,
    metrics: Arc<WorkerMetrics>,
    key: Fingerprint,
    marks: RandomState,
    right: Memory<Identity>,
    wrong: Memory<&'static str>,
    right_tokens: Memory<Identity>,
    wrong_tokens: Memory<Refusal>,
    sessions: Memory<Identity>,
    certified: Memory<Identity>,
    being_verified: RefCell<HashMap<Fingerprint, Rc<Notify>>>,
}

impl Credentials {
    /// An empty memory under `key`, which is random and lives as long as the process. Passwords are hashed on `pool`,
    /// which serves nothing else: a flood of logins must not hold up other work.
    #[must_use]
    pub(crate) fn new(
        authority: Arc<Authority>,
        pool: Pool,
        metrics: Arc<WorkerMetrics>,
        key: Fingerprint,
    ) -> Self {
        Self {
            authority,
            pool,
            metrics,
            key,
            marks: RandomState::new(),
            right: Memory::default(),
            wrong: Memory::default(),
            right_tokens: Memory::default(),
            wrong_tokens: Memory::default(),
            sessions: Memory::default(),
            certified: Memory::default(),
            being_verified: RefCell::default(),
        }
    }

    /// Who sent this `Authorization` header on a connection whose last one `recent` tells.
    ///
    /// # Errors
    /// 401 with Harper's sentence for wrong credentials, 429 when too many wrong ones were tried, 503 when too many
    /// are being verified.
    pub(crate) async fn authorization(
        &self,
        header: &[u8],
        recent: &Cell<Option<Recent>>,
        ask: &Ask<'_>,
    ) -> Answer<Identity> {
        let (mark, generation) = (self.marks.hash_one(header), self.authority.tokens_generation());
        let last = recent.take();
        let is_same = |last: &Recent| last.mark == mark && last.generation == generation;
        let found = match last.filter(is_same).filter(|last| last.is_fresh(ask)) {
            Some(last) => {
                self.metrics.credentials_cached.add(1);
                last.found
            }
            None => self.look_up(header, ask).await?,
        };
        let identity = found.value.clone();
        if matches!(identity, Identity::User(_)) {
            recent.set(Some(Recent { mark, generation, found }));
        }
        Ok(identity)
    }

    async fn look_up(&self, header: &[u8], ask: &Ask<'_>) -> Answer<Found<Identity>> {
        let encoded = match scheme(header)? {
            Scheme::Basic(encoded) => encoded,
            Scheme::Bearer(token) => return self.bearer(token, ask),
        };
        // of the credentials alone: another blank or capital in the header does not make others of them
        let fingerprint = self.fingerprint(encoded.as_bytes());
        if let Some(found) = self.recall(&fingerprint, ask) {
            return Ok(found);
        }
        match decode(encoded)? {
            None => Ok(Found::now(Identity::Anonymous, None)),
            Some((name, password)) => {
                Box::pin(self.basic(fingerprint, name, password, Strategy::Basic, ask)).await
            }
        }
    }

    /// The user of this name and password.
    ///
    /// # Errors
    /// As [`Credentials::authorization`].
    pub(crate) async fn login(
        &self,
        name: &str,
        password: &str,
        ask: &Ask<'_>,
    ) -> Answer<Identity> {
        // nothing in Base64 begins like this, and the length tells where the name ends
        let length = name.len().to_le_bytes();
        let parts = [b"\0", &length[..], name.as_bytes(), password.as_bytes()];
        let fingerprint = self.fingerprint(&parts.concat());
        let (name, password) = (name.to_owned(), password.to_owned());
        Ok(self.basic(fingerprint, name, password, Strategy::Login, ask).await?.value)
    }

    /// The user of this name, for whom a verified certificate speaks; none when there is no such active user.
    #[must_use]
    pub(crate) fn certified(&self, name: &str, ask: &Ask<'_>) -> Option<Identity> {
        let fingerprint = self.fingerprint(name.as_bytes());
        let (generation, ttl) = (self.authority.users.generation(), ask.settings.cache_ttl);
        if let Some(found) = self.certified.recall(&fingerprint, generation, ask.now, ttl) {
            return Some(found.value);
        }
        let Some(user) = self.authority.users.get(name).filter(|user| user.active) else {
            audit::refused(ask, Strategy::Certificate, name);
            self.metrics.credentials_refused.add(1);
            return None;
        };
        audit::accepted(ask, Strategy::Certificate, name);
        let identity = Identity::User(Rc::new(User::clone(&user)));
        self.certified.remember(fingerprint, generation, Found::now(identity.clone(), None));
        Some(identity)
    }

    /// Whose session has this id; nobody when it is not open.
    ///
    /// # Errors
    /// 500 when the sessions cannot be read.
    pub(crate) fn session(&self, id: &str, ask: &Ask<'_>) -> Answer<Identity> {
        let fingerprint = self.fingerprint(id.as_bytes());
        let Authority { users, sessions, .. } = &*self.authority;
        // any change of a user or a session makes another number
        let generation = users.generation().wrapping_add(sessions.generation() << 32);
        let ttl = ask.settings.cache_ttl;
        if let Some(found) = self.sessions.recall(&fingerprint, generation, ask.now, ttl) {
            return Ok(found.value);
        }
        let user = sessions.user(id, users);
        let user =
            user.map_err(|error| Failure::internal("a session could not be read", &error))?;
        let Some((user, left)) = user else { return Ok(Identity::Anonymous) };
        let identity = Identity::User(Rc::new(User::clone(&user)));
        let found = Found::now(identity.clone(), ask.now.checked_add(left));
        self.sessions.remember(fingerprint, generation, found);
        Ok(identity)
    }

    fn fingerprint(&self, credentials: &[u8]) -> Fingerprint {
        *blake3::keyed_hash(&self.key, credentials).as_bytes()
    }

    fn recall(&self, fingerprint: &Fingerprint, ask: &Ask<'_>) -> Option<Found<Identity>> {
        let generation = self.authority.users.generation();
        let ttl = ask.settings.cache_ttl;
        let found = self.right.recall(fingerprint, generation, ask.now, ttl)?;
        self.metrics.credentials_cached.add(1);
        Some(found)
    }

    fn other_verification(&self, fingerprint: &Fingerprint) -> Option<Rc<Notify>> {
        self.being_verified.borrow().get(fingerprint).cloned()
    }

    async fn basic(
        &self,
        fingerprint: Fingerprint,
        name: String,
        password: String,
        strategy: Strategy,
        ask: &Ask<'_>,
    ) -> Answer<Found<Identity>> {
        // those who bring the same credentials wait for the first of them
        while let Some(other) = self.other_verification(&fingerprint) {
            other.notified().await;
        }
        if let Some(found) = self.recall(&fingerprint, ask) {
            return Ok(found);
        }
        let generation = self.authority.users.generation();
        if let Some(why) = self.wrong.recall(&fingerprint, generation, Instant::now(), WRONG_FOR) {
            self.metrics.credentials_refused.add(1);
            return Err(failed(why.value));
        }
        let _turn = Turn::begin(self, fingerprint);
        let attempt = self.attempt(&name, ask)?;
        match self.verify(&name, password).await {
            Ok(Ok(user)) => {
                let settings = &ask.settings.throttle;
                self.authority.throttle.succeeded(settings, &attempt, ask.now);
                audit::accepted(ask, strategy, &name);
                let found = Found::now(Identity::User(Rc::new(User::clone(&user))), None);
                self.right.remember(fingerprint, generation, found.clone());
                Ok(found)
            }
            Ok(Err(why)) => {
                audit::refused(ask, strategy, &name);
                self.metrics.credentials_refused.add(1);
                self.wrong.remember(fingerprint, generation, Found::now(why, None));
                Err(failed(why))
            }
            Err(failure) => {
                self.authority.throttle.withdrawn(&ask.settings.throttle, &attempt);
                Err(failure)
            }
        }
    }

    fn attempt(&self, name: &str, ask: &Ask<'_>) -> Answer<Attempt> {
        let begun =
            self.authority.throttle.begin(&ask.settings.throttle, ask.address, name, ask.now);
        begun.map_err(|wait| {
            self.metrics.rejected(Rejected::LoginAttempts);
            let seconds = wait.as_secs_f64().ceil() as u64;
            let failure =
                Failure::new(Code::TooManyRequests, "Too many failed logins; try again later");
            failure.with(header::RETRY_AFTER, HeaderValue::from(seconds.max(1)))
        })
    }

    /// The user, or the sentence of the refusal.
    async fn verify(
        &self,
        name: &str,
        password: String,
    ) -> Answer<Result<Arc<User>, &'static str>> {
        self.metrics.credentials_verified.add(1);
        let user = self.authority.users.get(name);
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
        Ok(match user {
            Some(user) if matches && user.active => Ok(user),
            Some(_) if matches => Err("Cannot complete request: User is inactive"),
            _ => Err("Login failed"),
        })
    }

    fn bearer(&self, token: &str, ask: &Ask<'_>) -> Answer<Found<Identity>> {
        let fingerprint = self.fingerprint(token.as_bytes());
        let generation = self.authority.tokens_generation();
        let ttl = ask.settings.cache_ttl;
        if let Some(found) = self.right_tokens.recall(&fingerprint, generation, ask.now, ttl) {
            self.metrics.credentials_cached.add(1);
            return Ok(found);
        }
        let known = self.wrong_tokens.recall(&fingerprint, generation, ask.now, WRONG_FOR);
        let known = known.map(|found| found.value);
        let verified = known.map_or_else(|| self.verify_token(token, ask), Err);
        let (user, left) = match verified {
            Ok(verified) => verified,
            Err(Refusal::OtherPurpose) if ask.takes_refresh => {
                return Ok(Found::now(Identity::Anonymous, None));
            }
            Err(refusal) => {
                if known.is_none() {
                    // who a token claims to be for is not believed, nor logged
                    audit::refused(ask, Strategy::Bearer, "");
                    self.wrong_tokens.remember(fingerprint, generation, Found::now(refusal, None));
                }
                self.metrics.credentials_refused.add(1);
                return Err(bad_token(refusal.sentence()));
            }
        };
        audit::accepted(ask, Strategy::Bearer, &user.username);
        let found = Found::now(Identity::User(Rc::new(user)), ask.now.checked_add(left));
        self.right_tokens.remember(fingerprint, generation, found.clone());
        Ok(found)
    }

    /// Whom a token stands for, and how long it is good for.
    fn verify_token(&self, token: &str, ask: &Ask<'_>) -> Result<(User, Duration), Refusal> {
        let users = &self.authority.users;
        self.metrics.credentials_verified.add(1);
        if let Some(outsider) =
            self.authority.issuers().verify(token, users, ask.settings.oidc.leeway)
        {
            return outsider.map(|outsider| (outsider.user, outsider.left));
        }
        let verified = self.authority.tokens().verify(token, Purpose::Operation)?;
        let user = users.get(&verified.username).filter(|user| verified.is_of(user));
        user.map(|user| (User::clone(&user), verified.left)).ok_or(Refusal::Invalid)
    }
}

/// 401 for credentials that are wrong (RFC 9110 §11.6.1).
pub(crate) fn failed(why: &'static str) -> Box<Failure> {
    Failure::new(Code::LoginFailed, why).with(header::WWW_AUTHENTICATE, super::BASIC)
}

/// 401 for a token that is none (RFC 6750 §3.1).
pub(crate) fn bad_token(why: &'static str) -> Box<Failure> {
    let challenge = HeaderValue::from_static("Bearer realm=\"Harper\", error=\"invalid_token\"");
    failed(why).with(header::WWW_AUTHENTICATE, challenge)
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

/// What an `Authorization` header holds.
#[derive(Debug, PartialEq, Eq)]
enum Scheme<'a> {
    /// Name and password, encoded (RFC 7617 §2).
    Basic(&'a str),
    /// A token (RFC 6750 §2.1).
    Bearer(&'a str),
}

fn scheme(header: &[u8]) -> Answer<Scheme<'_>> {
    let end = header.iter().position(|byte| *byte == b' ').unwrap_or(header.len());
    let (name, rest) = header.split_at(end);
    let Ok(rest) = std::str::from_utf8(rest.trim_ascii()) else {
        return Err(failed("Invalid character"));
    };
    if name.eq_ignore_ascii_case(b"basic") {
        Ok(Scheme::Basic(rest))
    } else if name.eq_ignore_ascii_case(b"bearer") {
        Ok(Scheme::Bearer(rest))
    } else {
        Err(failed("Only Basic and Bearer authentication are supported"))
    }
}

/// Name and password; none when both are blank, which Harper treats as no credentials.
fn decode(encoded: &str) -> Answer<Option<(String, String)>> {
    let decoded = base64::engine::general_purpose::STANDARD.decode(encoded);
    let Some(decoded) = decoded.ok().and_then(|bytes| String::from_utf8(bytes).ok()) else {
        return Err(failed("Invalid character"));
    };
    match decoded.split_once(':') {
        Some(("", "")) => Ok(None),
        Some((name, password)) => Ok(Some((name.to_owned(), password.to_owned()))),
        None => Err(failed("Basic credentials need a colon between name and password")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn basic(text: &str) -> Vec<u8> {
        format!("Basic {}", base64::engine::general_purpose::STANDARD.encode(text)).into_bytes()
    }

    struct Fixture {
        settings: Authentication,
        _root: tempfile::TempDir,
        credentials: Credentials,
    }

    impl Fixture {
        fn new(yaml: &str) -> Self {
            let root = tempfile::tempdir().unwrap();
            let path = root.path().join("database");
            let options = harper_store::Options::default();
            let store = harper_store::Store::open(root.path(), &path, options).unwrap();
            let settings = harper_config::from_text(yaml).0.unwrap().authentication;
            let database = store.database("system").unwrap();
            let authority =
                Authority::open(&database, &root.path().join("keys"), &settings).unwrap();
            authority.users.ensure_super_user("admin", "right").unwrap();
            let (pool, metrics) = (Pool::start("test", 2, 8).unwrap(), Arc::default());
            let credentials = Credentials::new(Arc::new(authority), pool, metrics, [7; 32]);
            Self { settings, _root: root, credentials }
        }

        fn ask(&self) -> Ask<'_> {
            Ask {
                settings: &self.settings,
                address: [127, 0, 0, 1].into(),
                method: "GET",
                path: "/",
                now: Instant::now(),
                takes_refresh: false,
            }
        }

        fn header(&self, header: &[u8]) -> Answer<Identity> {
            self.on_connection(header, &Cell::default())
        }

        fn on_connection(&self, header: &[u8], recent: &Cell<Option<Recent>>) -> Answer<Identity> {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(self.credentials.authorization(header, recent, &self.ask()))
        }

        fn password(&self, text: &str) -> Answer<Identity> {
            self.header(&basic(text))
        }

        fn verified(&self) -> u64 {
            self.credentials.metrics.credentials_verified.get()
        }
    }

    #[test]
    fn a_verified_credential_is_hashed_once_until_its_time_is_over() {
        let fixture = Fixture::new("");
        assert!(fixture.password("admin:right").unwrap().is_super_user());
        assert!(fixture.password("admin:right").unwrap().is_super_user());
        assert_eq!(fixture.verified(), 1);
        assert_eq!(fixture.password("admin:wrong").unwrap_err().message, "Login failed");
        assert_eq!(fixture.password("nobody:right").unwrap_err().message, "Login failed");
        let expired = Fixture::new("authentication: {cacheTTL: 0}");
        expired.password("admin:right").unwrap();
        expired.password("admin:right").unwrap();
        assert_eq!(expired.verified(), 2);
    }

    #[test]
    fn a_wrong_password_is_hashed_once_and_does_not_use_up_the_attempts() {
        let fixture = Fixture::new("authentication: {throttle: {attempts: 2}}");
        for _ in 0..10 {
            assert_eq!(fixture.password("admin:wrong").unwrap_err().code, Code::LoginFailed);
        }
        assert_eq!(fixture.verified(), 1);
        assert_eq!(fixture.password("admin:other").unwrap_err().code, Code::LoginFailed);
        let refused = fixture.password("admin:third").unwrap_err();
        assert_eq!(refused.code, Code::TooManyRequests);
        assert_eq!(refused.header.unwrap().0, header::RETRY_AFTER);
        assert_eq!(fixture.verified(), 2);
    }

    #[test]
    fn a_changed_user_is_forgotten_at_once() {
        let fixture = Fixture::new("");
        fixture.password("admin:right").unwrap();
        assert!(fixture.password("admin:new").is_err());
        let users = &fixture.credentials.authority.users;
        users.ensure_super_user("admin", "new").unwrap();
        assert!(fixture.password("admin:right").is_err());
        assert!(fixture.password("admin:new").is_ok(), "wrong before, right now");
    }

    #[test]
    fn a_connection_knows_its_last_credentials_as_long_as_they_hold() {
        let (fixture, recent) = (Fixture::new(""), Cell::default());
        fixture.credentials.authority.users.ensure_super_user("other", "right").unwrap();
        let (admin, other) = (basic("admin:right"), basic("other:right"));
        let name = |header: &[u8]| match fixture.on_connection(header, &recent).unwrap() {
            Identity::User(user) => user.username.clone(),
            Identity::Anonymous => String::new(),
        };
        assert_eq!(
            [&admin, &admin, &other, &admin].map(|header| name(header)).join(" "),
            "admin admin other admin"
        );
        assert!(fixture.on_connection(&basic("admin:wrong"), &recent).is_err());
        assert_eq!(name(&admin), "admin");
        let known = recent.take();
        let held = |yaml: &str| {
            let settings = harper_config::from_text(yaml).0.unwrap().authentication;
            let ask = Ask { settings: &settings, ..fixture.ask() };
            known.as_ref().is_some_and(|known: &Recent| known.is_fresh(&ask))
        };
        assert!(held("") && !held("authentication: {cacheTTL: 0}"));
        recent.set(known.clone());
        fixture.credentials.authority.users.ensure_super_user("admin", "new").unwrap();
        assert!(fixture.on_connection(&admin, &recent).is_err());
    }

    #[test]
    fn equal_credentials_that_arrive_together_are_verified_once() {
        let fixture = Fixture::new("");
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        for (credentials, is_right) in [("admin:right", true), ("admin:wrong", false)] {
            let (header, ask) = (basic(credentials), fixture.ask());
            let connections: [Cell<_>; 8] = Default::default();
            let all = connections.iter();
            let all = all.map(|recent| fixture.credentials.authorization(&header, recent, &ask));
            let all = runtime.block_on(futures_util::future::join_all(all));
            assert!(all.iter().all(|answer| answer.is_ok() == is_right));
        }
        assert_eq!(fixture.verified(), 2);
    }

    #[test]
    fn a_token_is_good_for_its_user_as_long_as_the_password_stays() {
        let fixture = Fixture::new("");
        let authority = &fixture.credentials.authority;
        let bearer = |purpose| {
            let user = authority.users.get("admin").unwrap();
            let token = authority.tokens().issue(&user, purpose, Duration::from_secs(60)).unwrap();
            format!("Bearer {token}").into_bytes()
        };
        let token = bearer(Purpose::Operation);
        assert!(fixture.header(&token).unwrap().is_super_user());
        assert!(fixture.header(&token).unwrap().is_super_user());
        assert_eq!(fixture.credentials.metrics.credentials_cached.get(), 1);
        let refresh = bearer(Purpose::Refresh);
        assert_eq!(fixture.header(&refresh).unwrap_err().message, "invalid token");
        let ask = Ask { takes_refresh: true, ..fixture.ask() };
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let recent = Cell::default();
        let passed = runtime.block_on(fixture.credentials.authorization(&refresh, &recent, &ask));
        assert!(matches!(passed, Ok(Identity::Anonymous)));
        authority.users.ensure_super_user("admin", "new").unwrap();
        assert_eq!(fixture.header(&token).unwrap_err().message, "invalid token");
        assert!(fixture.header(&bearer(Purpose::Operation)).is_ok());
    }

    #[test]
    fn malformed_credentials_are_refused_with_a_reason() {
        assert!(scheme(b"Digest abc").unwrap_err().message.starts_with("Only Basic"));
        assert_eq!(scheme(b"bAsIc  YTpi ").unwrap(), Scheme::Basic("YTpi"));
        assert_eq!(scheme(b"bearer abc").unwrap(), Scheme::Bearer("abc"));
        assert_eq!(decode("%%%").unwrap_err().message, "Invalid character");
        assert_eq!(decode("Og==").unwrap(), None);
        assert_eq!(decode("YTpi").unwrap(), Some(("a".into(), "b".into())));
    }

    #[test]
    fn another_blank_in_the_header_is_no_other_credential() {
        let fixture = Fixture::new("");
        let header = String::from_utf8(basic("admin:right")).unwrap();
        for header in [header.clone(), header.replace(' ', "   "), header.replace("Basic", "BASIC")]
        {
            assert!(fixture.header(header.as_bytes()).unwrap().is_super_user());
        }
        assert_eq!(fixture.verified(), 1);
    }

    #[test]
    fn a_refused_token_is_verified_once_until_something_changes() {
        let fixture = Fixture::new("");
        for _ in 0..5 {
            assert_eq!(fixture.header(b"Bearer a.b.c").unwrap_err().message, "invalid token");
        }
        assert_eq!(fixture.verified(), 1);
        fixture.credentials.authority.users.ensure_super_user("ann", "x").unwrap();
        assert!(fixture.header(b"Bearer a.b.c").is_err());
        assert_eq!(fixture.verified(), 2);
    }

    #[test]
    fn a_token_is_not_issued_for_a_password_that_has_changed_since() {
        let fixture = Fixture::new("");
        let authority = &fixture.credentials.authority;
        let verified = authority.users.get("admin").unwrap();
        let token =
            |user| authority.token(user, Purpose::Refresh, Duration::from_secs(60)).unwrap();
        assert!(token(&verified).is_some());
        authority.users.ensure_super_user("admin", "new").unwrap();
        assert!(token(&verified).is_none());
    }
}
