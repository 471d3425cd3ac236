//! What a user sees of the storage: limits, shared syncs, and schemas that change between two starts.

use crate::harness::server::text;
use crate::harness::{Home, Reply, Server};
use std::sync::Arc;

const SCHEMA: &str = "type T @table @export { id: ID @primaryKey n: Int }";

/// Writes as many records at once as there are clients.
fn puts_at_once(server: &Server, clients: usize) -> Vec<Reply> {
    std::thread::scope(|scope| {
        let writers: Vec<_> = (0..clients)
            .map(|id| scope.spawn(move || server.client().put(&format!("/T/{id}"), r#"{"n":1}"#)))
            .collect();
        writers.into_iter().map(|writer| writer.join().unwrap()).collect()
    })
}

#[test]
fn below_the_free_space_watermark_writes_are_507_and_deletes_work() {
    let home = Home::with_schema(SCHEMA);
    let server = home.start();
    server.client().put("/T/", r#"[{"id":"1"},{"id":"2"}]"#).expect(204);
    server.stop();
    let server = home.launch().set("storage.freeBytesMin=1000T").start();
    let client = server.client();
    for (method, path, body) in [
        ("PUT", "/T/1", r#"{"n":1}"#),
        ("PATCH", "/T/1", r#"{"n":1}"#),
        ("POST", "/T/", r#"{"n":1}"#),
        ("PUT", "/T/", r#"[{"id":"3"}]"#),
    ] {
        let refused = client.request(method, path).json(body).send().expect(507);
        assert!(refused.error().contains("free space"), "{method}: {refused}");
        assert!(!refused.error().contains('/'), "no paths for clients: {refused}");
    }
    client.get("/T/1").expect(200);
    assert_eq!(client.delete("/T/1").expect(200).text(), "true");
    assert_eq!(client.delete("/T/?id=2").expect(200).text(), "true");
    assert_eq!(client.get("/T/").text(), "[]");
    assert_eq!(server.metric("harper_rejected_total{reason=\"free_space\"}"), 4.0);
}

#[test]
fn a_full_database_answers_507_and_deletes_make_room() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch().set("storage.mapBytes=4M").start();
    let client = server.client();
    let body = format!(r#"{{"x":"{}"}}"#, "x".repeat(50_000));
    let stored = (0..200)
        .take_while(|id| {
            let reply = client.put(&format!("/T/{id}"), &body);
            assert!(matches!(reply.status, 204 | 507), "{reply}");
            reply.status == 204
        })
        .count();
    assert!(stored > 10 && stored < 100, "{stored}");
    assert!(server.metric("harper_rejected_total{reason=\"free_space\"}") >= 1.0);
    for id in 0..stored {
        assert_eq!(client.delete(&format!("/T/{id}")).expect(200).text(), "true");
    }
    client.put("/T/again", &body).expect(204);
}

#[test]
fn a_full_write_queue_refuses_with_503_and_loses_nothing() {
    let home = Home::with_schema(SCHEMA);
    let launch = home.launch().set("storage.queueMax=1").set("storage.batchMax=1");
    let server = launch.set("storage.syncDelayForTests=200").start();
    let replies = puts_at_once(&server, 16);
    let mut refused = 0;
    for (id, reply) in replies.iter().enumerate() {
        match reply.status {
            204 => {
                server.client().get(&format!("/T/{id}")).expect(200);
            }
            503 => {
                refused += 1;
                assert_eq!(reply.header("retry-after"), "1");
                assert!(reply.error().contains("Too many writes"), "{reply}");
                server.client().get(&format!("/T/{id}")).expect(404);
            }
            _ => panic!("{reply}"),
        }
    }
    assert!(refused > 0 && refused < 16, "{refused} of 16 were refused");
    assert_eq!(server.metric("harper_rejected_total{reason=\"write_queue\"}"), f64::from(refused));
}

#[test]
fn a_write_that_takes_too_long_is_503() {
    let home = Home::with_schema(SCHEMA);
    let launch = home.launch().set("storage.maxTransactionQueueTime=200ms");
    let server = launch.set("storage.syncDelayForTests=1500").start();
    let refused = server.client().put("/T/1", "{}").expect(503);
    assert!(refused.error().contains("may still be carried out"), "{refused}");
}

#[test]
fn writes_that_come_together_share_a_sync() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch().set("storage.syncDelayForTests=100").start();
    let before = server.metric("harper_store_commits_total{database=\"data\"}");
    let replies = puts_at_once(&server, 40);
    assert!(replies.iter().all(|reply| reply.status == 204));
    let commits = server.metric("harper_store_commits_total{database=\"data\"}") - before;
    assert!((1.0..=20.0).contains(&commits), "{commits} commits for 40 writes");
    assert!(server.metric("harper_store_requests_total{database=\"data\"}") >= 40.0);
}

fn with_schema(home: &Arc<Home>, schema: &str) -> Server {
    home.write("app/schema.graphql", schema);
    home.start()
}

#[test]
fn a_schema_may_change_between_two_starts() {
    let home = Home::with_schema(SCHEMA);
    let server = home.start();
    let all: Vec<_> =
        (0..3000).map(|id| format!(r#"{{"id":"{id:04}","n":{}}}"#, id % 100)).collect();
    server.client().put("/T/", &format!("[{}]", all.join(","))).expect(204);
    let found = server.client().get("/T/?n=7&select(id)").expect(200).text();
    server.stop();
    let server = with_schema(
        &home,
        "type T @table @export { id: ID @primaryKey n: Int @indexed name: String! }",
    );
    let client = server.client();
    assert_eq!(client.get("/T/?n=7&select(id)").text(), found, "the new index has the old records");
    client.put("/T/new", r#"{"n":7}"#).expect(400);
    client.put("/T/new", r#"{"n":7,"name":"x"}"#).expect(204);
    client.delete("/T/0007").expect(200);
    let found = client.get("/T/?n=7&select(id)").text();
    assert!(found.contains("new") && !found.contains("0007"), "{found}");
    server.stop();
    let server = with_schema(&home, "type T @table @export { id: ID @primaryKey n: Int }");
    assert_eq!(server.client().get("/T/?n=7&select(id)").text(), found, "without the index again");
    server.client().delete("/T/0107").expect(200);
    server.stop();
    let server = with_schema(&home, "type T @table @export { id: ID @primaryKey n: Int @indexed }");
    let again = server.client().get("/T/?n=7&select(id)").text();
    assert_eq!(
        again,
        found.replace("\"0107\",", ""),
        "an index that comes back knows what happened meanwhile"
    );
}

#[test]
fn a_table_that_goes_keeps_its_records() {
    let home = Home::with_schema(SCHEMA);
    let server = home.start();
    server.client().put("/T/1", r#"{"n":5}"#).expect(204);
    server.stop();
    let server = with_schema(&home, "type Other @table @export { id: ID @primaryKey }");
    server.client().get("/T/1").expect(404);
    server.stop();
    let server = with_schema(&home, SCHEMA);
    assert_eq!(server.client().get("/T/1").expect(200).json()["n"], 5);
}

#[test]
fn another_type_of_primary_key_is_refused_with_the_place() {
    let home = Home::with_schema(SCHEMA);
    let server = home.start();
    server.client().put("/T/1", "{}").expect(204);
    server.stop();
    home.write("app/schema.graphql", "type T @table @export { id: Int @primaryKey n: Int }");
    let refused = home.launch().fail();
    let message = text(&refused.stderr);
    assert!(!refused.status.success(), "{message}");
    assert!(
        message.contains("schema.graphql:1:1") && message.contains("primary key is id of type ID"),
        "{message}"
    );
    let server = with_schema(&home, SCHEMA);
    server.client().get("/T/1").expect(200);
}

#[test]
fn a_database_has_room_for_so_many_tables() {
    let tables = |count: usize| -> String {
        (0..count)
            .map(|number| format!("type T{number} @table @export {{ id: ID @primaryKey }}\n"))
            .collect()
    };
    let home = Home::with_schema(&tables(20));
    let refused = home.launch().set("storage.treesMax=8").fail();
    let message = text(&refused.stderr);
    assert!(!refused.status.success(), "{message}");
    assert!(
        message.contains("schema.graphql:") && message.contains("no room for another table"),
        "{message}"
    );
    let server = home.start();
    for number in 0..20 {
        server.client().put(&format!("/T{number}/1"), "{}").expect(204);
    }
}

#[test]
fn tables_live_in_the_database_they_name() {
    let home = Home::with_schema(
        "type A @table(database: \"one\") @export { id: ID @primaryKey }\n\
         type B @table(database: \"two\", table: \"stored\") @export { id: ID @primaryKey }",
    );
    let server = home.start();
    server.client().put("/A/1", "{}").expect(204);
    server.client().put("/B/2", "{}").expect(204);
    assert_eq!(server.client().get("/A").json()["database"], "one");
    assert_eq!(server.client().get("/B").json()["name"], "stored");
    assert!(home.path("root/database/one").is_dir() && home.path("root/database/two").is_dir());
    let ready = server.admin().get("/readyz?verbose").text();
    assert!(ready.contains("store one ok") && ready.contains("store two ok"), "{ready}");
}
