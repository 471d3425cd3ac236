//! Each source of values beats the one before it.

use crate::harness::Home;
use crate::harness::server::text;
use std::process::Command;

/// The line of `config effective` for a key.
#[track_caller]
fn effective(mut command: Command, key: &str) -> String {
    let output = command.output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}{}", text(&output.stderr));
    let line = said.lines().find(|line| line.starts_with(&format!("{key}: ")));
    line.unwrap_or_else(|| panic!("no {key} in {said}")).to_owned()
}

#[test]
fn each_source_beats_the_one_before() {
    let home = Home::empty();
    home.write("root/harperdb-config.yaml", "http:\n  timeout: 3000\n");
    let root = home.path("root").display().to_string();
    type Change = fn(&mut Command);
    let sources: [(Change, &str); 5] = [
        (
            |command| {
                command.env("HARPER_DEFAULT_CONFIG", r#"{"http":{"timeout":2000}}"#);
            },
            "3000",
        ),
        (
            |command| {
                command.env("HTTP_TIMEOUT", "4s");
            },
            "4000 # environment HTTP_TIMEOUT",
        ),
        (
            |command| {
                command.args(["--set", "http.timeout=5s"]);
            },
            "5000 # command line",
        ),
        (
            |command| {
                command.args(["--HTTP_TIMEOUT", "5500"]);
            },
            "command line",
        ),
        (
            |command| {
                command.env("HARPER_SET_CONFIG", r#"{"http":{"timeout":6000}}"#);
            },
            "6000 # HARPER_SET_CONFIG",
        ),
    ];
    let mut changes: Vec<Change> = Vec::new();
    for (change, expected) in sources {
        changes.push(change);
        let mut command = home.command(&["config", "effective", "--root", &root]);
        for change in &changes {
            change(&mut command);
        }
        let line = effective(command, "http.timeout");
        assert!(line.contains(expected), "{expected}: {line}");
    }
    let plain = home.command(&["config", "effective", "--root", &root]);
    assert!(effective(plain, "http.timeout").contains("harperdb-config.yaml:2:3"));
    std::fs::remove_file(home.path("root/harperdb-config.yaml")).unwrap();
    let mut command = home.command(&["config", "effective", "--root", &root]);
    assert_eq!(effective(command, "http.timeout"), "http.timeout: 120000 # default");
    command = home.command(&["config", "effective", "--root", &root]);
    command.env("HARPER_DEFAULT_CONFIG", r#"{"http":{"timeout":2000}}"#);
    assert!(
        effective(command, "http.timeout")
            .starts_with("http.timeout: 2000 # HARPER_DEFAULT_CONFIG")
    );
}

#[test]
fn the_file_is_found_by_option_environment_or_in_the_root() {
    let home = Home::empty();
    home.write("root/harperdb-config.yaml", "threads: 3\n");
    home.write("one.yaml", "threads: {count: 4}\n");
    home.write("two.yaml", "threads: {count: 5}\nrootPath: elsewhere\n");
    let count = |command: Command| effective(command, "threads.count");
    let mut command = home.command(&["config", "effective"]);
    command.env("ROOTPATH", home.path("root"));
    assert!(count(command).starts_with("threads.count: 3 "), "a bare number is the count");
    let mut command = home.command(&["config", "effective"]);
    command.env("HDB_CONFIG", home.path("one.yaml"));
    assert!(count(command).starts_with("threads.count: 4 "));
    let mut command = home.command(&["config", "effective", "--config", "two.yaml"]);
    command.env("HDB_CONFIG", home.path("one.yaml"));
    assert!(count(command).starts_with("threads.count: 5 "));
    let command = home.command(&["config", "effective", "--config", "two.yaml"]);
    assert!(effective(command, "rootPath").contains("elsewhere"));
    let command = home.command(&["config", "effective", "--config", "two.yaml", "--root", "here"]);
    assert!(effective(command, "rootPath").contains("here"));
}

#[test]
fn service_links_and_empty_variables_are_ignored_with_a_warning() {
    let home = Home::with_schema("type Dog @table { id: ID @primaryKey }");
    let mut command = home.command(&["check", "app", "--root", "root"]);
    command.env("HTTP_PORT", "tcp://10.0.0.1:80").env("ADMIN_PORT", "");
    let output = command.output().unwrap();
    let said = text(&output.stdout);
    assert!(output.status.success(), "{said}");
    assert!(
        said.contains("environment HTTP_PORT: http.port: looks like a Kubernetes service link"),
        "{said}"
    );
    assert!(said.contains("environment ADMIN_PORT: admin.port: the variable is empty"), "{said}");
    for accepted in ["TC_AGREEMENT", "DEFAULTS_MODE", "NODE_HOSTNAME"] {
        let mut command = home.command(&["check", "app", "--root", "root"]);
        command.env(accepted, "prod");
        assert!(command.output().unwrap().status.success(), "{accepted}");
    }
}

#[test]
fn a_running_server_has_the_configuration_it_was_given() {
    let home = Home::with_schema("type Dog @table @export { id: ID @primaryKey }");
    let server = home
        .launch()
        .env("HARPER_SET_CONFIG", r#"{"http":{"keepAliveTimeout":7000},"threads":{"count":3}}"#)
        .args(["--HTTP_KEEPALIVETIMEOUT", "9s", "--THREADS_COUNT=2"].as_slice())
        .start();
    assert_eq!(server.client().get("/Dog/").header("keep-alive"), "timeout=7");
    assert_eq!(server.metric("harper_workers_running"), 3.0);
}
