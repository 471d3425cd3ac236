use super::*;
use crate::crd::HarperServerSpec;
use crate::reconcile::dereference::Dereferenced;
use crate::reconcile::validate::{Refusal, validate};
use serde_json::json;

fn server(yaml: &str, generation: i64) -> HarperServer {
    let spec: HarperServerSpec = serde_yaml::from_str(yaml).unwrap();
    let mut server = HarperServer::new("cities", spec);
    server.metadata.namespace = Some("demo".to_owned());
    server.metadata.uid = Some("uid-1".to_owned());
    server.metadata.generation = Some(generation);
    server
}

fn validated(server: &HarperServer) -> ValidatedServer {
    let identity = Identity::of(server).unwrap();
    validate(identity, &server.spec, &Dereferenced::default(), "image:1").unwrap()
}

fn paused(server: &HarperServer) -> Attempt {
    Attempt { validated: Some(validated(server)), outcome: Outcome::Paused { differs: false } }
}

fn refused(reason: Reason) -> Attempt {
    let refusal = Refusal { reason, message: "because".to_owned() };
    Attempt { validated: None, outcome: Outcome::Refused(refusal) }
}

fn set(generation: i64, observed: i64, replicas: i32, updated: i32, ready: i32) -> StatefulSet {
    serde_json::from_value(json!({
        "metadata": {"generation": generation},
        "status": {
            "observedGeneration": observed, "replicas": replicas,
            "updatedReplicas": updated, "readyReplicas": ready,
        },
    }))
    .unwrap()
}

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).unwrap()
}

/// `type=status reason` of each condition.
fn lines(status: &HarperServerStatus) -> Vec<String> {
    let line = |one: &Condition| format!("{}={} {}", one.type_, one.status, one.reason);
    status.conditions.iter().map(line).collect()
}

#[test]
fn the_outlook_follows_the_pods() {
    let outlook = |set: &StatefulSet, wanted| Workload::of(set, None).outlook(wanted).0;
    assert_eq!(outlook(&set(1, 1, 1, 1, 1), 1), Reason::AllReplicasReady);
    assert_eq!(outlook(&set(2, 1, 1, 1, 1), 1), Reason::RollingOut, "the status is old");
    assert_eq!(outlook(&set(2, 2, 1, 0, 1), 1), Reason::RollingOut, "the pod is old");
    assert_eq!(outlook(&set(2, 2, 1, 1, 0), 1), Reason::PodsNotReady);
    assert_eq!(outlook(&set(2, 2, 0, 0, 0), 1), Reason::RollingOut);
    assert_eq!(outlook(&set(2, 2, 1, 1, 1), 0), Reason::RollingOut, "a pod too many");
    assert_eq!(outlook(&set(2, 2, 0, 0, 0), 0), Reason::ScaledToZero);
    assert_eq!(outlook(&StatefulSet::default(), 1), Reason::RollingOut);
}

#[test]
fn an_old_store_is_not_ready() {
    let stored = set(1, 1, 1, 1, 1);
    assert_eq!(Workload::of(&stored, Some(2)).outlook(1).0, Reason::RollingOut);
    assert!(!Workload::of(&stored, Some(2)).all_run(1));
    assert!(Workload::of(&stored, Some(1)).all_run(1));
}

#[test]
fn a_refusal_is_stalled_and_keeps_what_is_known() {
    let server = server("{}", 3);
    let previous = HarperServerStatus {
        config_hash: Some("old".to_owned()),
        observed_generation: Some(2),
        ..HarperServerStatus::default()
    };
    let attempt = refused(Reason::ConfigInvalid);
    let workload = Workload::of(&set(1, 1, 1, 1, 1), None);
    let status = compute(&server, &attempt, workload, Some(&previous), at(0));
    assert_eq!(
        lines(&status),
        [
            "Ready=False ConfigInvalid",
            "Reconciling=False ConfigInvalid",
            "Stalled=True ConfigInvalid",
            "ConfigValid=False ConfigInvalid",
            "Available=True AllReplicasReady",
        ]
    );
    assert_eq!(status.config_hash.as_deref(), Some("old"));
    assert_eq!(status.observed_generation, Some(3));
}

#[test]
fn waiting_is_reconciling_and_not_stalled() {
    let attempt = refused(Reason::ComponentNotFound);
    let status = compute(&server("{}", 1), &attempt, Workload::default(), None, at(0));
    assert_eq!(
        lines(&status),
        [
            "Ready=False ComponentNotFound",
            "Reconciling=True ComponentNotFound",
            "Stalled=False ComponentNotFound",
            "Available=False PodsNotReady",
        ]
    );
}

#[test]
fn a_failure_of_the_api_is_reconciling() {
    let outcome = Outcome::Failed(StepError::TimedOut);
    let attempt = Attempt { validated: None, outcome };
    let status = compute(&server("{}", 1), &attempt, Workload::default(), None, at(0));
    assert_eq!(lines(&status)[1], "Reconciling=True ApiUnavailable");
}

#[test]
fn paused_and_ephemeral_are_said() {
    let server = server("{paused: true, storage: {type: Ephemeral}}", 1);
    let workload = Workload::of(&set(1, 1, 1, 1, 1), None);
    let status = compute(&server, &paused(&server), workload, None, at(0));
    assert_eq!(
        lines(&status)[3..],
        [
            "ConfigValid=True ConfigAccepted",
            "Available=True AllReplicasReady",
            "Paused=True Paused",
            "StorageEphemeral=True DataLostWithPod",
        ]
    );
}

#[test]
fn times_move_only_with_the_status() {
    let server = server("paused: true", 1);
    let ready = Workload::of(&set(1, 1, 1, 1, 1), None);
    let first = compute(&server, &paused(&server), ready, None, at(100));
    let again = compute(&server, &paused(&server), ready, Some(&first), at(200));
    assert_eq!(first, again, "the same world has the same status");
    let gone = Workload::of(&set(1, 1, 1, 1, 0), None);
    let third = compute(&server, &paused(&server), gone, Some(&again), at(300));
    let time = |status: &HarperServerStatus, type_: &str| {
        let mut all = status.conditions.iter();
        all.find(|one| one.type_ == type_).unwrap().last_transition_time.0
    };
    assert_eq!(time(&third, "Ready"), at(300));
    assert_eq!(time(&third, "Stalled"), at(100));
}

#[test]
fn long_messages_are_shortened_at_a_letter() {
    let text = shortened("ä".repeat(MESSAGE_BYTES_MAX));
    assert!(text.len() <= MESSAGE_BYTES_MAX + '…'.len_utf8());
    assert!(text.ends_with("ä…"));
}

#[test]
fn paused_does_not_claim_that_a_changed_spec_runs() {
    let ready = Workload::of(&set(1, 1, 1, 1, 1), None);
    let before = compute(&server("{}", 1), &paused(&server("{}", 1)), ready, None, at(0));
    let changed = server("{paused: true, http: {port: 8000}}", 2);
    let differs = Attempt { outcome: Outcome::Paused { differs: true }, ..paused(&changed) };
    let status = compute(&changed, &differs, ready, Some(&before), at(0));
    assert_eq!(status.observed_generation, Some(1));
    let of = |type_: &str| {
        status.conditions.iter().find(|one| one.type_ == type_).unwrap().observed_generation
    };
    assert_eq!((of("Ready"), of("Paused")), (Some(1), Some(2)));
    let same = compute(&changed, &paused(&changed), ready, Some(&before), at(0));
    assert_eq!(same.observed_generation, Some(2), "only paused was changed");
}

#[test]
fn conditions_of_others_are_no_difference() {
    let server = server("{}", 1);
    let status = compute(&server, &paused(&server), Workload::default(), None, at(0));
    let mut seen = status.clone();
    seen.conditions.reverse();
    seen.conditions.push(Condition { type_: "Audited".to_owned(), ..seen.conditions[0].clone() });
    assert!(says_the_same(&seen, &status));
    seen.conditions[0].message = "another".to_owned();
    assert!(!says_the_same(&seen, &status));
    let mut more = status.clone();
    more.replicas = 7;
    assert!(!says_the_same(&more, &status));
}
