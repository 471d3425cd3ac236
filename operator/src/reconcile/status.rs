//! Step five: say what is. The status is computed, compared with the last one, and written only when it differs.
//!
//! The conditions follow kstatus, so that `kubectl wait`, Helm, Flux and Argo CD agree without a health script:
//! `Ready` is good when true, `Reconciling` and `Stalled` are bad when true, and all speak of `observedGeneration`.

use super::build::{config_hash, selector_text};
use super::error::StepError;
use super::validate::{Identity, ValidatedServer};
use super::{Attempt, Outcome};
use crate::controller::Scope;
use crate::crd::{API_VERSION, Endpoint, HarperServer, HarperServerStatus, StorageType};
use crate::reasons::{Class, Reason};
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Instant;

/// Field manager of the status.
const STATUS_MANAGER: &str = "harper-operator/status";
/// The operator's own conditions; others may add theirs.
const CONDITIONS: [&str; 7] =
    ["Ready", "Reconciling", "Stalled", "ConfigValid", "Available", "Paused", "StorageEphemeral"];
/// Longest message of a condition, in bytes; an answer of the API server can be longer.
const MESSAGE_BYTES_MAX: usize = 2048;

/// The pods, as their StatefulSet counts them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Workload {
    /// Pods that exist.
    pub replicas: i32,
    /// Pods that answer.
    pub ready: i32,
    /// Pods of the latest template.
    pub updated: i32,
    /// The counts speak of the StatefulSet as it was applied last.
    pub current: bool,
}

impl Workload {
    /// Reads the counts. They are current when they speak of at least `generation`.
    #[must_use]
    pub fn of(set: &StatefulSet, generation: Option<i64>) -> Self {
        let Some(status) = &set.status else { return Self::default() };
        let wanted = set.metadata.generation.max(generation);
        Self {
            replicas: status.replicas,
            ready: status.ready_replicas.unwrap_or_default(),
            updated: status.updated_replicas.unwrap_or_default(),
            current: status.observed_generation >= wanted,
        }
    }

    /// Whether all pods run, so that nothing they need can be missing.
    #[must_use]
    pub fn all_run(&self, wanted: i32) -> bool {
        self.current && self.ready >= wanted && self.updated >= wanted
    }

    fn outlook(&self, wanted: i32) -> (Reason, String) {
        let Self { replicas, ready, updated, current } = *self;
        if !current || updated < wanted || replicas != wanted {
            let updated = if current { updated } else { 0 };
            return (
                Reason::RollingOut,
                format!("{updated} of {wanted} pods run the latest template"),
            );
        }
        let reason = match (wanted, ready >= wanted) {
            (0, _) => return (Reason::ScaledToZero, "no pod is wanted".to_owned()),
            (_, true) => Reason::AllReplicasReady,
            (_, false) => Reason::PodsNotReady,
        };
        (reason, format!("{ready} of {wanted} pods are ready"))
    }
}

/// Computes the status. `previous` gives the times of conditions that have not moved, and what this attempt has not
/// found out.
#[must_use]
pub fn compute(
    server: &HarperServer,
    attempt: &Attempt,
    workload: Workload,
    previous: Option<&HarperServerStatus>,
    now: Timestamp,
) -> HarperServerStatus {
    let mut status = previous.cloned().unwrap_or_default();
    let generation = match attempt.outcome {
        // the present generation is not what the pods run
        Outcome::Paused { differs: true } => status.observed_generation,
        _ => server.metadata.generation,
    };
    status.conditions = conditions(server, attempt, workload)
        .into_iter()
        .filter_map(|stated| {
            let speaks_of = match stated.type_ {
                "Paused" => server.metadata.generation,
                _ => generation,
            };
            condition(stated, previous, speaks_of, now)
        })
        .collect();
    status.observed_generation = generation;
    status.replicas = workload.replicas;
    status.ready_replicas = workload.ready;
    status.updated_replicas = workload.updated;
    status.selector = selector_text(&server.name_any());
    if let (Outcome::Applied(applied), Some(validated)) = (&attempt.outcome, &attempt.validated) {
        status.admin_secret_remade_uid = applied.secret_remade_uid.clone();
        status.image = Some(validated.image.reference.clone());
        status.config_hash = Some(config_hash(validated));
        status.admin_secret_name = Some(validated.admin.name().to_owned());
        status.endpoints = endpoints(validated);
    }
    status
}

fn endpoints(server: &ValidatedServer) -> Vec<Endpoint> {
    let Identity { name, namespace, owner: _ } = &server.identity;
    let url = format!("http://{name}.{namespace}.svc:{}", server.config.http_port);
    vec![Endpoint { name: "http".to_owned(), url }]
}

/// A condition before it has a time. `None` as status keeps the previous one.
struct Stated {
    type_: &'static str,
    status: Option<bool>,
    reason: Reason,
    message: String,
}

fn stated(type_: &'static str, status: bool, reason: Reason, message: &str) -> Stated {
    Stated { type_, status: Some(status), reason, message: message.to_owned() }
}

fn conditions(server: &HarperServer, attempt: &Attempt, workload: Workload) -> Vec<Stated> {
    let (reason, message) = match &attempt.outcome {
        Outcome::Applied(_) | Outcome::Paused { .. } => workload.outlook(server.spec.replicas),
        Outcome::Refused(refusal) => (refusal.reason, refusal.message.clone()),
        Outcome::Failed(error) => (error.reason(), error.to_string()),
    };
    let paused = matches!(attempt.outcome, Outcome::Paused { .. });
    let class = reason.class();
    let working = matches!(class, Class::Progressing | Class::Waiting | Class::Transient);
    let mut all = vec![
        stated("Ready", class == Class::Settled, reason, &message),
        stated("Reconciling", working && !paused, reason, &message),
        stated("Stalled", class == Class::Permanent, reason, &message),
        config_valid(attempt, reason, &message),
        available(workload, server.spec.replicas),
    ];
    if paused {
        let message = "spec.paused is set: the operator writes nothing but this status";
        all.push(stated("Paused", true, Reason::Paused, message));
    }
    if server.spec.storage.type_ == StorageType::Ephemeral {
        let message = "the storage is an emptyDir: the data is lost with the pod";
        all.push(stated("StorageEphemeral", true, Reason::DataLostWithPod, message));
    }
    all
}

fn config_valid(attempt: &Attempt, reason: Reason, message: &str) -> Stated {
    const TYPE: &str = "ConfigValid";
    match &attempt.validated {
        Some(server) if server.config.warnings.is_empty() => {
            stated(TYPE, true, Reason::ConfigAccepted, "the server accepts the configuration")
        }
        Some(server) => {
            let warnings = server.config.warnings.join("; ");
            stated(TYPE, true, Reason::ConfigAcceptedWithWarnings, &warnings)
        }
        None if reason == Reason::ConfigInvalid => stated(TYPE, false, reason, message),
        None => Stated { type_: TYPE, status: None, reason, message: String::new() },
    }
}

fn available(workload: Workload, wanted: i32) -> Stated {
    let ready = workload.ready;
    let reason = match (ready, wanted) {
        (1.., _) if ready >= wanted => Reason::AllReplicasReady,
        (_, 0) => Reason::ScaledToZero,
        _ => Reason::PodsNotReady,
    };
    stated("Available", ready > 0, reason, &format!("{ready} pods answer"))
}

fn condition(
    stated: Stated,
    previous: Option<&HarperServerStatus>,
    generation: Option<i64>,
    now: Timestamp,
) -> Option<Condition> {
    let Stated { type_, status, reason, message } = stated;
    let before = previous.iter().flat_map(|status| &status.conditions);
    let before = before.into_iter().find(|condition| condition.type_ == type_);
    let Some(status) = status else { return before.cloned() };
    let status = if status { "True" } else { "False" };
    let unmoved = before.filter(|before| before.status == status);
    let moved = || Time(Timestamp::from_second(now.as_second()).unwrap_or(now));
    Some(Condition {
        type_: type_.to_owned(),
        status: status.to_owned(),
        reason: reason.name().to_owned(),
        message: shortened(message),
        observed_generation: generation,
        last_transition_time: unmoved
            .map_or_else(moved, |before| before.last_transition_time.clone()),
    })
}

fn shortened(mut message: String) -> String {
    if message.len() > MESSAGE_BYTES_MAX {
        message.truncate(message.floor_char_boundary(MESSAGE_BYTES_MAX));
        message.push('…');
    }
    message
}

/// Writes the status if it differs from the last one. Returns the previous and the present reason of `Ready` when
/// that has changed.
///
/// # Errors
/// When the API server does not take it. A server that is gone is no error.
pub async fn report(
    scope: &Scope,
    server: &HarperServer,
    identity: &Identity,
    status: &HarperServerStatus,
    previous: Option<&HarperServerStatus>,
) -> Result<(), StepError> {
    if previous.is_some_and(|previous| says_the_same(previous, status)) {
        return Ok(());
    }
    let body = json!({
        "apiVersion": API_VERSION,
        "kind": "HarperServer",
        // a server of the same name made since then has another uid and must not get this status
        "metadata": { "name": identity.name, "uid": identity.owner.uid },
        "status": status,
    });
    let api: Api<HarperServer> = Api::namespaced(scope.client.clone(), &identity.namespace);
    let params = PatchParams::apply(STATUS_MANAGER).force();
    match api.patch_status(&identity.name, &params, &Patch::Apply(&body)).await {
        Ok(answer) => {
            let version = version(answer.metadata.resource_version.as_deref());
            let memory = &scope.memory;
            memory.status_written(&identity.owner.uid, version, status.clone(), Instant::now());
            scope.shared.metrics.applied("HarperServer/status", "changed");
            Ok(())
        }
        Err(kube::Error::Api(answer)) if answer.is_not_found() || answer.is_conflict() => {
            tracing::debug!(server = server.name_any(), "the server is gone");
            Ok(())
        }
        Err(source) => Err(StepError::Status(source)),
    }
}

/// Whether two statuses differ only in the order of conditions or in conditions of others.
fn says_the_same(previous: &HarperServerStatus, status: &HarperServerStatus) -> bool {
    let own = |of: &HarperServerStatus| -> BTreeMap<String, Condition> {
        let own = of.conditions.iter().filter(|one| CONDITIONS.contains(&one.type_.as_str()));
        own.map(|one| (one.type_.clone(), one.clone())).collect()
    };
    let bare =
        |of: &HarperServerStatus| HarperServerStatus { conditions: Vec::new(), ..of.clone() };
    own(previous) == own(status) && bare(previous) == bare(status)
}

/// A resourceVersion as a number; they grow with each write.
pub(super) fn version(text: Option<&str>) -> u64 {
    text.and_then(|text| text.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests;
