//! Against a listener that takes every write and answers with what was sent.

use super::*;
use crate::controller::testing::scope;
use crate::crd::HarperServerSpec;
use crate::reconcile::dereference::Dereferenced;
use crate::reconcile::validate::validate;
use serde_json::Value;
use std::sync::{Mutex, PoisonError};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

type Log = Mutex<Vec<String>>;

/// Answers one request: an object that is read is not there, one that is written is there now.
async fn answer(mut stream: TcpStream, log: &Log) -> std::io::Result<()> {
    let mut request = Vec::new();
    let (head, body) = loop {
        if stream.read_buf(&mut request).await? == 0 {
            return Ok(());
        }
        let text = String::from_utf8_lossy(&request);
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            break (head.to_owned(), body.to_owned());
        }
    };
    let path = head.split_once('?').map_or(head.as_str(), |(path, _)| path);
    log.lock().unwrap_or_else(PoisonError::into_inner).push(path.to_owned());
    let (status, answer) = match serde_json::from_str::<Value>(&body) {
        Ok(mut object) => {
            object["metadata"]["resourceVersion"] = json!("7");
            object["metadata"]["uid"] = json!("uid-of-the-child");
            ("200 OK", object)
        }
        Err(_) => {
            let status = json!({
                "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
                "message": "not found", "reason": "NotFound", "code": 404,
            });
            ("404 Not Found", status)
        }
    };
    let (answer, close) =
        (answer.to_string(), "Connection: close\r\nContent-Type: application/json");
    let length = answer.len();
    let answer =
        format!("HTTP/1.1 {status}\r\n{close}\r\nContent-Length: {length}\r\n\r\n{answer}");
    stream.write_all(answer.as_bytes()).await
}

/// Applies a minimal server. Returns what was asked of the API server.
async fn applied(
    prepare: impl FnOnce(&Scope, &Identity),
    hint: SecretHint,
) -> (Result<Applied, StepError>, Vec<String>, Scope) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let scope = scope(&format!("http://{}", listener.local_addr().unwrap()));
    let owner = serde_yaml::from_str(
        "{apiVersion: harper.dev/v1alpha1, kind: HarperServer, name: cities, uid: uid-1, controller: true}",
    );
    let identity =
        Identity { name: "cities".to_owned(), namespace: "demo".to_owned(), owner: owner.unwrap() };
    let spec = HarperServerSpec::default();
    let server = validate(identity.clone(), &spec, &Dereferenced::default(), "image:1").unwrap();
    prepare(&scope, &identity);
    let log = Log::default();
    let serve = async {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            answer(stream, &log).await.unwrap();
        }
    };
    let apply = Box::pin(apply(&scope, &identity, build::build(&server), hint, false));
    let result = tokio::select! {
        result = apply => result,
        () = serve => unreachable!("it serves for ever"),
    };
    (result, log.into_inner().unwrap(), scope)
}

fn hint(created: bool) -> SecretHint {
    SecretHint { created, pods_run: false, remade_uid: None }
}

fn wrote(log: &[String], resource: &str) -> bool {
    log.iter().any(|line| !line.starts_with("GET") && line.contains(resource))
}

#[tokio::test]
async fn a_first_secret_is_not_put_back() {
    let (result, log, _) = applied(|_, _| {}, hint(false)).await;
    let applied = result.unwrap();
    assert!(applied.healed().is_empty(), "{:?}", applied.healed());
    assert_eq!(applied.secret_remade_uid, None);
    assert!(wrote(&log, "/secrets") && wrote(&log, "/statefulsets/cities"), "{log:?}");
    assert!(log.iter().all(|line| !line.starts_with("GET") || !line.contains("secrets")));
}

#[tokio::test]
async fn a_deleted_secret_is_put_back_and_rolls_the_pods() {
    let (result, _, scope) = applied(|_, _| {}, hint(true)).await;
    let applied = result.unwrap();
    assert_eq!(applied.secret_remade_uid.as_deref(), Some("uid-of-the-child"));
    assert_eq!(scope.memory.secret_remade_uid("uid-1").as_deref(), Some("uid-of-the-child"));
    let kinds: Vec<_> = applied.healed().iter().map(|child| child.kind.as_deref()).collect();
    assert_eq!(kinds, [Some("Secret")]);
    let set = applied.stateful_set.unwrap();
    let template = &set.spec.as_ref().unwrap().template;
    let annotations = template.metadata.as_ref().unwrap().annotations.as_ref().unwrap();
    assert!(annotations.values().any(|value| value == "uid-of-the-child"));
}

#[tokio::test]
async fn a_child_that_is_fought_over_holds_no_other_up() {
    let fight = |scope: &Scope, identity: &Identity| {
        let child = ("ServiceAccount", "cities");
        let meta = |version: u32| {
            let version = Some(version.to_string());
            Observed::of(&ObjectMeta { resource_version: version, ..ObjectMeta::default() })
        };
        let hash = hash(&service_account(identity)).unwrap();
        for version in 0..20 {
            let seen = meta(2 * version);
            let written = (Some(&seen), meta(2 * version + 1));
            scope.memory.applied(&identity.owner.uid, child, &hash, written, Instant::now());
        }
        scope.memory.deleted(&identity.owner.uid, child);
    };
    let (result, log, _) = applied(fight, hint(false)).await;
    let error = result.unwrap_err();
    assert!(matches!(error, StepError::Contended { kind: "ServiceAccount", .. }), "{error}");
    assert!(!wrote(&log, "/serviceaccounts"), "{log:?}");
    assert!(wrote(&log, "/configmaps") && wrote(&log, "/statefulsets"), "{log:?}");
}

fn service_account(identity: &Identity) -> ServiceAccount {
    let spec = HarperServerSpec::default();
    let server = validate(identity.clone(), &spec, &Dereferenced::default(), "image:1").unwrap();
    build::build(&server).service_account
}
