//! The request log exists only where it is asked for.

use super::home;
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
