//! The request log exists only where it is asked for.

use super::home;
use crate::harness::Server;
use crate::harness::client::basic;
use crate::harness::server::{PASSWORD, USERNAME};
use rustix::process::Signal;
use serde_json::Value;

#[test]
fn without_its_block_there_is_none() {
    let mut server = home().launch().set("logging.level=trace").start();
    server.client().get("/Dog/?name=marked").expect(200);
    server.client().get("/Dog/?nosuch=marked").expect(400);
    server.signal(Signal::TERM);
    server.wait();
    assert!(!server.log().contains("marked"), "{}", server.log());
}

#[test]
fn a_block_in_the_file_switches_it_on_and_its_keys_add_to_the_line() {
    let home = home();
    home.write("root/harperdb-config.yaml", "http:\n  logging:\n    timing: true\n    id: true\n");
    let server = home.start();
    server.client().get("/Dog/?name=one").expect(200);
    let line = server.line("name=one");
    let rest = line.split_once(" [info] [http]: GET /Dog/?name=one HTTP/1.1 200 ").expect(&line).1;
    let (time, id) = rest.split_once(" id: ").expect(&line);
    assert!(time.ends_with("ms") && time.trim_end_matches("ms").parse::<f64>().is_ok(), "{line}");
    id.parse::<u64>().unwrap();
    assert!(line.contains("[http/"), "{line}");
    server.client().get("/Dog/none").expect(404);
    assert!(server.line("/Dog/none").contains("[warn] [http]: GET /Dog/none HTTP/1.1 404"));
    let ids = server.log();
    let mut ids: Vec<u64> =
        ids.lines().filter_map(|line| line.split_once(" id: ")?.1.parse().ok()).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 2, "each has its own number: {ids:?}");
}

#[test]
fn its_level_chooses_the_statuses() {
    let server = home().launch().set("http.logging.level=warn").start();
    server.client().get("/Dog/?name=fine").expect(200);
    server.client().get("/Dog/wrong").expect(404);
    server.line("GET /Dog/wrong HTTP/1.1 404");
    assert!(!server.log().contains("fine"), "{}", server.log());
    let server = home().launch().set("http.logging.level=error").start();
    server.client().get("/Dog/wrong").expect(404);
    server.client().get("/Dog/?name=fine").expect(200);
    let log = server.log();
    assert!(!log.contains("wrong") && !log.contains("fine"), "{log}");
}

#[test]
fn credentials_are_never_logged() {
    for format in ["text", "json"] {
        let server = home()
            .launch_as("run")
            .set("http.logging.headers=true")
            .set("logging.level=trace")
            .set(&format!("logging.format={format}"))
            .start();
        let secret = basic(&format!("{USERNAME}:{PASSWORD}"));
        let client = server.client();
        let ask = client.request("GET", "/Dog/?name=first").header("authorization", &secret);
        ask.header("cookie", "session=c00kie").header("x-visible", "seen").send().expect(200);
        let ask = client
            .request("GET", "/Dog/?name=second")
            .header("authorization", "Basic d3Jvbmc6d3Jvbmc=");
        ask.header("proxy-authorization", "pr0xy").send().expect(401);
        let line = server.line("name=first");
        assert!(line.contains("x-visible") && line.contains("seen"), "{line}");
        server.line("name=second");
        let log = server.log();
        for hidden in
            [secret.trim_start_matches("Basic "), PASSWORD, "c00kie", "d3Jvbmc6d3Jvbmc", "pr0xy"]
        {
            assert!(!log.contains(hidden), "{format}: {hidden}: {log}");
        }
    }
}

#[test]
fn lines_are_json_where_that_is_the_format() {
    let server = home().launch().set("logging.format=json").set("http.logging.level=info").start();
    server.client().get("/Dog/?name=%22quoted%22").expect(200);
    server.line("quoted");
    for line in server.log().lines() {
        let value: Value =
            serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(value["timestamp"].is_string() && value["level"].is_string(), "{line}");
        assert!(value["message"].is_string(), "{line}");
    }
}

/// The JSON line of the request whose path holds `mark`.
fn object(server: &Server, mark: &str) -> Value {
    serde_json::from_str(&server.line(mark)).unwrap()
}

#[test]
fn a_json_line_tells_everything_of_its_request() {
    let launch = home().launch_as("run").set("http.logging.format=json");
    let server = launch.set("http.trustedProxies=127.0.0.1").start();
    let client = server.client().login(USERNAME, PASSWORD);
    let name = "x".repeat(3000);
    client.put("/Dog/marked", &format!(r#"{{"name":"{name}"}}"#)).expect(204);
    let line = object(&server, "PUT /Dog/marked");
    assert_eq!((&line["method"], &line["status"]), (&"PUT".into(), &204.into()), "{line}");
    assert_eq!(line["bytes_in"], 3000 + r#"{"name":""}"#.len());
    assert_eq!((&line["bytes_out"], &line["user"]), (&0.into(), &USERNAME.into()), "{line}");
    assert!(line["duration_ms"].as_f64() >= line["head_ms"].as_f64(), "{line}");
    let ask = client.request("GET", "/Dog/marked?select(name)").header("x-request-id", "given-7");
    let ask = ask.header("x-forwarded-for", "203.0.113.9").header("x-forwarded-proto", "https");
    let ask =
        ask.header("x-forwarded-host", "shop.example").header("referer", "https://a.example/");
    let reply = ask.header("accept-encoding", "br").send().expect(200);
    let line = object(&server, "GET /Dog/marked");
    assert_eq!(line["bytes_out"], reply.body.len(), "as sent, compressed: {line}");
    for (name, value) in [
        ("path", "/Dog/marked"),
        ("query", "select(name)"),
        ("protocol", "HTTPS/1.1"),
        ("host", "shop.example"),
        ("client", "203.0.113.9"),
        ("request_id", "given-7"),
        ("referer", "https://a.example/"),
    ] {
        assert_eq!(line[name], value, "{line}");
    }
    assert!(line.get("headers").is_none() && line.get("id").is_none(), "not asked for: {line}");
    let reply = server.client().get("/Dog/none").expect(401);
    let line = object(&server, "GET /Dog/none");
    assert_eq!(line["request_id"], reply.header("x-request-id"));
    assert!(line.get("user").is_none() && line["level"] == "WARN", "{line}");
}

#[test]
fn an_answer_that_the_client_does_not_take_is_marked() {
    let server = home().launch().set("http.logging.format=json").start();
    let record = format!(r#"{{"name":"{}"}}"#, "x".repeat(60_000));
    for id in 0..400 {
        server.client().put(&format!("/Dog/{id}"), &record).expect(204);
    }
    server.client().request("HEAD", "/Dog/1").send().expect(200);
    assert!(object(&server, "HEAD /Dog/1").get("aborted").is_none());
    let mut wire = server.wire();
    wire.send("GET /Dog/?limit(399) HTTP/1.1\r\nHost: localhost\r\n\r\n");
    assert_eq!(wire.head().unwrap().0, 200);
    drop(wire);
    let line = object(&server, "limit(399)");
    assert_eq!(line["aborted"], true, "{line}");
}

#[test]
fn the_combined_form_is_that_of_web_servers_and_the_tag_can_be_chosen() {
    let server = home().launch().set("http.logging.format=combined").start();
    let client = server.client();
    let ask = client.request("GET", "/Dog/none").header("user-agent", "a \"b\"");
    let reply = ask.send().expect(404);
    let line = server.line("GET /Dog/none");
    let (begin, rest) = line.split_once(" [").unwrap();
    assert!(begin.starts_with("127.0.0.1 - "), "{line}");
    let request = format!("] \"GET /Dog/none HTTP/1.1\" 404 {}", reply.body.len());
    assert!(rest.contains(&request) && rest.ends_with(r#" "-" "a \"b\"""#), "{line}");
    let server = home().launch().set("http.logging.tag=shop").start();
    server.client().get("/Dog/none").expect(404);
    server.line("[warn] [shop]: GET /Dog/none HTTP/1.1 404");
}
