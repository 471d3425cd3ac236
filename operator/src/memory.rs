//! What the operator remembers of each server between two reconciles: what it applied, when it failed, which status it
//! wrote. With it a reconcile at rest makes no call, and an edit or deletion of a child is told from the echo of the
//! operator's own write. It is bounded by the number of servers and may be lost at any time.
//!
//! A child is compared by what its metadata shows. Kinds with a generation (StatefulSet, PodDisruptionBudget) are
//! compared by it and by their labels, annotations and owners, which leaves their busy status out; the others by
//! their resourceVersion. After a restart there is nothing to compare with: the hash that every child carries in an
//! annotation says whether it is what would be applied now, and the managers of its fields say whether anyone else has
//! written to it. A field that was removed shows in neither, so what was adopted in this way is applied again soon.

use crate::crd::HarperServerStatus;
use crate::random;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// Field manager of everything that the operator applies.
pub const MANAGER: &str = "harper-operator";
/// Annotation with the hash of the object as it was applied.
pub const APPLIED_HASH: &str = "harper.dev/applied-hash";

/// Time for the watch to show a new object.
const ECHO: Duration = Duration::from_secs(3);
/// A child that is put back more often than this in a [`CONTENTION_WINDOW`] is fought over.
const HEALS_MAX: u32 = 10;
const CONTENTION_WINDOW: Duration = Duration::from_secs(60);
const BACKOFF_MIN: Duration = Duration::from_millis(500);
const BACKOFF_MAX: Duration = Duration::from_secs(300);
const RESYNC_MIN: Duration = Duration::from_secs(6 * 3600);
const RESYNC_MAX: Duration = Duration::from_secs(12 * 3600);
/// The first resync of a server whose children were adopted; spread, for after a restart that is every server.
const ADOPTED_RESYNC_MIN: Duration = Duration::from_secs(60);
const ADOPTED_RESYNC_MAX: Duration = Duration::from_secs(600);

/// What the metadata of a child shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    version: u64,
    generation: Option<i64>,
    content: u64,
    applied_hash: Option<String>,
    foreign: bool,
}

impl Observed {
    /// Whether someone else has written to the child.
    #[must_use]
    pub fn is_foreign(&self) -> bool {
        self.foreign
    }

    /// Reads the metadata of a child.
    #[must_use]
    pub fn of(meta: &ObjectMeta) -> Self {
        let version = meta.resource_version.as_deref().and_then(|text| text.parse::<u64>().ok());
        // Kubernetes promises numbers that grow with each write
        let version = version.unwrap_or_default();
        let mut hasher = DefaultHasher::new();
        match meta.generation {
            Some(generation) => {
                generation.hash(&mut hasher);
                meta.labels.hash(&mut hasher);
                meta.annotations.hash(&mut hasher);
                for owner in meta.owner_references.iter().flatten() {
                    (&owner.uid, owner.controller).hash(&mut hasher);
                }
            }
            None => version.hash(&mut hasher),
        }
        let annotations = meta.annotations.as_ref();
        Self {
            version,
            generation: meta.generation,
            content: hasher.finish(),
            applied_hash: annotations.and_then(|all| all.get(APPLIED_HASH)).cloned(),
            foreign: meta.managed_fields.iter().flatten().any(is_foreign),
        }
    }
}

/// Whether an entry of the managed fields is another writer's. Writers of the status do not count, nor do those that
/// only have labels, annotations or finalizers of their own.
pub(crate) fn is_foreign(entry: &ManagedFieldsEntry) -> bool {
    entry.manager.as_deref() != Some(MANAGER)
        && entry.subresource.as_deref() != Some("status")
        && !entry.fields_v1.as_ref().is_some_and(|fields| is_aside(&fields.0))
}

/// Whether these fields are only marks beside what the operator applies.
fn is_aside(fields: &Value) -> bool {
    let ours = |name: &String| {
        name.starts_with("f:app.kubernetes.io/") || name.starts_with("f:harper.dev/")
    };
    let aside = |(part, marks): (&String, &Value)| match part.as_str() {
        "f:labels" | "f:annotations" => {
            marks.as_object().is_some_and(|marks| !marks.keys().any(ours))
        }
        "f:finalizers" => true,
        _ => false,
    };
    fields.as_object().is_some_and(|fields| {
        fields.iter().all(|(part, below)| {
            let metadata = (part == "f:metadata").then(|| below.as_object()).flatten();
            metadata.is_some_and(|metadata| metadata.iter().all(aside))
        })
    })
}

/// Drops from the metadata what a store need not keep; of the managed fields only the names of foreign writers stay.
pub fn prune(meta: &mut ObjectMeta) {
    let Some(entries) = meta.managed_fields.as_mut() else { return };
    entries.retain(is_foreign);
    for entry in entries.iter_mut() {
        entry.fields_v1 = None;
    }
    if entries.is_empty() {
        meta.managed_fields = None;
    }
}

/// What to do about a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is as wanted.
    Current,
    /// It was just written and the watch has not shown it yet: look again after this time.
    AwaitEcho(Duration),
    /// It is not there and was never seen.
    Missing,
    /// The wanted object differs from the one applied last.
    Changed,
    /// Someone else edited or deleted it.
    Drifted,
    /// Someone else keeps changing it back: leave it for this time.
    Contended(Duration),
}

#[derive(Debug)]
struct Applied {
    hash: String,
    observed: Observed,
    at: Instant,
    deleted: bool,
    heals: (Instant, u32),
}

#[derive(Debug)]
struct Server {
    children: BTreeMap<(&'static str, String), Applied>,
    status: Option<(u64, HarperServerStatus)>,
    failures: Failures,
    secret_at: Option<Instant>,
    secret_doubtful_until: Option<Instant>,
    secret_remade_uid: Option<String>,
    adopted: bool,
    resync_at: Instant,
}

/// Failures in a row with one generation of the spec.
#[derive(Clone, Copy, Debug, Default)]
struct Failures {
    generation: Option<i64>,
    count: u32,
    not_before: Option<Instant>,
}

impl Server {
    fn new(now: Instant) -> Self {
        Self {
            children: BTreeMap::new(),
            status: None,
            failures: Failures::default(),
            secret_at: None,
            secret_doubtful_until: None,
            secret_remade_uid: None,
            adopted: false,
            resync_at: now + random::between(RESYNC_MIN, RESYNC_MAX),
        }
    }
}

/// The memory of all servers, by uid.
#[derive(Debug, Default)]
pub struct Memory {
    servers: Mutex<HashMap<String, Server>>,
}

impl Memory {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Server>> {
        // every change below leaves the map whole, so a panic elsewhere does not spoil it
        self.servers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn with<T>(&self, uid: &str, now: Instant, act: impl FnOnce(&mut Server) -> T) -> T {
        let mut servers = self.lock();
        if let Some(server) = servers.get_mut(uid) {
            return act(server);
        }
        act(servers.entry(uid.to_owned()).or_insert_with(|| Server::new(now)))
    }

    /// Forgets a server.
    pub fn forget(&self, uid: &str) {
        self.lock().remove(uid);
    }

    /// Forgets every server that is not among the living.
    pub fn retain(&self, living: &HashSet<String>) {
        self.lock().retain(|uid, _| living.contains(uid));
    }

    /// When everything is applied again, whatever the memory says.
    pub fn resync_in(&self, uid: &str, now: Instant) -> Duration {
        self.with(uid, now, |server| server.resync_at.saturating_duration_since(now))
    }

    /// Notes that everything was applied again, and sets the next date.
    pub fn resynced(&self, uid: &str, now: Instant) {
        let resync_at = now + random::between(RESYNC_MIN, RESYNC_MAX);
        self.with(uid, now, |server| server.resync_at = resync_at);
    }

    /// Whether a child was applied for this server and its deletion was not seen since.
    pub fn has_applied(&self, uid: &str, child: (&'static str, &str)) -> bool {
        let servers = self.lock();
        let applied =
            servers.get(uid).and_then(|server| server.children.get(&(child.0, child.1.to_owned())));
        applied.is_some_and(|applied| !applied.deleted)
    }

    /// Decides what to do about a child that should have this hash.
    pub fn judge(
        &self,
        uid: &str,
        child: (&'static str, &str),
        hash: &str,
        observed: Option<&Observed>,
        now: Instant,
    ) -> Verdict {
        self.with(uid, now, |server| {
            let key = (child.0, child.1.to_owned());
            match (server.children.get(&key), observed) {
                (None, None) => Verdict::Missing,
                (None, Some(seen)) => adopt(server, key, hash, seen, now),
                (Some(applied), _) => applied.judge(hash, observed, now),
            }
        })
    }

    /// Notes that a child was applied: what the watch had shown before and what the API server answered. Returns
    /// whether the write changed anything.
    pub fn applied(
        &self,
        uid: &str,
        child: (&'static str, &str),
        hash: &str,
        (before, after): (Option<&Observed>, Observed),
        now: Instant,
    ) -> bool {
        self.with(uid, now, |server| {
            let key = (child.0, child.1.to_owned());
            let last = server.children.get(&key);
            // the store may not have seen our last write yet
            let last_seen = last.map(|applied| &applied.observed);
            let before = before.map(|before| match last_seen {
                Some(last) if last.version > before.version => last,
                _ => before,
            });
            let changed = before.is_none_or(|before| before.content != after.content);
            let mut heals = last.map_or((now, 0), |applied| applied.heals);
            if now.duration_since(heals.0) >= CONTENTION_WINDOW {
                heals = (now, 0);
            }
            heals.1 += u32::from(changed && last.is_some_and(|applied| applied.hash == hash));
            let hash = hash.to_owned();
            let applied = Applied { hash, observed: after, at: now, deleted: false, heals };
            server.children.insert(key, applied);
            changed
        })
    }

    /// Notes that the watch has shown the deletion of a child.
    pub fn deleted(&self, uid: &str, child: (&'static str, &str)) {
        if let Some(server) = self.lock().get_mut(uid)
            && let Some(applied) = server.children.get_mut(&(child.0, child.1.to_owned()))
        {
            applied.deleted = true;
        }
    }

    /// The generation that a child had when it was applied last: what an older store shows of it is out of date.
    pub fn generation(&self, uid: &str, child: (&'static str, &str)) -> Option<i64> {
        let servers = self.lock();
        let applied = servers.get(uid)?.children.get(&(child.0, child.1.to_owned()))?;
        applied.observed.generation
    }

    /// Whether the admin Secret should be asked for now, at most once in a while; notes that it was.
    pub fn secret_due(&self, uid: &str, every: Duration, now: Instant) -> bool {
        self.with(uid, now, |server| {
            let due = server.secret_at.is_none_or(|at| now.duration_since(at) >= every);
            if due {
                server.secret_at = Some(now);
            }
            due
        })
    }

    /// Notes that the Secret of a server that has made none yet was already there: it may be that of a server of the
    /// same name that is gone, and about to go with it.
    pub fn doubt_secret(&self, uid: &str, time: Duration, now: Instant) {
        self.with(uid, now, |server| server.secret_doubtful_until = Some(now + time));
    }

    /// Whether the Secret may be about to go.
    pub fn secret_is_doubtful(&self, uid: &str, now: Instant) -> bool {
        self.with(uid, now, |server| server.secret_doubtful_until.is_some_and(|until| now < until))
    }

    /// Notes the Secret made in place of a deleted one: a failure may come before the status that says so.
    pub fn secret_remade(&self, uid: &str, secret_uid: Option<String>, now: Instant) {
        self.with(uid, now, |server| server.secret_remade_uid = secret_uid);
    }

    /// The uid of the Secret made last in place of a deleted one, since the start of the process.
    pub fn secret_remade_uid(&self, uid: &str) -> Option<String> {
        self.lock().get(uid)?.secret_remade_uid.clone()
    }

    /// The newer of the status in the watch's store and the one written last.
    pub fn latest_status(
        &self,
        uid: &str,
        version: u64,
        stored: Option<&HarperServerStatus>,
        now: Instant,
    ) -> Option<HarperServerStatus> {
        self.with(uid, now, |server| match &server.status {
            Some((written, status)) if *written > version => Some(status.clone()),
            _ => {
                server.status = None;
                stored.cloned()
            }
        })
    }

    /// Notes the status written last and the resourceVersion it was given.
    pub fn status_written(
        &self,
        uid: &str,
        version: u64,
        status: HarperServerStatus,
        now: Instant,
    ) {
        self.with(uid, now, |server| server.status = Some((version, status)));
    }

    /// The pause before the next try after a failure: exponential with full jitter, from the start again when the
    /// generation has changed.
    pub fn failed(&self, uid: &str, generation: Option<i64>, now: Instant) -> Duration {
        self.with(uid, now, |server| {
            let last = server.failures;
            let count = if last.generation == generation { last.count } else { 0 };
            let limit = BACKOFF_MIN.saturating_mul(1 << count.min(16)).min(BACKOFF_MAX);
            let pause = random::between(BACKOFF_MIN / 5, limit);
            let not_before = Some(now + pause);
            server.failures = Failures { generation, count: count.saturating_add(1), not_before };
            pause
        })
    }

    /// What is left of the pause after a failure. Without it the failure's own status would start the next try: the
    /// API server's sentences need not be the same twice.
    pub fn held(&self, uid: &str, generation: Option<i64>, now: Instant) -> Option<Duration> {
        let servers = self.lock();
        let Failures { generation: failed, not_before, .. } = servers.get(uid)?.failures;
        let rest = not_before?.saturating_duration_since(now);
        (failed == generation && !rest.is_zero()).then_some(rest)
    }

    /// Notes a success: the next failure starts with a short pause.
    pub fn succeeded(&self, uid: &str, now: Instant) {
        self.with(uid, now, |server| server.failures = Failures::default());
    }
}

/// After a restart: a child that carries the wanted hash and that nobody else has written to is taken as applied.
fn adopt(
    server: &mut Server,
    key: (&'static str, String),
    hash: &str,
    seen: &Observed,
    now: Instant,
) -> Verdict {
    if seen.applied_hash.as_deref() != Some(hash) || seen.foreign {
        return Verdict::Changed;
    }
    if !std::mem::replace(&mut server.adopted, true) {
        let soon = now + random::between(ADOPTED_RESYNC_MIN, ADOPTED_RESYNC_MAX);
        server.resync_at = server.resync_at.min(soon);
    }
    let observed = seen.clone();
    let hash = hash.to_owned();
    server
        .children
        .insert(key, Applied { hash, observed, at: now, deleted: false, heals: (now, 0) });
    Verdict::Current
}

impl Applied {
    fn judge(&self, hash: &str, observed: Option<&Observed>, now: Instant) -> Verdict {
        if self.hash != hash {
            return Verdict::Changed;
        }
        match observed {
            None if self.deleted => self.drifted(now),
            None => match ECHO.checked_sub(now.duration_since(self.at)) {
                Some(rest) if !rest.is_zero() => Verdict::AwaitEcho(rest),
                _ => self.drifted(now),
            },
            // the store has not seen our own write yet
            Some(seen) if seen.version < self.observed.version => Verdict::Current,
            Some(seen) if seen.content == self.observed.content => Verdict::Current,
            Some(_) => self.drifted(now),
        }
    }

    fn drifted(&self, now: Instant) -> Verdict {
        let (since, count) = self.heals;
        match CONTENTION_WINDOW.checked_sub(now.duration_since(since)) {
            Some(rest) if count >= HEALS_MAX => Verdict::Contended(rest),
            _ => Verdict::Drifted,
        }
    }
}

#[cfg(test)]
mod tests;
