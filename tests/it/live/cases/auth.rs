//! `authentication.*` beyond passwords, and the Operations API: throttling, sessions, tokens, the log of events.

use super::{Case, Live};
use crate::auth::oidc::{Issuer, Signer};
use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Home, Reply, Wire, eventually};
use base64::Engine;
use serde_json::{Value, json};

pub(super) const CASES: &[Case] = &[
    ("authentication.enableSessions", enable_sessions),
    ("authentication.cookie.expires", cookie_expires),
    ("authentication.cookie.domains", cookie_domains),
    ("authentication.sessionsMax", sessions_max),
    ("authentication.sessionsOfUserMax", sessions_of_user_max),
    ("authentication.jwt.privateKey", private_key),
    ("authentication.jwt.publicKeys", public_keys),
    ("authentication.oidc", oidc),
    ("authentication.oidcRefresh", oidc_refresh),
    ("authentication.oidcLeeway", oidc_leeway),
    ("authentication.operationTokenTimeout", |live| {
        token_life(live, "authentication.operationTokenTimeout", "operation_token")
    }),
    ("authentication.refreshTokenTimeout", |live| {
        token_life(live, "authentication.refreshTokenTimeout", "refresh_token")
    }),
    ("operationsApi.network.headersTimeout", operations_headers_timeout),
    ("operationsApi.network.keepAliveTimeout", operations_keep_alive_timeout),
    ("operationsApi.network.timeout", operations_timeout),
    ("operationsApi.network.cors", operations_cors),
    ("operationsApi.network.corsAccessList", operations_cors_access_list),
    ("logging.auditAuthEvents.logFailed", |live| {
        logs_events(live, "logging.auditAuthEvents.logFailed", "not the password")
    }),
    ("logging.auditAuthEvents.logSuccessful", |live| {
        logs_events(live, "logging.auditAuthEvents.logSuccessful", PASSWORD)
    }),
];

/// The counts of wrong passwords outlive a change of their limits.
pub(super) const OWN: &[Case] = &[
    ("authentication.throttle.attempts", throttle_attempts),
    ("authentication.throttle.window", throttle_window),
    ("authentication.throttle.entriesMax", throttle_entries_max),
];

fn login(live: &Live) -> Reply {
    let body = json!({ "operation": "login", "username": USERNAME, "password": PASSWORD });
    live.server.operations().post("/", &body.to_string())
}

fn enable_sessions(live: &Live) {
    login(live).expect(200);
    live.set(&[("authentication.enableSessions", json!(false))]);
    eventually("logins to be refused", || (login(live).status == 400).then_some(()));
}

fn cookie_expires(live: &Live) {
    let strangers = ("authentication.authorizeLocal", json!(false));
    live.set(&[("authentication.cookie.expires", json!(500)), strangers]);
    eventually("a session to end early", || {
        let reply = login(live).expect(200);
        let cookie = reply.header("set-cookie").split(';').next().unwrap().to_owned();
        std::thread::sleep(std::time::Duration::from_millis(600));
        let body = r#"{"operation":"user_info"}"#;
        let client = live.server.operations();
        let ask = client.request("POST", "/").header("cookie", &cookie).json(body);
        (ask.send().status == 401).then_some(())
    });
}

fn cookie_domains(live: &Live) {
    let domain = || {
        let body = json!({ "operation": "login", "username": USERNAME, "password": PASSWORD });
        let client = live.server.operations();
        let ask = client.request("POST", "/").header("host", "a.example.com");
        let reply = ask.json(&body.to_string()).send().expect(200);
        reply.header("set-cookie").contains("Domain=")
    };
    assert!(!domain());
    live.set(&[("authentication.cookie.domains", json!([".example.com"]))]);
    eventually("the cookie to name its domain", || domain().then_some(()));
}

fn sessions_max(live: &Live) {
    login(live).expect(200);
    live.set(&[("authentication.sessionsMax", json!(1))]);
    eventually("the limit", || (login(live).status == 503).then_some(()));
}

fn sessions_of_user_max(live: &Live) {
    let strangers = ("authentication.authorizeLocal", json!(false));
    live.set(std::slice::from_ref(&strangers));
    let session = || {
        let reply = login(live).expect(200);
        reply.header("set-cookie").split(';').next().unwrap().to_owned()
    };
    let is_open = |cookie: &str| {
        let client = live.server.operations();
        let ask = client.request("POST", "/").header("cookie", cookie);
        ask.json(r#"{"operation":"user_info"}"#).send().status == 200
    };
    let first = session();
    session();
    assert!(is_open(&first));
    live.set(&[strangers, ("authentication.sessionsOfUserMax", json!(1))]);
    session();
    assert!(!is_open(&first));
}

/// A key pair of RSA as the server makes it, as paths of the private and the public part.
fn key_pair(live: &Live, name: &str) -> [String; 2] {
    let home = Home::with_schema("type Dog @table @export { id: ID @primaryKey }");
    let pairs = ["operationsApi.network.port=127.0.0.1:0", "threads.count=1"];
    let launch = pairs.iter().fold(home.launch(), |launch, pair| launch.set(pair));
    launch.start().stop();
    [".jwtPrivate.key", ".jwtPublic.key"].map(|file| {
        let text = std::fs::read(home.path(&format!("root/keys/{file}"))).unwrap();
        live.home.write(&format!("{name}{file}"), text).display().to_string()
    })
}

/// A token of the administrator.
fn own_token(live: &Live) -> String {
    let operation = "create_authentication_tokens";
    let body = json!({ "operation": operation, "username": USERNAME, "password": PASSWORD });
    let tokens = live.server.operations().post("/", &body.to_string()).expect(200).json();
    tokens["operation_token"].as_str().unwrap().to_owned()
}

/// How a request with this token is answered.
fn with_token(live: &Live, token: &str) -> u16 {
    let client = live.client();
    client.request("GET", "/Dog/").header("authorization", &format!("Bearer {token}")).send().status
}

fn private_key(live: &Live) {
    let [private, _] = key_pair(live, "one");
    let before = own_token(live);
    assert_eq!(with_token(live, &before), 200);
    live.set(&[("authentication.jwt.privateKey", json!(private))]);
    assert_eq!(with_token(live, &before), 401, "what is remembered, too");
    assert_eq!(with_token(live, &own_token(live)), 200);
    live.set(&[]);
    assert_eq!(with_token(live, &before), 200);
}

fn public_keys(live: &Live) {
    let [private, public] = key_pair(live, "two");
    live.set(&[("authentication.jwt.privateKey", json!(private))]);
    let token = own_token(live);
    live.set(&[]);
    assert_eq!(with_token(live, &token), 401);
    live.set(&[("authentication.jwt.publicKeys", json!([public]))]);
    assert_eq!(with_token(live, &token), 200);
}

/// An issuer that has published these keys, and what it is in the configuration.
fn issuer(keys: &[&Signer]) -> (Issuer, Value) {
    let issuer = Issuer::start();
    issuer.publish(keys);
    let entry = json!([{ "issuer": issuer.url, "audience": "harper" }]);
    (issuer, entry)
}

fn oidc(live: &Live) {
    let signer = Signer::ecdsa("key");
    let (issuer, entry) = issuer(&[&signer]);
    let token = signer.token(&issuer.claims(&json!({ "sub": USERNAME })));
    assert_eq!(with_token(live, &token), 401);
    live.set(&[("authentication.oidc", entry.clone())]);
    eventually("the issuer to be believed", || (with_token(live, &token) == 200).then_some(()));
    // its keys stay known while another comes
    let (_other, more) = self::issuer(&[]);
    let both = json!([entry[0], more[0]]);
    live.set(&[("authentication.oidc", both)]);
    assert_eq!(with_token(live, &token), 200);
    live.set(&[]);
    assert_eq!(with_token(live, &token), 401);
}

fn oidc_refresh(live: &Live) {
    let (old, new) = (Signer::ecdsa("old"), Signer::ecdsa("new"));
    let (issuer, entry) = issuer(&[&old]);
    live.set(&[("authentication.oidc", entry.clone())]);
    let token = old.token(&issuer.claims(&json!({ "sub": USERNAME })));
    eventually("the keys", || (with_token(live, &token) == 200).then_some(()));
    // nobody asks for the new key, so that the old one is good for an hour
    issuer.publish(&[&new]);
    let refresh = ("authentication.oidcRefresh", json!(500));
    live.set(&[("authentication.oidc", entry), refresh]);
    eventually("the keys to be fetched again", || (with_token(live, &token) == 401).then_some(()));
}

fn oidc_leeway(live: &Live) {
    let signer = Signer::ecdsa("key");
    let (issuer, entry) = issuer(&[&signer]);
    live.set(&[("authentication.oidc", entry.clone())]);
    let now = std::time::UNIX_EPOCH.elapsed().unwrap().as_secs();
    let token = signer.token(&issuer.claims(&json!({ "sub": USERNAME, "exp": now - 1 })));
    eventually("the keys", || (with_token(live, &token) == 200).then_some(()));
    live.set(&[("authentication.oidc", entry), ("authentication.oidcLeeway", json!(0))]);
    assert_eq!(with_token(live, &token), 401);
}

fn token_life(live: &Live, key: &str, member: &str) {
    let life = || {
        let operation = "create_authentication_tokens";
        let body = json!({ "operation": operation, "username": USERNAME, "password": PASSWORD });
        let tokens = live.server.operations().post("/", &body.to_string()).expect(200).json();
        let part = tokens[member].as_str().unwrap().split('.').nth(1).unwrap();
        let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(part).unwrap();
        let claims: Value = serde_json::from_slice(&bytes).unwrap();
        claims["exp"].as_u64().unwrap() - claims["iat"].as_u64().unwrap()
    };
    assert!(life() > 90);
    live.set(&[(key, json!("90s"))]);
    eventually("a shorter life", || (life() == 90).then_some(()));
}

fn operations_wire(live: &Live) -> Wire {
    Wire::connect(live.server.operations_address())
}

fn operations_headers_timeout(live: &Live) {
    live.set(&[("operationsApi.network.headersTimeout", json!(300))]);
    let mut wire = operations_wire(live);
    wire.send("POST / HTTP/1.1\r\nHost: localh");
    wire.reply().expect(408);
}

fn operations_keep_alive_timeout(live: &Live) {
    let announced =
        |client: crate::harness::Client| client.get("/health").header("keep-alive").to_owned();
    let before = announced(live.client());
    assert_eq!(announced(live.server.operations()), before);
    live.set(&[("operationsApi.network.keepAliveTimeout", json!(1000))]);
    assert_eq!(announced(live.server.operations()), "timeout=1");
    assert_eq!(announced(live.client()), before);
    let mut wire = operations_wire(live);
    wire.get("/health").reply().expect(200);
    assert!(wire.closed() < std::time::Duration::from_secs(20));
}

fn operations_timeout(live: &Live) {
    live.set(&[("operationsApi.network.timeout", json!(300))]);
    let mut wire = operations_wire(live);
    let head = "POST / HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    wire.send(format!("{head}Content-Length: 100\r\n\r\n{{"));
    wire.reply().expect(408);
}

fn from_page(live: &Live) -> Reply {
    let client = live.server.operations();
    client.request("GET", "/health").header("origin", "http://a.example").send()
}

fn operations_cors(live: &Live) {
    assert!(from_page(live).has("access-control-allow-origin"));
    live.set(&[("operationsApi.network.cors", json!(false))]);
    let is_off = || !from_page(live).has("access-control-allow-origin");
    eventually("CORS to be off", || is_off().then_some(()));
}

fn operations_cors_access_list(live: &Live) {
    live.set(&[("operationsApi.network.corsAccessList", json!(["http://a.example"]))]);
    let admitted = || from_page(live).header("access-control-allow-credentials") == "true";
    eventually("the origin to be listed", || admitted().then_some(()));
}

fn logs_events(live: &Live, key: &str, password: &str) {
    // what is remembered is no event
    let forget = ("authentication.cacheTTL", json!(0));
    let events = || live.server.log().matches("auth-event").count();
    let attempt = || live.client().login(USERNAME, password).get("/Dog/");
    live.set(std::slice::from_ref(&forget));
    let before = events();
    attempt();
    assert_eq!(events(), before);
    live.set(&[forget, (key, json!(true))]);
    eventually("an event", || {
        attempt();
        (events() > before).then_some(())
    });
}

/// One wrong password after another, each a new one.
fn guess(live: &Live, number: usize) -> Reply {
    live.client().login("nobody", &format!("guess {number}")).get("/Dog/")
}

fn throttle_attempts(live: &Live) {
    for number in 0..2 {
        guess(live, number).expect(401);
    }
    live.set(&[("authentication.throttle.attempts", json!(1))]);
    let mut number = 2;
    eventually("a guess too many", || {
        number += 1;
        (guess(live, number).status == 429).then_some(())
    });
}

fn throttle_window(live: &Live) {
    let window = ("authentication.throttle.window", json!("1h"));
    live.set(&[("authentication.throttle.attempts", json!(1)), window]);
    let mut number = 0;
    let refused = eventually("a guess too many", || {
        number += 1;
        Some(guess(live, number)).filter(|reply| reply.status == 429)
    });
    let wait: u64 = refused.header("retry-after").parse().unwrap();
    assert!(wait > 120, "{refused}");
}

fn throttle_entries_max(live: &Live) {
    // each guess comes from another address; what stays in the way of one user is that user's own count
    let guess = |name: &str, number: usize| {
        let client = live.client().login(name, &format!("guess {number}"));
        let ask =
            client.request("GET", "/Dog/").header("x-forwarded-for", &format!("10.0.0.{number}"));
        ask.send().status
    };
    let limits = [
        ("http.trustedProxies", json!(["127.0.0.1"])),
        ("authentication.throttle.attempts", json!(1)),
        ("authentication.throttle.window", json!("1h")),
    ];
    live.set(&limits);
    eventually("a guess too many", || (guess("ann", 1) == 429).then_some(()));
    let others = |from: usize| {
        for number in from..from + 10 {
            guess(&format!("user {number}"), number);
        }
    };
    others(10);
    assert_eq!(guess("ann", 2), 429, "all are remembered");
    let [proxies, attempts, window] = limits;
    live.set(&[proxies, attempts, window, ("authentication.throttle.entriesMax", json!(16))]);
    let mut from = 20;
    eventually("the count to be forgotten", || {
        others(from);
        from += 10;
        (guess("ann", from) == 401).then_some(())
    });
}
