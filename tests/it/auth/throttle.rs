//! How fast passwords may be tried, and the log of who tried.

use super::guarded;
use super::operations::{call, start_with};
use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Home, Server};
use serde_json::{Value, json};

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey }";

fn try_password(server: &Server, name: &str, password: &str) -> u16 {
    server.client().login(name, password).get("/Dog/").status
}

#[test]
fn too_many_wrong_passwords_are_answered_with_429() {
    let pairs = ["authentication.throttle.attempts=3", "authentication.throttle.window=1h"];
    let (server, _) = start_with(SCHEMA, &pairs);
    // from here the administrator is known
    assert_eq!(try_password(&server, USERNAME, PASSWORD), 200);
    for number in 0..3 {
        assert_eq!(try_password(&server, USERNAME, &format!("guess {number}")), 401);
    }
    let refused = server.client().login(USERNAME, "guess 4").get("/Dog/").expect(429);
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!((1..=3600).contains(&wait), "{refused}");
    // what is known to be wrong or right is not tried again
    assert_eq!(try_password(&server, USERNAME, "guess 0"), 401);
    assert_eq!(try_password(&server, USERNAME, PASSWORD), 200);
    let body = json!({"username": USERNAME, "password": "guess 5"});
    call(&server.operations(), "login", body.clone()).expect(429);
    call(&server.operations(), "create_authentication_tokens", body).expect(429);
    assert_eq!(server.metric(r#"harper_rejected_total{reason="login_attempts"}"#), 3.0);
}

#[test]
fn an_equal_wrong_password_is_hashed_once() {
    let server = guarded(&Home::with_schema(SCHEMA)).start();
    for _ in 0..20 {
        assert_eq!(try_password(&server, USERNAME, "wrong"), 401);
    }
    assert_eq!(server.metric("harper_credentials_verified_total"), 1.0);
    assert_eq!(server.metric("harper_credentials_refused_total"), 20.0);
}

#[test]
fn events_of_authentication_are_logged_where_asked_for() {
    let logged = |format: &str, pairs: &[&str]| {
        let home = Home::with_schema(SCHEMA);
        let launch = pairs.iter().fold(guarded(&home), |launch, pair| launch.set(pair));
        let server = launch.set(&format!("logging.format={format}")).start();
        try_password(&server, USERNAME, PASSWORD);
        try_password(&server, "ann", "a secret guess");
        let home_log = server.admin().get("/readyz").status;
        assert_eq!(home_log, 200);
        server
    };
    let both =
        ["logging.auditAuthEvents.logFailed=true", "logging.auditAuthEvents.logSuccessful=true"];
    let server = logged("text", &both);
    let line = server.line("\"failure\"");
    let (head, record) = line.split_once("[auth-event]: ").unwrap();
    assert!(head.contains("[info]"), "{line}");
    let record: Value = serde_json::from_str(record).unwrap();
    let expected = json!({
        "username": "ann", "status": "failure", "type": "authentication", "originating_ip": "127.0.0.1",
        "request_method": "GET", "path": "/Dog/", "auth_strategy": "Basic",
    });
    assert_eq!(record, expected);
    server.line("\"success\"");
    assert!(!server.log().contains("secret guess"));
    let server = logged("json", &both);
    let line: Value = serde_json::from_str(&server.line("\"failure\"")).unwrap();
    assert_eq!((&line["target"], &line["username"]), (&json!("auth-event"), &json!("ann")));
    let server = logged("text", &[]);
    assert!(!server.log().contains("auth-event"));
}
