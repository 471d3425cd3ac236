//! Server-Sent Events: their form, who is told what, and that nothing is lost when a client comes back.

mod resume;
mod rights;
pub(crate) mod stream;

use crate::harness::server::{PASSWORD, USERNAME};
use crate::harness::{Home, Launch, Server, eventually};
use serde_json::json;
use std::io::Write;
use std::time::{Duration, Instant};
use stream::Stream;

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey name: String @indexed age: Int }\n\
    type Num @table @export { id: Int @primaryKey }";

fn launch() -> Launch {
    Home::with_schema(SCHEMA).launch().set("threads.count=2")
}

fn start() -> Server {
    launch().start()
}

#[test]
fn a_stream_has_the_records_that_are_there_and_then_what_happens() {
    let server = start();
    let client = server.client();
    client.put("/Dog/1", r#"{"name":"Rex","age":3}"#).expect(204);
    client.put("/Dog/a/b", r#"{"name":"Max"}"#).expect(204);
    let mut all = Stream::open(&server, "/Dog/", &[]);
    let mut folder = Stream::open(&server, "/Dog/a/", &[]);
    let mut one = Stream::open(&server, "/Dog/1", &[]);
    let mut none = Stream::open(&server, "/Dog/none", &[]);
    let first = all.next().unwrap();
    assert_eq!((first.id.as_str(), first.name.as_str()), ("", "message"), "no place, no name");
    assert_eq!(first.data["value"], json!({"id": "1", "name": "Rex", "age": 3}));
    assert_eq!(first.data["type"], "put");
    assert!(first.data["version"].as_f64().unwrap() > 1.6e12, "{first:?}");
    assert_eq!(first.data["localTime"], first.data["version"]);
    assert_eq!(all.short(1), ["put a/b"]);
    assert_eq!((folder.short(1), one.short(1)), (vec!["put a/b".into()], vec!["put 1".into()]));
    let places = [&mut all, &mut folder, &mut one, &mut none].map(|stream| stream.place());
    assert!(places.iter().all(|place| *place == places[0]), "{places:?}");
    assert_eq!(all.retry, Some(1000));
    client.patch("/Dog/1", r#"{"age":4}"#).expect(204);
    client.put("/Dog/none", "{}").expect(204);
    client.delete("/Dog/a/b").expect(200);
    let changed = all.next().unwrap();
    assert_eq!(
        changed.data["value"],
        json!({"id": "1", "name": "Rex", "age": 4}),
        "the whole record"
    );
    assert_ne!(changed.id, places[0]);
    assert_eq!(all.short(1), ["put none"]);
    let deleted = all.next().unwrap();
    assert_eq!(deleted.short(), "delete a/b");
    assert!(deleted.data.get("value").is_none());
    assert_eq!(one.next().unwrap(), changed);
    assert_eq!(none.short(1), ["put none"]);
    assert_eq!(folder.next().unwrap(), deleted);
}

#[test]
fn the_answer_says_that_it_is_a_stream() {
    let server = start();
    let client = server.client();
    client.put("/Dog/1", "{}").expect(204);
    let stream = Stream::open(&server, "/Dog/1", &[("Accept-Encoding", "gzip, br")]);
    let head = client.request("HEAD", "/Dog/1").header("accept", "text/event-stream").send();
    for headers in [&stream.headers, &head.expect(200).headers] {
        let header = |name: &str| headers.get(name).map_or("", |value| value.to_str().unwrap());
        assert_eq!(header("content-type"), "text/event-stream");
        assert_eq!(header("cache-control"), "no-store");
        assert_eq!(header("x-accel-buffering"), "no");
        assert_eq!(header("content-encoding"), "", "it is not compressed unless configured");
        assert!(header("vary").contains("Accept"));
        assert_eq!(header("etag"), "");
    }
    let accept = |accept: &str, path: &str| {
        client.request("GET", path).header("accept", accept).send().expect(200)
    };
    for one in ["*/*", "text/*, */*;q=0.1", "application/json, text/event-stream"] {
        assert_ne!(accept(one, "/Dog/1").header("content-type"), "text/event-stream", "{one}");
    }
    assert_eq!(
        client.request("GET", "/Dog/1.json").header("accept", "text/event-stream").send().text(),
        r#"{"id":"1"}"#,
        "what the path asks for comes first"
    );
    let text = client.request("GET", "/Dog").header("accept", "text/event-stream").send();
    assert_eq!(text.status, 406, "a description does not change");
}

#[test]
fn errors_keep_their_status() {
    let server = start();
    for (target, status, part) in [
        ("/Nope/", 404, "Not found"),
        ("/Num/x", 400, "expecting Int"),
        ("/Dog/?nope=1", 400, "nope is not a defined attribute"),
        ("/Dog/?sort(name)", 400, "A subscription has conditions"),
        ("/Dog/?limit(5)", 400, "A subscription has conditions"),
        ("/Dog/?explain()", 400, "A subscription has conditions"),
        ("/Dog/1?name=Rex", 400, "conditions belong on the collection"),
        ("/Dog/?startTime=now", 400, "startTime=now"),
        ("/Dog/?previousCount=-1", 400, "previousCount=-1"),
    ] {
        let reply = Stream::ask(&server, target, &[]).err().expect("no stream");
        assert_eq!(reply.status, status, "{target}: {reply}");
        assert!(reply.error().contains(part), "{target}: {reply}");
    }
}

#[test]
fn a_stream_that_is_silent_lives_by_its_heartbeats() {
    let server = launch()
        .set("http.eventStream.heartbeat=3600")
        .set("http.timeout=1s")
        .set("http.responseTimeout=500")
        .start();
    let mut stream = Stream::open(&server, "/Dog/", &[]);
    stream.place();
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        stream.comment();
    }
    server.client().put("/Dog/1", "{}").expect(204);
    assert_eq!(stream.short(1), ["put 1"]);
}

#[test]
fn a_client_that_takes_nothing_is_cut() {
    let server = launch().set("http.timeout=1s").start();
    let mut stream = Stream::open(&server, "/Dog/", &[]);
    stream.place();
    let name = "x".repeat(100_000);
    // more than the buffers of both sockets hold
    for id in 0..200 {
        server.client().put(&format!("/Dog/{id}"), &format!(r#"{{"name":"{name}"}}"#)).expect(204);
    }
    eventually("the end of its subscription", || {
        let open = server.metric("harper_realtime_subscriptions{protocol=\"sse\"}");
        (open == 0.0).then_some(())
    });
    while stream.next().is_some() {}
    assert_eq!(server.metric("harper_connections_closed_total{reason=\"timeout\"}"), 1.0);
}

#[test]
fn events_are_named_and_compressed_where_that_is_configured() {
    let server = launch()
        .set("http.eventStream.names=true")
        .set("http.eventStream.retry=250")
        .set("http.eventStream.compression=true")
        .start();
    let mut plain = Stream::open(&server, "/Dog/", &[]);
    plain.place();
    assert_eq!(plain.retry, Some(250));
    let mut wire = server.wire();
    wire.send("GET /Dog/ HTTP/1.1\r\nHost: localhost\r\nAccept: text/event-stream\r\nAccept-Encoding: gzip\r\n\r\n");
    assert_eq!(wire.head().unwrap().1["content-encoding"], "gzip");
    let mut decoder = flate2::write::GzDecoder::new(Vec::new());
    for (key, size) in [("1", 10), ("2", 50_000), ("3", 10)] {
        let name = "x".repeat(size);
        server.client().put(&format!("/Dog/{key}"), &format!(r#"{{"name":"{name}"}}"#)).expect(204);
        assert_eq!(plain.next().unwrap().name, "put");
        let end = format!("\"{name}\"}}");
        // each event can be read as soon as it has come
        let told = eventually("the event", || {
            decoder.write_all(&wire.chunk().unwrap()).unwrap();
            decoder.flush().unwrap();
            let text = String::from_utf8_lossy(decoder.get_ref()).into_owned();
            (text.contains(&end) && text.ends_with("\n\n")).then_some(text)
        });
        assert!(told.contains("event: put\ndata: {"), "{key}");
    }
}

#[test]
fn a_query_chooses_and_cuts() {
    let server = start();
    let client = server.client();
    client.put("/Dog/1", r#"{"name":"Rex","age":3}"#).expect(204);
    client.put("/Dog/2", r#"{"name":"Max","age":9}"#).expect(204);
    let mut old = Stream::open(&server, "/Dog/?age=gt=5&select(id,name)", &[]);
    let first = old.next().unwrap();
    assert_eq!(first.data["value"], json!({"id": "2", "name": "Max"}));
    client.put("/Dog/1", r#"{"name":"Rex","age":4}"#).expect(204);
    client.put("/Dog/1", r#"{"name":"Rex","age":6}"#).expect(204);
    client.put("/Dog/2", r#"{"name":"Max","age":1}"#).expect(204);
    client.put("/Dog/2", r#"{"name":"Max","age":2}"#).expect(204);
    client.delete("/Dog/2").expect(200);
    client.delete("/Dog/1").expect(200);
    client.put("/Dog/3", r#"{"age":7}"#).expect(204);
    let told = old.next().unwrap();
    assert_eq!(told.data["value"], json!({"id": "1", "name": "Rex"}));
    let gone = old.next().unwrap();
    assert_eq!(gone.short(), "delete 2", "it is no longer one of those");
    assert!(gone.data.get("value").is_none());
    assert_eq!(old.short(2), ["delete 1", "put 3"], "what was never told is not deleted");
    let mut names = Stream::open(&server, "/Dog/3?select(age)", &[]);
    assert_eq!(names.next().unwrap().data["value"], 7);
}

#[test]
fn the_past_can_be_asked_for() {
    let server = start();
    let client = server.client();
    for id in 1..=4 {
        client.put(&format!("/Dog/{id}"), "{}").expect(204);
        std::thread::sleep(Duration::from_millis(3));
    }
    let mut all = Stream::open(&server, "/Dog/", &[]);
    let times: Vec<_> = (0..4).map(|_| all.next().unwrap().data["localTime"].clone()).collect();
    let mut since = Stream::open(&server, &format!("/Dog/?startTime={}", times[2]), &[]);
    assert_eq!(since.short(2), ["put 3", "put 4"]);
    let mut last = Stream::open(&server, "/Dog/?previousCount=1", &[]);
    assert_eq!(last.short(1), ["put 4"]);
    client.put("/Dog/5", "{}").expect(204);
    assert_eq!((since.short(1), last.short(1)), (vec!["put 5".into()], vec!["put 5".into()]));
}

#[test]
fn subscriptions_are_counted_and_limited() {
    let server = launch().set("realtime.subscriptionsMax=2").start();
    let mut open: Vec<_> = (0..2).map(|_| Stream::open(&server, "/Dog/", &[])).collect();
    let reply = Stream::ask(&server, "/Dog/", &[]).err().expect("no third");
    assert_eq!(reply.status, 503, "{reply}");
    assert_eq!(reply.header("retry-after"), "1");
    let count = || server.metric("harper_realtime_subscriptions{protocol=\"sse\"}");
    assert_eq!(count(), 2.0);
    assert_eq!(server.metric("harper_rejected_total{reason=\"subscriptions\"}"), 1.0);
    server.client().put("/Dog/1", "{}").expect(204);
    for stream in &mut open {
        assert_eq!(stream.short(1), ["put 1"]);
    }
    let told = "harper_realtime_events_delivered_total{protocol=\"sse\"}";
    assert_eq!(server.metric(told), 2.0);
    assert_eq!(server.metric("harper_realtime_delivery_seconds_count"), 2.0);
    drop(open);
    eventually("the subscriptions to end", || (count() == 0.0).then_some(()));
    Stream::open(&server, "/Dog/", &[]);
}

#[test]
fn a_page_logs_in_as_for_any_other_request() {
    let home = Home::with_schema(SCHEMA);
    let server = home.launch_as("run").set("threads.count=1").start();
    let refused = Stream::ask(&server, "/Dog/", &[]).err().unwrap();
    assert_eq!(refused.status, 401);
    assert!(refused.has("www-authenticate"), "{refused}");
    let basic = crate::harness::client::basic(&format!("{USERNAME}:{PASSWORD}"));
    Stream::open(&server, "/Dog/", &[("Authorization", &basic)]).place();
    let wrong = crate::harness::client::basic(&format!("{USERNAME}:no"));
    let refused = Stream::ask(&server, "/Dog/", &[("Authorization", &wrong)]).err().unwrap();
    assert_eq!(refused.status, 401);
}
