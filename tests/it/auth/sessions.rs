//! Cookie sessions.

use super::operations::{call, start, start_with};
use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Client, Reply, Server};
use serde_json::json;

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey name: String }";

fn login(client: &Client, headers: &[(&'static str, &str)]) -> Reply {
    let body = json!({"operation": "login", "username": USERNAME, "password": PASSWORD});
    let ask = client.request("POST", "/").json(&body.to_string());
    headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).send()
}

/// Name and value of the cookie that an answer sets.
fn cookie(reply: &Reply) -> (String, String) {
    let pair = reply.header("set-cookie").split(';').next().unwrap();
    let (name, value) = pair.split_once('=').unwrap();
    (name.to_owned(), value.to_owned())
}

fn info(client: &Client, headers: &[(&'static str, &str)]) -> Reply {
    let ask = client.request("POST", "/").json(r#"{"operation":"user_info"}"#);
    headers.iter().fold(ask, |ask, (name, value)| ask.header(name, value)).send()
}

#[test]
fn a_session_lasts_from_login_to_logout() {
    let (server, _) = start();
    let client = server.operations();
    let reply = login(&client, &[]).expect(200);
    assert_eq!(reply.json()["message"], "Login successful");
    let set = reply.header("set-cookie");
    assert!(set.contains("; Path=/; Expires=") && set.contains("; HttpOnly"), "{set}");
    assert!(
        !set.contains("Secure") && set.contains("SameSite=Lax") && !reply.has("x-hdb-session"),
        "{set}"
    );
    let (name, id) = cookie(&reply);
    assert!(name.starts_with("127_0.0.1") && name.ends_with("-hdb-session"), "{name}");
    assert!(id.len() >= 32);
    let pair = format!("other=1; {name}={id}");
    for _ in 0..2 {
        assert_eq!(info(&client, &[("cookie", &pair)]).expect(200).json()["username"], USERNAME);
    }
    for wrong in
        [format!("{name}={id}x"), format!("{name}="), format!("x{name}={id}"), "junk".to_owned()]
    {
        info(&client, &[("cookie", &wrong)]).expect(401);
    }
    let body = json!({"operation": "login", "username": USERNAME, "password": "wrong"});
    let refused = client.post("/", &body.to_string()).expect(401);
    assert!(refused.error() == "Login failed" && !refused.has("set-cookie"));
    let out = client.request("POST", "/").header("cookie", &pair).json(r#"{"operation":"logout"}"#);
    let out = out.send().expect(200);
    assert_eq!(out.json()["message"], "Logout successful");
    assert!(out.header("set-cookie").contains("01 Jan 1970"), "{out}");
    info(&client, &[("cookie", &pair)]).expect(401);
    assert!(!server.log().contains(&id));
}

#[test]
fn login_gives_a_new_id_whatever_came() {
    let (server, _) = start();
    let client = server.operations();
    let (name, first) = cookie(&login(&client, &[]).expect(200));
    let planted = format!("{name}=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA");
    let (_, second) = cookie(&login(&client, &[("cookie", &planted)]).expect(200));
    assert!(!planted.ends_with(&second) && first != second);
    info(&client, &[("cookie", &planted)]).expect(401);
    // the session before is over
    let old = format!("{name}={first}");
    login(&client, &[("cookie", &old)]).expect(200);
    info(&client, &[("cookie", &old)]).expect(401);
}

#[test]
fn a_session_outlives_a_restart_but_not_its_time_nor_its_password() {
    let (server, _) = start_with(SCHEMA, &["authentication.cookie.expires=3s"]);
    let (name, id) = cookie(&login(&server.operations(), &[]).expect(200));
    crate::harness::eventually("the session to end", || {
        let reply = info(&server.operations(), &[("cookie", &format!("{name}={id}"))]);
        (reply.status == 401).then_some(())
    });
    let (server, admin) = start();
    let on = |server: &Server, host: &str, id: &str| {
        let name = host.replacen('.', "_", 1).replace(':', "_");
        let pair = format!("{name}-hdb-session={id}");
        info(&server.operations(), &[("host", host), ("cookie", &pair)]).status
    };
    let (_, id) = cookie(&login(&server.operations(), &[("host", "a.example")]).expect(200));
    assert_eq!(on(&server, "a.example", &id), 200);
    let add = json!({"username": "ann", "password": "x", "role": "super_user"});
    call(&admin, "add_user", add).expect(200);
    assert_eq!(on(&server, "a.example", &id), 200, "another user has changed");
    let home = server.stop();
    let server = super::guarded(&home).set("operationsApi.network.port=127.0.0.1:0").start();
    assert_eq!(on(&server, "a.example", &id), 200);
    let admin = server.operations().login("ann", "x");
    call(&admin, "alter_user", json!({"username": USERNAME, "password": "new"})).expect(200);
    assert_eq!(on(&server, "a.example", &id), 401);
}

#[test]
fn a_foreign_page_cannot_act_with_its_visitors_session() {
    let list = [
        "http.corsAccessList=[\"https://app.example\"]",
        "operationsApi.network.corsAccessList=[\"https://app.example\"]",
    ];
    let (server, _) = start_with(SCHEMA, &list);
    let (operations, client) = (server.operations(), server.client());
    let at = |host: &'static str| [("host", host)];
    let (_, id) = cookie(&login(&operations, &at("api.example")).expect(200));
    let all = format!(
        "api_example-hdb-session={id}; evil_example-hdb-session={id}; app_example-hdb-session={id}"
    );
    let put = |origin: Option<&str>, site: Option<&str>| {
        let ask = client
            .request("PUT", "/Dog/1")
            .header("host", "api.example")
            .header("cookie", &all)
            .json("{}");
        let ask = origin.map_or(
            client
                .request("PUT", "/Dog/1")
                .header("host", "api.example")
                .header("cookie", &all)
                .json("{}"),
            |origin| ask.header("origin", origin),
        );
        match site {
            Some(site) => ask.header("sec-fetch-site", site).send(),
            None => ask.send(),
        }
    };
    put(None, None).expect(204);
    put(Some("http://api.example"), Some("same-origin")).expect(204);
    put(Some("https://app.example"), Some("cross-site")).expect(204);
    assert!(put(Some("https://evil.example"), None).expect(403).error().contains("origin"));
    put(Some("null"), None).expect(401);
    put(None, Some("cross-site")).expect(403);
    // reading is safe: the page cannot see the answer
    let get = client.request("GET", "/Dog/1").header("host", "api.example").header("cookie", &all);
    let read = get.header("sec-fetch-site", "cross-site").send().expect(200);
    assert_eq!(read.header("cache-control"), "private", "no shared cache keeps it");
    // and nobody is logged in from there
    login(&operations, &[("host", "api.example"), ("origin", "https://evil.example")]).expect(403);
}

#[test]
fn sessions_have_their_settings() {
    let (server, _) = start_with(SCHEMA, &["authentication.enableSessions=false"]);
    assert!(login(&server.operations(), &[]).expect(400).error().contains("enableSessions"));
    let domains = "authentication.cookie.domains=[\".example.com\"]";
    let (server, _) = start_with(SCHEMA, &[domains, "authentication.sessionsMax=2"]);
    let client = server.operations();
    let reply = login(&client, &[("host", "api.example.com")]).expect(200);
    assert!(reply.header("set-cookie").contains("; Domain=example.com"), "{reply}");
    login(&client, &[]).expect(200);
    login(&client, &[]).expect(503);
    assert_eq!(server.metric(r#"harper_rejected_total{reason="sessions"}"#), 1.0);
}

#[test]
fn one_user_cannot_take_all_the_sessions() {
    let limits = ["authentication.sessionsMax=3", "authentication.sessionsOfUserMax=2"];
    let (server, admin) = start_with(SCHEMA, &limits);
    let add = json!({"username": "ann", "password": "x", "role": "super_user"});
    call(&admin, "add_user", add).expect(200);
    let client = server.operations();
    let ann = json!({"operation": "login", "username": "ann", "password": "x"}).to_string();
    let ids: Vec<_> = (0..5).map(|_| cookie(&client.post("/", &ann).expect(200))).collect();
    login(&client, &[]).expect(200);
    let is_open = |(name, id): &(String, String)| {
        info(&client, &[("cookie", &format!("{name}={id}"))]).status == 200
    };
    assert_eq!(ids.iter().filter(|id| is_open(id)).count(), 2);
}

#[test]
fn a_logout_that_ends_nothing_writes_nothing() {
    let (server, _) = start();
    let client = server.operations();
    let (name, id) = cookie(&login(&client, &[]).expect(200));
    let pair = format!("{name}={id}");
    info(&client, &[("cookie", &pair)]).expect(200);
    let commits = || server.metric(r#"harper_store_commits_total{database="system"}"#);
    let before = commits();
    for junk in ["junk", "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"] {
        let out = client.request("POST", "/").header("cookie", &format!("{name}={junk}"));
        out.json(r#"{"operation":"logout"}"#).send().expect(200);
    }
    assert_eq!(commits(), before);
}
