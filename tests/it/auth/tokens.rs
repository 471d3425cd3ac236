//! Bearer tokens.

use super::guarded;
use super::operations::{call, start, start_with};
use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Client, Reply, Server, eventually};
use base64::Engine;
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;

fn bearer(client: &Client, path: &str, token: &str) -> Reply {
    client.request("GET", path).header("authorization", &format!("Bearer {token}")).send()
}

fn claims(token: &str) -> Value {
    let part = token.split('.').nth(1).unwrap();
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

fn tokens(server: &Server) -> (String, String) {
    let body = json!({"username": USERNAME, "password": PASSWORD});
    let made = call(&server.operations(), "create_authentication_tokens", body).expect(200).json();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("operation_token"), text("refresh_token"))
}

#[test]
fn a_token_stands_for_its_user() {
    let (server, admin) = start();
    let (operation, refresh) = tokens(&server);
    let said = claims(&operation);
    assert_eq!(
        (&said["username"], &said["super_user"], &said["sub"]),
        (&json!(USERNAME), &json!(true), &json!("operation"))
    );
    assert_eq!(said["exp"].as_u64().unwrap() - said["iat"].as_u64().unwrap(), 86_400);
    let said = claims(&refresh);
    assert_eq!(said["sub"], "refresh");
    assert_eq!(said["exp"].as_u64().unwrap() - said["iat"].as_u64().unwrap(), 30 * 86_400);
    let client = server.client();
    bearer(&client, "/Dog/", &operation).expect(200);
    let junk = bearer(&client, "/Dog/", "junk").expect(401);
    assert_eq!(junk.error(), "invalid token");
    assert!(junk.header("www-authenticate").starts_with("Bearer"), "{junk}");
    bearer(&client, "/Dog/", &refresh).expect(401);
    bearer(&client, "/Dog/", &format!("{operation}x")).expect(401);
    // the caller's own, without a password in the body
    let own = call(&admin, "create_authentication_tokens", json!({})).expect(200).json();
    bearer(&client, "/Dog/", own["operation_token"].as_str().unwrap()).expect(200);
    let anyone = server.operations();
    assert_eq!(
        call(&anyone, "create_authentication_tokens", json!({})).expect(401).error(),
        "Must login"
    );
    let wrong = json!({"username": USERNAME, "password": "wrong"});
    assert_eq!(
        call(&anyone, "create_authentication_tokens", wrong).expect(401).error(),
        "Login failed"
    );
    assert!(!server.log().contains(&operation));
}

#[test]
fn a_refresh_token_is_good_for_another_operation_token_alone() {
    let (server, _) = start();
    let (operation, refresh) = tokens(&server);
    let anyone = server.operations();
    let ask = |token: Option<&str>, body: Value| {
        let mut body = body;
        body["operation"] = json!("refresh_operation_token");
        let ask = anyone.request("POST", "/").json(&body.to_string());
        match token {
            Some(token) => ask.header("authorization", &format!("Bearer {token}")).send(),
            None => ask.send(),
        }
    };
    for fresh in [ask(Some(&refresh), json!({})), ask(None, json!({"refresh_token": refresh}))] {
        let fresh = fresh.expect(200).json();
        bearer(&server.client(), "/Dog/", fresh["operation_token"].as_str().unwrap()).expect(200);
    }
    assert_eq!(ask(Some(&operation), json!({})).expect(400).error(), "'refresh_token' is required");
    assert_eq!(ask(None, json!({})).expect(400).error(), "'refresh_token' is required");
    assert_eq!(ask(None, json!({"refresh_token": operation})).expect(401).error(), "invalid token");
    ask(Some("junk"), json!({})).expect(401);
    let other = anyone.request("POST", "/").json(r#"{"operation":"user_info"}"#);
    other.header("authorization", &format!("Bearer {refresh}")).send().expect(401);
}

#[test]
fn a_token_ends_with_its_time_its_user_and_its_password() {
    let (server, admin) = start_with(
        "type Dog @table @export { id: ID @primaryKey }",
        &["authentication.operationTokenTimeout=0", "authentication.cacheTTL=1h"],
    );
    let client = server.client();
    let (ended, _) = tokens(&server);
    bearer(&client, "/Dog/", &ended);
    let refused = eventually("the token to end", || {
        let reply = bearer(&client, "/Dog/", &ended);
        (reply.status == 401).then_some(reply)
    });
    assert_eq!(refused.error(), "token expired");
    let (_, refresh) = tokens(&server);
    let add = json!({"username": "ann", "password": "x", "role": "super_user"});
    call(&admin, "add_user", add).expect(200);
    let password = json!({"username": USERNAME, "password": "another one"});
    call(&admin, "alter_user", password).expect(200);
    let again =
        call(&server.operations(), "refresh_operation_token", json!({"refresh_token": refresh}));
    assert_eq!(again.expect(401).error(), "invalid token");
}

#[test]
fn keys_are_kept_and_can_be_replaced() {
    let (server, _) = start();
    let (old, _) = tokens(&server);
    let home = server.stop();
    let path = home.path("root/keys/.jwtPrivate.key");
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let launch = || guarded(&home).set("operationsApi.network.port=127.0.0.1:0");
    let server = launch().start();
    bearer(&server.client(), "/Dog/", &old).expect(200);
    server.stop();
    // the key pair of another installation takes over; the old public key stays for a while
    let other = start().0.stop();
    let private = other.path("root/keys/.jwtPrivate.key").display().to_string();
    let public = home.path("root/keys/.jwtPublic.key").display().to_string();
    let with_new = || launch().set(&format!("authentication.jwt.privateKey={private}"));
    let server = with_new().set(&format!("authentication.jwt.publicKeys=[\"{public}\"]")).start();
    bearer(&server.client(), "/Dog/", &old).expect(200);
    let (new, _) = tokens(&server);
    server.stop();
    let server = with_new().start();
    bearer(&server.client(), "/Dog/", &old).expect(401);
    bearer(&server.client(), "/Dog/", &new).expect(200);
    server.stop();
    let broken =
        home.write("broken.pem", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n");
    let failed =
        launch().set(&format!("authentication.jwt.privateKey={}", broken.display())).fail();
    let message = crate::harness::server::text(&failed.stderr);
    assert!(!failed.status.success() && message.contains("broken.pem"), "{message}");
}
