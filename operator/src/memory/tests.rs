use super::*;
use serde_json::json;

const UID: &str = "uid-1";
const CHILD: (&str, &str) = ("Service", "cities");

fn seen(meta: serde_json::Value) -> Observed {
    Observed::of(&serde_json::from_value(meta).unwrap())
}

fn service(version: u64) -> Observed {
    seen(json!({"resourceVersion": version.to_string(), "annotations": {APPLIED_HASH: "h1"}}))
}

#[test]
fn a_child_at_rest_needs_nothing() {
    let (memory, now) = (Memory::default(), Instant::now());
    assert_eq!(memory.judge(UID, CHILD, "h1", None, now), Verdict::Missing);
    assert!(memory.applied(UID, CHILD, "h1", (None, service(7)), now));
    assert!(matches!(memory.judge(UID, CHILD, "h1", None, now), Verdict::AwaitEcho(_)));
    assert_eq!(memory.judge(UID, CHILD, "h1", Some(&service(7)), now), Verdict::Current);
    assert_eq!(memory.judge(UID, CHILD, "h2", Some(&service(7)), now), Verdict::Changed);
}

#[test]
fn an_old_echo_is_not_drift() {
    let (memory, now) = (Memory::default(), Instant::now());
    memory.applied(UID, CHILD, "h1", (None, service(7)), now);
    memory.applied(UID, CHILD, "h2", (Some(&service(7)), service(9)), now);
    assert_eq!(memory.judge(UID, CHILD, "h2", Some(&service(7)), now), Verdict::Current);
}

#[test]
fn edits_and_deletions_are_drift() {
    let (memory, now) = (Memory::default(), Instant::now());
    memory.applied(UID, CHILD, "h1", (None, service(7)), now);
    assert_eq!(memory.judge(UID, CHILD, "h1", Some(&service(8)), now), Verdict::Drifted);
    memory.deleted(UID, CHILD);
    assert_eq!(memory.judge(UID, CHILD, "h1", None, now), Verdict::Drifted);
    let memory = Memory::default();
    memory.applied(UID, CHILD, "h1", (None, service(7)), now);
    assert_eq!(
        memory.judge(UID, CHILD, "h1", None, now + ECHO),
        Verdict::Drifted,
        "a missed event"
    );
}

#[test]
fn a_busy_status_is_not_drift() {
    let set = |version: &str, generation: i64, labels: serde_json::Value| {
        seen(json!({"resourceVersion": version, "generation": generation, "labels": labels}))
    };
    let (memory, now) = (Memory::default(), Instant::now());
    memory.applied(UID, CHILD, "h1", (None, set("1", 1, json!({"a": "b"}))), now);
    let judge = |observed| memory.judge(UID, CHILD, "h1", Some(&observed), now);
    assert_eq!(judge(set("5", 1, json!({"a": "b"}))), Verdict::Current);
    assert_eq!(judge(set("5", 2, json!({"a": "b"}))), Verdict::Drifted);
    assert_eq!(judge(set("5", 1, json!({"a": "c"}))), Verdict::Drifted);
}

#[test]
fn a_fight_is_slowed_down_but_no_ops_are_no_fight() {
    let (memory, now) = (Memory::default(), Instant::now());
    memory.applied(UID, CHILD, "h1", (None, service(1)), now);
    for version in 0..20 {
        // a status write of someone else: the apply changes nothing
        let same = service(10 + version);
        assert!(!memory.applied(UID, CHILD, "h1", (Some(&same), same.clone()), now));
    }
    let mut version = 100;
    for _ in 0..HEALS_MAX {
        assert_eq!(memory.judge(UID, CHILD, "h1", Some(&service(version)), now), Verdict::Drifted);
        memory.applied(UID, CHILD, "h1", (Some(&service(version)), service(version + 1)), now);
        version += 2;
    }
    let verdict = memory.judge(UID, CHILD, "h1", Some(&service(version)), now);
    assert_eq!(verdict, Verdict::Contended(CONTENTION_WINDOW));
    let later = now + CONTENTION_WINDOW + Duration::from_secs(1);
    assert_eq!(memory.judge(UID, CHILD, "h1", Some(&service(version)), later), Verdict::Drifted);
}

#[test]
fn a_restart_adopts_untouched_children_without_a_write() {
    let (memory, now) = (Memory::default(), Instant::now());
    assert_eq!(memory.judge(UID, CHILD, "h1", Some(&service(7)), now), Verdict::Current);
    assert_eq!(memory.judge(UID, CHILD, "h1", Some(&service(8)), now), Verdict::Drifted);
    let edited = seen(json!({
        "resourceVersion": "7",
        "annotations": {APPLIED_HASH: "h1"},
        "managedFields": [{"manager": MANAGER}, {"manager": "kubectl-edit"}],
    }));
    let memory = Memory::default();
    assert_eq!(memory.judge(UID, CHILD, "h1", Some(&edited), now), Verdict::Changed);
}

#[test]
fn pruning_keeps_only_foreign_writers() {
    let mut meta: ObjectMeta = serde_json::from_value(json!({"managedFields": [
        {"manager": MANAGER, "fieldsV1": {"f:data": {}}},
        {"manager": "kube-controller-manager", "subresource": "status", "fieldsV1": {}},
        {"manager": "kubectl-edit", "fieldsV1": {"f:data": {}}},
    ]}))
    .unwrap();
    prune(&mut meta);
    let entries = meta.managed_fields.unwrap();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].manager.as_deref(), Some("kubectl-edit"));
    assert_eq!(entries[0].fields_v1, None);
}

#[test]
fn marks_beside_what_is_applied_are_not_foreign() {
    let foreign = |fields: serde_json::Value| {
        is_foreign(
            &serde_json::from_value(json!({"manager": "kubectl", "fieldsV1": fields})).unwrap(),
        )
    };
    let metadata = |fields: serde_json::Value| foreign(json!({ "f:metadata": fields }));
    assert!(!metadata(json!({"f:annotations": {".": {}, "f:note": {}}, "f:finalizers": {}})));
    assert!(metadata(json!({"f:labels": {"f:app.kubernetes.io/instance": {}}})));
    assert!(metadata(json!({"f:ownerReferences": {}})));
    assert!(foreign(json!({"f:metadata": {"f:annotations": {}}, "f:spec": {}})));
}

#[test]
fn pauses_grow_and_start_again() {
    let (memory, now) = (Memory::default(), Instant::now());
    for _ in 0..40 {
        assert!(memory.failed(UID, Some(1), now) <= BACKOFF_MAX);
    }
    assert!(memory.failed(UID, Some(2), now) <= BACKOFF_MIN, "a new generation");
    memory.failed(UID, Some(2), now);
    memory.succeeded(UID, now);
    assert!(memory.failed(UID, Some(2), now) <= BACKOFF_MIN, "a success");
}

#[test]
fn servers_are_forgotten() {
    let (memory, now) = (Memory::default(), Instant::now());
    memory.succeeded("a", now);
    memory.succeeded("b", now);
    memory.retain(&HashSet::from(["b".to_owned()]));
    assert_eq!(memory.lock().len(), 1);
    memory.forget("b");
    assert_eq!(memory.lock().len(), 0);
}

#[test]
fn a_failure_holds_the_next_try_back() {
    let (memory, now) = (Memory::default(), Instant::now());
    assert_eq!(memory.held(UID, Some(1), now), None);
    let pause = memory.failed(UID, Some(1), now);
    assert_eq!(memory.held(UID, Some(1), now), Some(pause), "whatever wakes the server");
    assert_eq!(memory.held(UID, Some(2), now), None, "a new generation");
    assert_eq!(memory.held(UID, Some(1), now + pause), None);
    memory.succeeded(UID, now);
    assert_eq!(memory.held(UID, Some(1), now), None, "a success");
}

#[test]
fn what_was_adopted_is_applied_again_soon() {
    let (memory, now) = (Memory::default(), Instant::now());
    memory.applied("fresh", CHILD, "h1", (None, service(7)), now);
    assert!(memory.resync_in("fresh", now) >= RESYNC_MIN);
    // a removed field leaves the hash and names no other writer
    assert_eq!(memory.judge(UID, CHILD, "h1", Some(&service(7)), now), Verdict::Current);
    let soon = memory.resync_in(UID, now);
    assert!(soon <= ADOPTED_RESYNC_MAX, "{soon:?}");
    assert_eq!(
        memory.judge(UID, ("ConfigMap", "cities"), "h1", Some(&service(8)), now),
        Verdict::Current
    );
    assert_eq!(memory.resync_in(UID, now), soon, "drawn once for a server");
    memory.resynced(UID, now);
    assert!(memory.resync_in(UID, now) >= RESYNC_MIN);
}

#[test]
fn a_lagging_store_makes_a_no_op_no_change() {
    let (memory, now) = (Memory::default(), Instant::now());
    memory.applied(UID, CHILD, "h1", (None, service(9)), now);
    assert!(!memory.applied(UID, CHILD, "h1", (Some(&service(7)), service(9)), now));
    assert!(memory.applied(UID, CHILD, "h1", (Some(&service(10)), service(11)), now));
}

#[test]
fn a_secret_that_was_there_before_is_doubted_for_a_while() {
    let (memory, now) = (Memory::default(), Instant::now());
    assert!(!memory.secret_is_doubtful(UID, now));
    memory.doubt_secret(UID, Duration::from_secs(9), now);
    assert!(memory.secret_is_doubtful(UID, now));
    assert!(!memory.secret_is_doubtful(UID, now + Duration::from_secs(9)));
}

#[test]
fn a_deleted_child_is_no_longer_known() {
    let (memory, now) = (Memory::default(), Instant::now());
    assert!(!memory.has_applied(UID, CHILD));
    memory.applied(UID, CHILD, "h1", (None, service(7)), now);
    assert!(memory.has_applied(UID, CHILD));
    memory.deleted(UID, CHILD);
    assert!(!memory.has_applied(UID, CHILD));
}
