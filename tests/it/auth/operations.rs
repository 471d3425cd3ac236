//! The Operations API: its listener, its calls, users and roles.

use super::guarded;
use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Client, Home, Reply, Server};
use serde_json::{Value, json};

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey name: String }";

/// A server with the Operations API on a port of its own, and a super user's client of it.
pub(super) fn start() -> (Server, Client) {
    start_with(SCHEMA, &[])
}

pub(super) fn start_with(schema: &str, pairs: &[&str]) -> (Server, Client) {
    let mut launch =
        guarded(&Home::with_schema(schema)).set("operationsApi.network.port=127.0.0.1:0");
    for pair in pairs {
        launch = launch.set(pair);
    }
    let server = launch.start();
    let admin = server.operations().login(USERNAME, PASSWORD);
    (server, admin)
}

/// Calls an operation.
#[track_caller]
pub(super) fn call(client: &Client, name: &str, arguments: Value) -> Reply {
    let mut body = arguments;
    body["operation"] = json!(name);
    client.post("/", &body.to_string())
}

#[test]
fn the_listener_knows_calls_and_its_health_and_nothing_else() {
    let (server, admin) = start();
    let anyone = server.operations();
    let health = anyone.get("/health").expect(200);
    assert_eq!(health.text(), "HarperDB is running.");
    assert!(health.header("content-type").starts_with("text/plain"));
    assert_eq!(admin.get("/Dog/").expect(404).error(), "Not found");
    assert_eq!(anyone.get("/").expect(405).header("allow"), "POST, OPTIONS");
    anyone.request("OPTIONS", "/").send().expect(204);
    server.client().login(USERNAME, PASSWORD).get("/health").expect(404);
    let on_application = server.client().login(USERNAME, PASSWORD);
    assert!(call(&on_application, "list_users", json!({})).status >= 400);
    let ready = server.admin().get("/readyz?verbose").expect(200).text();
    assert!(ready.contains("listener"), "{ready}");
}

#[test]
fn a_call_that_cannot_be_read_is_refused_with_the_reason() {
    let (server, admin) = start();
    let needs = "Request body must include an 'operation' property.";
    for body in ["{}", "[]", "\"x\"", "null", "{\"operation\":\"\"}", "{\"operation\":3}"] {
        assert!(
            admin.post("/", body).expect(400).error().contains(needs) || body == "[]",
            "{body}"
        );
    }
    admin.post("/", "{\"operation\":").expect(400);
    assert_eq!(call(&admin, "nope", json!({})).expect(400).error(), "Operation 'nope' not found");
    let text = admin.request("POST", "/").body("text/plain", "{\"operation\":\"user_info\"}");
    text.send().expect(415);
    let anyone = server.operations();
    for name in ["list_users", "add_role", "user_info"] {
        let refused = call(&anyone, name, json!({})).expect(401);
        assert_eq!(refused.error(), "Must login", "{name}");
        assert!(refused.header("www-authenticate").starts_with("Basic"));
    }
    let wrong = server.operations().login(USERNAME, "wrong");
    assert_eq!(call(&wrong, "user_info", json!({})).expect(401).error(), "Login failed");
}

#[test]
fn a_call_may_be_cbor_and_so_may_its_answer() {
    let (_server, admin) = start();
    let mut body = Vec::new();
    ciborium::into_writer(&json!({"operation": "user_info"}), &mut body).unwrap();
    let ask = admin.request("POST", "/").body("application/cbor", body);
    let reply = ask.header("accept", "application/cbor").send().expect(200);
    let user: Value = ciborium::from_reader(reply.body.as_slice()).unwrap();
    assert_eq!(user["username"], USERNAME);
}

#[test]
fn a_foreign_page_cannot_act_with_passwords_that_a_browser_adds() {
    let (_server, admin) = start();
    let add =
        json!({"operation": "add_user", "username": "m", "password": "x", "role": "super_user"});
    let ask = |origin: &str, kind: &str| {
        let ask = admin.request("POST", "/").header("origin", origin);
        ask.body(kind, add.to_string()).send()
    };
    for kind in ["", "text/plain"] {
        let refused = ask("https://evil.example", kind);
        assert!(refused.status == 403 || refused.status == 415, "{refused}");
    }
    // a page has to ask before it may send this type
    ask("https://evil.example", "application/json").expect(200);
}

#[test]
fn a_call_is_small() {
    let (_server, admin) = start();
    let body = json!({"operation": "user_info", "more": "x".repeat(300_000)}).to_string();
    assert!(admin.post("/", &body).expect(413).error().contains("larger than"));
}

#[test]
fn users_are_made_changed_and_removed() {
    let (server, admin) = start();
    let role =
        json!({"role": "reader", "permission": {"data": {"tables": {"Dog": {"read": true}}}}});
    let made = call(&admin, "add_role", role.clone()).expect(200).json();
    assert_eq!((&made["id"], &made["role"]), (&json!("reader"), &json!("reader")));
    assert_eq!(made["permission"]["data"]["tables"]["Dog"]["insert"], json!(false));
    assert!(call(&admin, "add_role", role).expect(409).error().contains("already exists"));
    let ann = json!({"username": "ann", "password": "secret", "role": "reader", "active": true});
    let added = call(&admin, "add_user", ann.clone()).expect(200).json();
    assert_eq!(added["message"], "ann successfully added");
    call(&admin, "add_user", ann).expect(409);
    let users = call(&admin, "list_users", json!({})).expect(200);
    assert!(!users.text().contains("argon2") && !users.text().contains("secret"), "{users}");
    assert_eq!(users.json().as_array().unwrap().len(), 2);
    assert_eq!(users.header("cache-control"), "no-store");
    let as_ann = || server.operations().login("ann", "secret");
    let info = call(&as_ann(), "user_info", json!({})).expect(200).json();
    assert_eq!((&info["username"], &info["role"]["role"]), (&json!("ann"), &json!("reader")));
    let refused = call(&as_ann(), "list_users", json!({})).expect(403);
    assert!(refused.error().contains("restricted to 'super_user'"), "{refused}");
    server.client().login("ann", "secret").get("/Dog/").expect(200);
    // a change is seen at once, though the credentials are remembered
    call(&admin, "alter_user", json!({"username": "ann", "active": false})).expect(200);
    let inactive = server.client().login("ann", "secret").get("/Dog/").expect(401);
    assert_eq!(inactive.error(), "Cannot complete request: User is inactive");
    call(&admin, "alter_user", json!({"username": "ann", "active": true, "password": "new"}))
        .expect(200);
    server.client().login("ann", "secret").get("/Dog/").expect(401);
    server.client().login("ann", "new").get("/Dog/").expect(200);
    assert!(
        call(&admin, "drop_role", json!({"id": "reader"})).expect(409).error().contains("1 user")
    );
    let gone = call(&admin, "drop_user", json!({"username": "ann"})).expect(200).json();
    assert_eq!(gone["message"], "ann successfully deleted");
    server.client().login("ann", "new").get("/Dog/").expect(401);
    let gone = call(&admin, "drop_role", json!({"id": "reader"})).expect(200).json();
    assert_eq!(gone["message"], "reader successfully deleted");
    // and all of it is kept
    let home = server.stop();
    let server = guarded(&home).set("operationsApi.network.port=127.0.0.1:0").start();
    let admin = server.operations().login(USERNAME, PASSWORD);
    assert_eq!(
        call(&admin, "list_roles", json!({})).expect(200).json().as_array().unwrap().len(),
        1
    );
}

#[test]
fn wrong_arguments_are_named() {
    let (_server, admin) = start();
    for (name, arguments, status, part) in [
        ("add_user", json!({"password": "x", "role": "super_user"}), 400, "'username' is required"),
        ("add_user", json!({"username": "x", "role": "super_user"}), 400, "'password' is required"),
        (
            "add_user",
            json!({"username": "x", "password": "", "role": "super_user"}),
            400,
            "password is empty",
        ),
        (
            "add_user",
            json!({"username": "x:y", "password": "x", "role": "super_user"}),
            400,
            "colon",
        ),
        (
            "add_user",
            json!({"username": "x", "password": "x", "role": "nope"}),
            404,
            "nope role not found",
        ),
        (
            "add_user",
            json!({"username": 3, "password": "x", "role": "nope"}),
            400,
            "'username' must be a string",
        ),
        (
            "add_user",
            json!({"username": "x", "password": "x", "role": "super_user", "active": "yes"}),
            400,
            "'active'",
        ),
        ("alter_user", json!({"username": "nope", "active": true}), 404, "nope does not exist"),
        ("alter_user", json!({"username": USERNAME}), 400, "Nothing to change"),
        (
            "alter_user",
            json!({"username": USERNAME, "active": false}),
            409,
            "last active super user",
        ),
        ("drop_user", json!({"username": USERNAME}), 409, "last active super user"),
        ("add_role", json!({"role": "r"}), 400, "'permission' is required"),
        (
            "add_role",
            json!({"role": "r", "permission": {"data": {"tables": {"Dog": {"read": 1}}}}}),
            400,
            "data.Dog.read",
        ),
        ("alter_role", json!({"id": "nope", "permission": {}}), 404, "Role not found"),
        ("alter_role", json!({"id": "super_user", "permission": {}}), 409, "needs it"),
        ("drop_role", json!({"id": "nope"}), 404, "Role not found"),
    ] {
        let refused = call(&admin, name, arguments.clone()).expect(status);
        assert!(refused.error().contains(part), "{name} {arguments}: {refused}");
    }
}

#[test]
fn application_and_operations_can_share_a_port() {
    let home = Home::with_schema(SCHEMA);
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let pair = |key: &str| format!("{key}=127.0.0.1:{port}");
    let server =
        guarded(&home).set(&pair("http.port")).set(&pair("operationsApi.network.port")).start();
    let client = server.client().login(USERNAME, PASSWORD);
    client.put("/Dog/1", "{}").expect(204);
    assert_eq!(call(&client, "user_info", json!({})).expect(200).json()["username"], USERNAME);
    client.get("/Dog/1").expect(200);
    client.get("/health").expect(404);
}

#[test]
fn pages_of_listed_origins_may_call() {
    let list = ["operationsApi.network.corsAccessList=[\"https://studio.example\"]"];
    let (server, _) = start_with(SCHEMA, &list);
    let anyone = server.operations();
    let ask = |origin: &str| {
        let request = anyone.request("OPTIONS", "/").header("origin", origin);
        request.header("access-control-request-method", "POST").send()
    };
    let listed = ask("https://studio.example").expect(200);
    assert_eq!(listed.header("access-control-allow-origin"), "https://studio.example");
    assert!(!ask("https://other.example").has("access-control-allow-origin"));
    let application = server.client();
    let ask = application.request("OPTIONS", "/Dog/").header("origin", "https://other.example");
    let of_application = ask.header("access-control-request-method", "GET").send();
    assert_eq!(of_application.header("access-control-allow-origin"), "*");
}
