//! Limits on the requests of one client.

use super::home;
use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Launch, Reply, Server};

/// A window in which nothing comes back while a test runs.
fn limited(requests: u32) -> Launch {
    let launch = home().launch().set("threads.count=2").set("http.rateLimit.window=1h");
    launch.set(&format!("http.rateLimit.requests={requests}"))
}

/// A request that a trusted proxy passes on for `address`.
fn ask(server: &Server, address: &str) -> Reply {
    let client = server.client().login(USERNAME, PASSWORD);
    client.request("GET", "/Dog/").header("x-forwarded-for", address).send()
}

#[test]
fn the_limit_holds_for_all_workers_together() {
    let server = limited(50).start();
    // enough connections that both workers have some
    let mut wires: Vec<_> = (0..20).map(|_| server.wire()).collect();
    let mut statuses = Vec::new();
    for _ in 0..10 {
        for wire in &mut wires {
            wire.get("/Dog/");
        }
        statuses.extend(wires.iter_mut().map(|wire| wire.reply().status));
    }
    let count = |status: u16| statuses.iter().filter(|one| **one == status).count();
    assert_eq!((count(200), count(429)), (50, 150));
    assert_eq!(server.metric("harper_rejected_total{reason=\"rate_limit\"}"), 150.0);
}

#[test]
fn a_client_is_told_what_it_has_left_and_when_to_come_again() {
    let server = limited(3).start();
    for left in ["2", "1", "0"] {
        let reply = server.client().get("/Dog/").expect(200);
        assert_eq!(reply.header("ratelimit-limit"), "3");
        assert_eq!(reply.header("ratelimit-remaining"), left);
    }
    let client = server.client();
    let refused = client.request("GET", "/Dog/").header("origin", "https://a.example").send();
    let refused = refused.expect(429);
    let seconds = |name: &str| refused.header(name).parse::<u64>().unwrap();
    assert!((1195..=1200).contains(&seconds("retry-after")), "{refused}");
    assert!((3595..=3600).contains(&seconds("ratelimit-reset")), "{refused}");
    assert_eq!(refused.header("ratelimit-remaining"), "0");
    assert!(refused.error().contains("3 in 3600 s are allowed"), "{refused}");
    assert!(refused.has("access-control-allow-origin"), "a page can read it: {refused}");
    assert!(refused.header("access-control-expose-headers").contains("Retry-After"), "{refused}");
    assert!(!home().start().client().get("/Dog/").has("ratelimit-limit"), "off by default");
}

#[test]
fn a_client_is_an_address_as_trusted_proxies_tell_it() {
    let server = limited(2).set("http.trustedProxies=127.0.0.1").start();
    let statuses = |address: &str| [(); 3].map(|()| ask(&server, address).status);
    assert_eq!(statuses("203.0.113.1"), [200, 200, 429]);
    assert_eq!(statuses("203.0.113.2"), [200, 200, 429]);
    assert_eq!(statuses("2001:db8::1"), [200, 200, 429]);
    assert_eq!(ask(&server, "2001:db8::dead:beef").status, 429, "the same network");
    assert_eq!(ask(&server, "2001:db8:0:1::1").status, 200, "another");
}

#[test]
fn an_address_is_refused_before_its_password_is_looked_at() {
    let server = limited(2).start();
    for _ in 0..2 {
        server.client().get("/Dog/").expect(200);
    }
    server.client().login(USERNAME, "wrong").get("/Dog/").expect(429);
    assert_eq!(server.metric("harper_credentials_verified_total"), 0.0);
}

#[test]
fn a_client_can_be_a_user_and_without_a_login_an_address() {
    let server = limited(2).set("http.rateLimit.by=user").set("http.trustedProxies=127.0.0.1");
    let server = server.start();
    assert_eq!(ask(&server, "203.0.113.1").status, 200);
    assert_eq!(ask(&server, "203.0.113.2").status, 200);
    assert_eq!(ask(&server, "203.0.113.3").status, 429, "the same user from anywhere");
    let client = server.client();
    let anonymous = |address: &str| {
        client.request("GET", "/Dog/").header("x-forwarded-for", address).send().status
    };
    let statuses = [(); 3].map(|()| anonymous("203.0.113.1"));
    assert_eq!(statuses, [401, 401, 429]);
    assert_eq!(anonymous("203.0.113.2"), 401);
}

#[test]
fn a_burst_may_be_smaller_than_the_window_and_the_allowance_grows_again() {
    let launch = home().launch().set("http.rateLimit.requests=20").set("http.rateLimit.window=2s");
    let server = launch.set("http.rateLimit.burst=1").start();
    server.client().get("/Dog/").expect(200);
    crate::harness::eventually("the next request", || {
        (server.client().get("/Dog/").status == 200).then_some(())
    });
}
