//! Records that expire: `@table(expiration:)`, `@expiresAt`, and what survives a restart.

use crate::harness::{Home, eventually};

const SCHEMA: &str = r#"
type Session @table(expiration: 0.2) @export { id: ID @primaryKey user: String @indexed }
type Token @table @export { id: ID @primaryKey until: Date @expiresAt user: String @indexed }
type Kept @table(expiration: 0.05, eviction: 3600) @export { id: ID @primaryKey }
"#;

#[test]
fn a_record_is_gone_everywhere_when_its_time_has_passed_and_can_be_made_anew() {
    let home = Home::with_schema(SCHEMA);
    // never removed, so that only the time itself can hide it
    let server = home.launch().set("storage.expirySweepInterval=3600000").start();
    let client = server.client();
    client.put("/Session/a", r#"{"user":"ann"}"#).expect(204);
    client.get("/Session/a").expect(200);
    eventually("the record expires", || (client.get("/Session/a").status == 404).then_some(()));
    client.request("HEAD", "/Session/a").send().expect(404);
    assert_eq!(client.get("/Session/").text(), "[]");
    assert_eq!(client.get("/Session/?user=ann").text(), "[]");
    assert_eq!(client.get("/Session/?sort(-user)").text(), "[]");
    assert_eq!(client.delete("/Session/a").text(), "false");
    let present = client.request("PUT", "/Session/a").header("if-match", "*");
    present.json("{}").send().expect(412);
    let absent = client.request("PUT", "/Session/a").header("if-none-match", "*");
    absent.json(r#"{"user":"bob"}"#).send().expect(204);
    client.post("/Session/", r#"{"id":"a"}"#).expect(409);
    eventually("the record expires again", || {
        (client.get("/Session/a").status == 404).then_some(())
    });
    client.post("/Session/", r#"{"id":"a"}"#).expect(201);
}

#[test]
fn an_attribute_gives_each_record_its_time() {
    let home = Home::with_schema(SCHEMA);
    let server = home.start();
    let client = server.client();
    client.put("/Token/past", r#"{"until":"2001-01-01T00:00:00Z","user":"ann"}"#).expect(204);
    client.put("/Token/future", r#"{"until":4102444800000,"user":"ann"}"#).expect(204);
    client.put("/Token/never", r#"{"until":null,"user":"ann"}"#).expect(204);
    client.get("/Token/past").expect(404);
    client.get("/Token/never").expect(200);
    assert_eq!(client.get("/Token/future").expect(200).json()["until"], 4_102_444_800_000_u64);
    assert_eq!(client.get("/Token/?user=ann").json().as_array().unwrap().len(), 2);
    let refused = client.put("/Token/bad", r#"{"until":"tomorrow"}"#).expect(400);
    assert!(refused.error().contains("until"), "{refused}");
    client.patch("/Token/never", r#"{"until":"2001-01-01"}"#).expect(204);
    client.get("/Token/never").expect(404);
}

#[test]
fn expired_records_are_removed_in_the_background_and_counted() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch().set("storage.expirySweepInterval=20").start();
    let client = server.client();
    let body: Vec<_> = (0..500).map(|id| format!(r#"{{"id":"{id}","user":"u"}}"#)).collect();
    client.put("/Session/", &format!("[{}]", body.join(","))).expect(204);
    client.put("/Kept/1", "{}").expect(204);
    let removed = || server.metric("harper_store_expired_total{database=\"data\"}");
    eventually("all are removed", || (removed() >= 500.0).then_some(()));
    assert_eq!(removed(), 500.0, "what is kept on the disk is not removed");
    client.get("/Kept/1").expect(404);
}

#[test]
fn a_time_survives_the_death_of_the_server() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch().set("storage.expirySweepInterval=3600000").start();
    let client = server.client();
    client.put("/Session/a", "{}").expect(204);
    client.put("/Token/stays", r#"{"until":"2100-01-01"}"#).expect(204);
    server.signal(rustix::process::Signal::KILL);
    drop(server);
    let server = home.launch().set("storage.expirySweepInterval=20").start();
    let client = server.client();
    let removed = || server.metric("harper_store_expired_total{database=\"data\"}");
    eventually("it is removed", || (removed() >= 1.0).then_some(()));
    client.get("/Session/a").expect(404);
    client.get("/Token/stays").expect(200);
}

#[test]
fn an_answer_tells_how_long_it_may_be_kept_and_a_write_how_long_it_lives() {
    let home = Home::with_schema(
        "type Page @table(expiration: 600) @export { id: ID @primaryKey }\n\
         type Plain @table @export { id: ID @primaryKey }",
    );
    let server = home.start();
    let client = server.client();
    let left = |reply: &crate::harness::Reply| -> u64 {
        let field = reply.header("cache-control");
        field
            .strip_prefix("private, max-age=")
            .unwrap_or_else(|| panic!("{reply}"))
            .parse()
            .unwrap()
    };
    client.put("/Page/a", "{}").expect(204);
    let reply = client.get("/Page/a").expect(200);
    assert!((400..=600).contains(&left(&reply)), "{reply}");
    let same = client.request("GET", "/Page/a").header("if-none-match", reply.header("etag"));
    assert!((400..=600).contains(&left(&same.send().expect(304))));
    for (method, path, body) in [
        ("PUT", "/Page/b", "{}"),
        ("PATCH", "/Page/b", "{}"),
        ("POST", "/Page/", r#"{"id":"c"}"#),
        ("PUT", "/Page/", r#"[{"id":"d"}]"#),
    ] {
        let ask = client.request(method, path).header("cache-control", "max-age=100000");
        let status = ask.json(body).send().status;
        assert!(matches!(status, 201 | 204), "{method} {path}: {status}");
    }
    for id in ["b", "c", "d"] {
        assert!(left(&client.get(&format!("/Page/{id}")).expect(200)) > 90_000, "{id}");
    }
    let bad = client.request("PUT", "/Page/b").header("cache-control", "max-age=soon");
    bad.json("{}").send().expect(400);
    let gone = client.request("PUT", "/Page/b").header("cache-control", "max-age=0");
    gone.json("{}").send().expect(204);
    client.get("/Page/b").expect(404);
    let kept =
        |path| client.request("GET", path).header("cache-control", "only-if-cached").send().status;
    assert_eq!([kept("/Page/b"), kept("/Page/a"), kept("/Plain/x")], [504, 200, 404]);
    client.put("/Plain/x", "{}").expect(204);
    assert!(!client.get("/Plain/x").has("cache-control"));
}
