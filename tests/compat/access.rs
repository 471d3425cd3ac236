//! Logins, roles, tokens, cross-origin requests.

use crate::harness::client::basic;
use crate::harness::{Client, Home, Reply, server};
use crate::{Row, World, differs, same};
use serde_json::{Value, json};

/// The rows.
pub(crate) const ROWS: &[Row] = &[
    differs(
        "no credentials",
        "401 `Must login`, `WWW-Authenticate: Basic`",
        "the same, as problem details",
        |w| {
            let refused = w.anyone().get("/Dog/1").expect(401);
            assert!(refused.header("www-authenticate").starts_with("Basic"));
            assert_eq!(refused.error(), "Must login");
        },
    ),
    same("wrong user or password", |w| {
        for (user, password) in [("admin", "wrong"), ("nobody", "x")] {
            let refused = w.anyone().login(user, password).get("/Dog/1").expect(401);
            assert_eq!(refused.error(), "Login failed");
        }
    }),
    same("Basic of `:`", |w| drop(w.anyone().login("", "").get("/Dog/1").expect(401))),
    differs(
        "an unknown scheme; `bAsIc`",
        "anonymous",
        "401; schemes are case-insensitive (RFC 9110 §11.1)",
        |w| {
            let ask = |value: &str| {
                w.anyone().request("GET", "/Dog/").header("authorization", value).send()
            };
            ask("Nope abc").expect(401);
            let basic = basic(&format!("{}:{}", server::USERNAME, server::PASSWORD));
            ask(&basic.replace("Basic", "bAsIc")).expect(200);
        },
    ),
    same("Basic that cannot be decoded", |w| {
        let ask = w.anyone().request("GET", "/Dog/").header("authorization", "Basic %%%").send();
        assert_eq!(ask.expect(401).error(), "Invalid character");
    }),
    same("a Bearer token that is none", |w| {
        let ask = w.anyone().request("GET", "/Dog/").header("authorization", "Bearer junk").send();
        assert_eq!(ask.expect(401).error(), "invalid token");
    }),
    same("inactive", |w| {
        user(w, "sleeper", "reader");
        operation(w, &json!({"operation": "alter_user", "username": "sleeper", "active": false}))
            .expect(200);
        let refused = w.anyone().login("sleeper", "x").get("/Dog/1").expect(401);
        assert_eq!(refused.error(), "Cannot complete request: User is inactive");
    }),
    same("role without right", |w| {
        user(w, "reader", "reader");
        let reader = w.anyone().login("reader", "x");
        reader.get("/Dog/").expect(200);
        let refused = reader.put("/Dog/1", "{}").expect(403);
        assert_eq!(refused.error(), "Unauthorized access to resource");
        reader.get("/Owner/").expect(403);
    }),
    same("attribute rights, read", |w| {
        user(w, "partial", "partial");
        w.admin.put("/Dog/seen", r#"{"name":"Rex","age":3}"#).expect(204);
        let partial = w.anyone().login("partial", "x");
        assert_eq!(
            partial.get("/Dog/seen").expect(200).json(),
            json!({"id": "seen", "name": "Rex"})
        );
        let list = partial.get("/Dog/?name=Rex").expect(200).json();
        assert!(list[0].get("age").is_none(), "{list}");
    }),
    differs("attribute rights, write", "a forbidden attribute is written", "403", |w| {
        user(w, "partial", "partial");
        w.admin.put("/Dog/written", r#"{"name":"Rex","age":3}"#).expect(204);
        let partial = w.anyone().login("partial", "x");
        partial.patch("/Dog/written", r#"{"name":"Max"}"#).expect(204);
        partial.patch("/Dog/written", r#"{"age":4}"#).expect(403);
        assert_eq!(w.admin.get("/Dog/written").json()["age"], 3);
    }),
    same("create_authentication_tokens", |w| {
        let (token, _) = tokens(w);
        assert_eq!(token.split('.').count(), 3);
        bearer(&w.anyone(), "/Dog/", &token).expect(200);
    }),
    differs("a refresh token on REST", "404", "401", |w| {
        let (_, refresh) = tokens(w);
        bearer(&w.anyone(), "/Dog/", &refresh).expect(401);
    }),
    same("refresh_operation_token", |w| {
        let (_, refresh) = tokens(w);
        let ask = w.server.operations();
        let ask = ask.request("POST", "/").header("authorization", &format!("Bearer {refresh}"));
        let fresh =
            ask.json(r#"{"operation":"refresh_operation_token"}"#).send().expect(200).json();
        bearer(&w.anyone(), "/Dog/", fresh["operation_token"].as_str().unwrap()).expect(200);
    }),
    differs(
        "login",
        "`SameSite=None; Secure` on plain HTTP too; expires in the year 8307",
        "`SameSite=Lax`, `Secure` over TLS alone; the cookie lives as long as the session",
        |w| {
            let body = json!({"operation": "login", "username": server::USERNAME, "password": server::PASSWORD});
            let reply = w.server.operations().post("/", &body.to_string()).expect(200);
            assert_eq!(reply.json()["message"], "Login successful");
            let cookie = reply.header("set-cookie");
            assert!(cookie.contains("-hdb-session=") && cookie.contains("HttpOnly"), "{cookie}");
            assert!(!cookie.contains("Secure"), "{cookie}");
        },
    ),
    same("logout", |w| {
        let body = json!({"operation": "login", "username": server::USERNAME, "password": server::PASSWORD});
        let reply = w.server.operations().post("/", &body.to_string()).expect(200);
        let cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
        let call = |name: &str| {
            let client = w.server.operations();
            let ask = client.request("POST", "/").header("cookie", &cookie);
            ask.json(&json!({ "operation": name }).to_string()).send()
        };
        call("user_info").expect(200);
        assert_eq!(call("logout").expect(200).json()["message"], "Logout successful");
        call("user_info").expect(401);
    }),
    same("authorizeLocal", |_| {
        let home = Home::with_schema("type T @table @export { id: ID @primaryKey }");
        let server = home.launch().start();
        server.client().put("/T/1", "{}").expect(204);
        server.client().login("admin", "wrong").get("/T/1").expect(401);
    }),
    differs(
        "http.mtls",
        "a trusted certificate whose common name is no user's is let in, without a role",
        "401, unless there are other credentials",
        |_| {
            // the handshakes themselves are in the tests of TLS
            let home = Home::empty();
            let launch = home.launch().set("http.securePort=127.0.0.1:0");
            let mut server = launch.set("http.mtls=true").start();
            assert!(server.is_running());
        },
    ),
    differs(
        "cross-origin requests",
        "listed origins alone, always with credentials, without `Vary: Origin`",
        "an open list admits every origin without credentials; `Vary` names `Origin`",
        |w| {
            let from = |origin: &str| {
                w.anyone().request("GET", "/app.js").header("origin", origin).send().expect(200)
            };
            let listed = from("https://listed.example");
            assert_eq!(listed.header("access-control-allow-origin"), "https://listed.example");
            assert_eq!(listed.header("access-control-allow-credentials"), "true");
            assert!(listed.header("vary").contains("Origin"));
            assert!(!from("https://other.example").has("access-control-allow-origin"));
        },
    ),
    same("preflight", |w| {
        let ask = w.anyone();
        let ask = ask.request("OPTIONS", "/Dog/1").header("origin", "https://listed.example");
        let reply = ask.header("access-control-request-method", "PUT").send().expect(200);
        assert!(reply.header("access-control-allow-methods").contains("PATCH"));
        assert_eq!(
            reply.header("access-control-allow-headers"),
            "Accept, Content-Type, Authorization"
        );
        let ask = w.anyone();
        ask.request("OPTIONS", "/Dog/1")
            .header("origin", "https://other.example")
            .send()
            .expect(204);
    }),
];

fn operation(w: &World, body: &Value) -> Reply {
    let admin = w.server.operations().login(server::USERNAME, server::PASSWORD);
    admin.post("/", &body.to_string())
}

/// A user with the password `x`; one that is there already is as good.
fn user(w: &World, name: &str, role: &str) {
    let body = json!({"operation": "add_user", "username": name, "password": "x", "role": role, "active": true});
    let status = operation(w, &body).status;
    assert!(status == 200 || status == 409, "{status}");
}

/// An operation token and a refresh token of the administrator.
fn tokens(w: &World) -> (String, String) {
    let body = json!({
        "operation": "create_authentication_tokens",
        "username": server::USERNAME,
        "password": server::PASSWORD,
    });
    let made = w.server.operations().post("/", &body.to_string()).expect(200).json();
    let text = |name: &str| made[name].as_str().unwrap().to_owned();
    (text("operation_token"), text("refresh_token"))
}

fn bearer(client: &Client, path: &str, token: &str) -> Reply {
    client.request("GET", path).header("authorization", &format!("Bearer {token}")).send()
}
