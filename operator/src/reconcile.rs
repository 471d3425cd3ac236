//! One reconcile of one server: dereference → validate → build → apply → status. Only the first, fourth and fifth
//! talk to the API server.

pub mod apply;
pub mod build;
pub mod dereference;
pub mod error;
pub mod status;
pub mod validate;

use crate::controller::{Scope, forget_if_gone};
use crate::crd::{Guarded, HarperServer, HarperServerStatus};
use crate::events;
use apply::{Applied, SecretHint};
use error::StepError;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use kube::runtime::controller::Action;
use kube::runtime::reflector::ObjectRef;
use kube::{Resource as _, ResourceExt as _};
use status::Workload;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};
use validate::{Identity, Refusal, ValidatedServer};

/// Longest time for the first four steps, and again for the report: a connection that went silent must not hold a
/// server for ever.
const RECONCILE_TIMEOUT: Duration = Duration::from_secs(60);

/// What became of the first four steps.
#[derive(Debug)]
pub struct Attempt {
    /// The server, if it could be validated.
    pub validated: Option<ValidatedServer>,
    /// How it ended.
    pub outcome: Outcome,
}

/// How the first four steps ended.
#[derive(Debug)]
pub enum Outcome {
    /// The cluster agrees with the spec.
    Applied(Applied),
    /// Nothing was written because the user wants it so.
    Paused {
        /// The spec asks for something else than what was applied last.
        differs: bool,
    },
    /// Nothing was written because the spec cannot be built.
    Refused(Refusal),
    /// The API server did not do its part.
    Failed(StepError),
}

impl Outcome {
    fn result(&self) -> &'static str {
        match self {
            Self::Applied(_) => "applied",
            Self::Paused { .. } => "paused",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
        }
    }
}

/// Reconciles one server. Failures end in its conditions and in the pause before the next try, not in an error.
///
/// # Errors
/// Never.
pub async fn reconcile(server: Arc<Guarded>, scope: Arc<Scope>) -> Result<Action, Infallible> {
    // a child that the watch has not shown yet would look as if it were missing
    scope.synced.wait().await;
    let started = Instant::now();
    let metrics = &scope.shared.metrics;
    let action = match &server.0 {
        Ok(server) => match Identity::of(server) {
            Some(_) if server.metadata.deletion_timestamp.is_some() => Action::await_change(),
            Some(identity) => {
                let held =
                    scope.memory.held(&identity.owner.uid, server.metadata.generation, started);
                match held {
                    Some(rest) => return Ok(Action::requeue(rest)),
                    None => one(server, identity, &scope, started).await,
                }
            }
            None => Action::await_change(),
        },
        Err(invalid) => {
            // the schema lets no such object in: it is older than the schema
            let (namespace, name) = (server.namespace(), server.name_any());
            tracing::error!(?namespace, name, error = invalid.error, "the object cannot be read");
            metrics.reconciled("unreadable", started.elapsed());
            Action::await_change()
        }
    };
    forget_if_gone(&scope, &server);
    Ok(action)
}

async fn one(server: &HarperServer, identity: Identity, scope: &Scope, now: Instant) -> Action {
    let memory = &scope.memory;
    let uid = identity.owner.uid.clone();
    let version = status::version(server.metadata.resource_version.as_deref());
    let previous = memory.latest_status(&uid, version, server.status.as_ref(), now);
    let attempt = attempt(server, &identity, scope, previous.as_ref(), now);
    let attempt = tokio::time::timeout(RECONCILE_TIMEOUT, attempt).await.unwrap_or_else(|_| {
        Attempt { validated: None, outcome: Outcome::Failed(StepError::TimedOut) }
    });
    let workload = workload(scope, &identity, &attempt.outcome);
    let status = status::compute(server, &attempt, workload, previous.as_ref(), Timestamp::now());
    let previous = previous.as_ref();
    let report = async {
        events::publish(scope, server, previous, &status, &attempt.outcome).await;
        status::report(scope, server, &identity, &status, previous).await
    };
    let written = tokio::time::timeout(RECONCILE_TIMEOUT, report).await;
    let written = written.unwrap_or(Err(StepError::TimedOut));
    let outcome = match (attempt.outcome, written) {
        (Outcome::Failed(error), _) | (_, Err(error)) => Outcome::Failed(error),
        (outcome, Ok(())) => outcome,
    };
    // one that failed is still due
    if !matches!(outcome, Outcome::Failed(_)) && memory.resync_in(&uid, now).is_zero() {
        memory.resynced(&uid, now);
    }
    scope.shared.metrics.reconciled(outcome.result(), now.elapsed());
    next(server, &uid, &outcome, scope)
}

/// The first four steps.
async fn attempt(
    server: &HarperServer,
    identity: &Identity,
    scope: &Scope,
    previous: Option<&HarperServerStatus>,
    now: Instant,
) -> Attempt {
    let failed = |validated, error| Attempt { validated, outcome: Outcome::Failed(error) };
    let Identity { name, namespace, owner } = identity;
    let memory = &scope.memory;
    let resync = memory.resync_in(&owner.uid, now).is_zero();
    if resync {
        for component in &server.spec.components {
            scope.components.touched(namespace, &component.config_map_ref.name);
        }
    }
    let dereferenced = match dereference::dereference(scope, namespace, name, &server.spec).await {
        Ok(dereferenced) => dereferenced,
        Err(error) => return failed(None, error),
    };
    let image = &scope.shared.settings.server_image;
    let validated = match validate::validate(identity.clone(), &server.spec, &dereferenced, image) {
        Ok(validated) => validated,
        Err(refusal) => {
            return Attempt { validated: None, outcome: Outcome::Refused(refusal) };
        }
    };
    let secret = previous.and_then(|status| status.admin_secret_name.as_deref());
    let hint = SecretHint {
        created: secret == Some(validated.admin.name()),
        pods_run: stored_workload(scope, identity).all_run(validated.replicas),
        remade_uid: memory
            .secret_remade_uid(&owner.uid)
            .or_else(|| previous.and_then(|status| status.admin_secret_remade_uid.clone())),
    };
    let resources = build::build(&validated);
    if validated.paused {
        return match apply::differs(scope, identity, resources, &hint) {
            Ok(differs) => {
                Attempt { validated: Some(validated), outcome: Outcome::Paused { differs } }
            }
            Err(error) => failed(Some(validated), error),
        };
    }
    // the future holds every object of the server: too large for the stack of a small pod
    match Box::pin(apply::apply(scope, identity, resources, hint, resync)).await {
        Ok(applied) => Attempt { validated: Some(validated), outcome: Outcome::Applied(applied) },
        Err(error) => failed(Some(validated), error),
    }
}

fn workload(scope: &Scope, identity: &Identity, outcome: &Outcome) -> Workload {
    match outcome {
        Outcome::Applied(Applied { stateful_set: Some(set), .. }) => Workload::of(set, None),
        _ => stored_workload(scope, identity),
    }
}

fn stored_workload(scope: &Scope, identity: &Identity) -> Workload {
    let Identity { name, namespace, owner } = identity;
    let key = ObjectRef::<StatefulSet>::new(name).within(namespace);
    let Some(set) = scope.stores.stateful_sets.get(&key) else { return Workload::default() };
    if set.meta().owner_references.iter().flatten().all(|other| other.uid != owner.uid) {
        return Workload::default();
    }
    let generation = scope.memory.generation(&owner.uid, ("StatefulSet", name));
    Workload::of(&set, generation)
}

/// When to look at the server again if nothing happens before.
fn next(server: &HarperServer, uid: &str, outcome: &Outcome, scope: &Scope) -> Action {
    let (memory, now) = (&scope.memory, Instant::now());
    let look_again_in = match outcome {
        Outcome::Applied(applied) => applied.look_again_in,
        Outcome::Paused { .. } | Outcome::Refused(_) => None,
        Outcome::Failed(StepError::Contended { pause, .. }) => {
            memory.succeeded(uid, now);
            return Action::requeue(*pause);
        }
        // also after an answer that blames the object: the rule that refused it may go
        Outcome::Failed(error) => {
            let pause = memory.failed(uid, server.metadata.generation, now);
            let (namespace, name) = (server.namespace(), server.name_any());
            tracing::warn!(?namespace, name, %error, ?pause, "reconcile failed");
            return Action::requeue(pause);
        }
    };
    memory.succeeded(uid, now);
    let resync = memory.resync_in(uid, now);
    Action::requeue(look_again_in.map_or(resync, |pause| pause.min(resync)))
}
