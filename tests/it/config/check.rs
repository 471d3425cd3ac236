//! `check` prints every problem at once.

use crate::harness::Home;
use crate::harness::server::text;
use std::process::Output;
use std::sync::Arc;

fn check(home: &Arc<Home>, arguments: &[&str]) -> Output {
    let root = home.path("root").display().to_string();
    home.output(&[&["check", "app", "--root", &root], arguments].concat())
}

/// What was printed, with paths as in the home.
fn printed(home: &Home, output: &Output) -> String {
    let all = text(&output.stdout) + &text(&output.stderr);
    let base = home.path("").canonicalize().unwrap().display().to_string();
    all.replace(&format!("{base}/"), "").replace(&home.path("").display().to_string(), "")
}

const SCHEMA: &str = "type Dog @table @export { id: ID @primaryKey }\n";

#[test]
fn a_good_configuration_is_said_to_be_good() {
    let home = Home::with_schema(SCHEMA);
    let output = check(&home, &[]);
    assert!(output.status.success());
    assert_eq!(printed(&home, &output), "ok: 1 application(s), 0 warning(s)\n");
    home.write("root/harperdb-config.yaml", "mqtt:\n  logging: {}\n");
    let output = check(&home, &[]);
    assert!(output.status.success(), "a warning does not fail");
    let said = printed(&home, &output);
    assert!(said.contains("mqtt.logging: has no effect"), "{said}");
    assert!(said.ends_with("ok: 1 application(s), 1 warning(s)\n"), "{said}");
}

#[test]
fn every_problem_is_printed_at_once_with_its_place() {
    let home =
        Home::with_schema("type Dog @table @export {\n  id: ID @primaryKey\n  x: Strin\n}\n");
    let config = "http:\n  prot: 1\n  port: lots\n  timeout: soon\nthreads:\n  count: 0\nlogging:\n  level: loud\n\
                  storage: 7\nnonsense: {a: 1}\nmqtt:\n  logging: x\n";
    home.write("root/harperdb-config.yaml", config);
    let output = check(&home, &["--set", "admin.port=x", "--set", "nosuch.key=1"]);
    assert_eq!(output.status.code(), Some(64));
    let said = printed(&home, &output);
    for expected in [
        "error: root/harperdb-config.yaml:3:3: http.port: expected a port from 0 to 65535, or address:port, found \"lots\"",
        "error: root/harperdb-config.yaml:4:3: http.timeout: expected milliseconds, or a number with ms, s, m, h or d, found \"soon\"",
        "error: root/harperdb-config.yaml:6:3: threads.count: expected a whole number from 1 to 1024 or `auto`, found 0",
        "error: root/harperdb-config.yaml:8:3: logging.level: expected one of trace, debug, info, warn, error, fatal, notify, found \"loud\"",
        "error: root/harperdb-config.yaml:9:1: storage: expected a mapping of keys",
        "error: command line: admin.port: expected a port",
        "warning: root/harperdb-config.yaml:2:3: http.prot: unknown key, ignored (did you mean http.port?)",
        "warning: root/harperdb-config.yaml:10:1: nonsense: unknown key, ignored",
        "warning: root/harperdb-config.yaml:12:3: mqtt.logging: has no effect",
        "warning: command line: nosuch.key: unknown key, ignored",
    ] {
        assert!(said.contains(expected), "{expected}\nis not in\n{said}");
    }
}

#[test]
fn problems_of_applications_are_found_beside_those_of_the_configuration() {
    let home =
        Home::with_schema("type Dog @table @export {\n  id: ID @primaryKey\n  x: Strin\n}\n");
    home.write("root/harperdb-config.yaml", "http:\n  port: lots\n");
    let output = check(&home, &[]);
    assert_eq!(output.status.code(), Some(64));
    let said = printed(&home, &output);
    assert!(said.contains("http.port: expected a port"), "{said}");
    assert!(said.contains("app/schema.graphql:3:6: Dog.x: unknown type Strin"), "{said}");
}

#[test]
fn a_file_that_is_no_yaml_names_the_line() {
    let home = Home::with_schema(SCHEMA);
    for (config, place) in [
        ("http:\n  port: [1\nx: 2\n", "harperdb-config.yaml:"),
        ("- a\n", "harperdb-config.yaml:1:1: expected a mapping"),
    ] {
        home.write("root/harperdb-config.yaml", config);
        let output = check(&home, &[]);
        assert_eq!(output.status.code(), Some(64), "{config}");
        let said = printed(&home, &output);
        assert!(said.contains(place), "{config}: {said}");
    }
}

#[test]
fn mistakes_of_a_schema_have_line_and_column() {
    for (schema, expected) in [
        (
            "type Dog @table {\n  id: ID @primaryKey\n  x: Strin\n}",
            "app/schema.graphql:3:6: Dog.x: unknown type Strin",
        ),
        (
            "type Dog @table { name: String }",
            "app/schema.graphql:1:1: Dog: no field is the @primaryKey",
        ),
        (
            "type Dog @tabel @table { id: ID }",
            "app/schema.graphql:1:10: Dog: unknown directive @tabel",
        ),
        (
            "type Dog @table {\n  id: ID @primaryKey\n  a: Int @indxed\n}",
            "app/schema.graphql:3:10: Dog.a: unknown directive @indxed",
        ),
        ("type Dog @table {\n  id: Float @primaryKey\n}", "Dog: id cannot be a primary key"),
        ("type Dog @table {\n  id ID\n}", "app/schema.graphql:2:6: "),
        (
            "type Dog @table { id: ID }\ntype Dog @table { id: ID }",
            "app/schema.graphql:2:6: Dog: type Dog is defined twice",
        ),
        ("type Dog @table { id: ID a: Int a: Int }", "a is declared twice"),
    ] {
        let home = Home::with_schema(schema);
        let output = check(&home, &[]);
        assert_eq!(output.status.code(), Some(64), "{schema}");
        let said = printed(&home, &output);
        assert!(said.contains(expected), "{schema}: {said}");
        let refused = home.launch().fail();
        assert_eq!(refused.status.code(), Some(64), "run refuses it too: {schema}");
        assert!(printed(&home, &refused).contains(expected), "{schema}");
    }
}

#[test]
fn applications_that_contradict_each_other_are_refused_with_both_places() {
    let home = Home::empty();
    let folder = |name: &str, schema: &str| {
        home.write(&format!("root/components/{name}/schema.graphql"), schema);
    };
    folder("a", "type Dog @table @export { id: ID @primaryKey name: String }");
    folder("b", "type Dog @table @export { id: ID @primaryKey name: String }");
    let root = home.path("root").display().to_string();
    let output = home.output(&["check", "--root", &root]);
    assert!(output.status.success(), "equal definitions merge: {}", printed(&home, &output));
    folder("c", "type Dog @table @export { id: ID @primaryKey name: Int }");
    folder("d", "type Cat @table @export(name: \"Dog\") { id: ID @primaryKey }");
    let output = home.output(&["check", "--root", &root]);
    assert_eq!(output.status.code(), Some(64));
    let said = printed(&home, &output);
    for part in [
        "components/a/schema.graphql:1:1",
        "components/c/schema.graphql:1:1",
        "path /Dog/ is taken by Dog",
    ] {
        assert!(said.contains(part), "{part}: {said}");
    }
}

#[test]
fn a_wrong_command_line_is_64_too() {
    let home = Home::with_schema(SCHEMA);
    for arguments in [
        &["nonsense"][..],
        &[],
        &["run", "app", "--nosuch"],
        &["check", "app", "--set", "no-equals-sign"],
        &["check", "nowhere"],
        &["check", "app", "--config", "nowhere.yaml"],
    ] {
        let output = home.output(arguments);
        assert_eq!(output.status.code(), Some(64), "{arguments:?}: {}", printed(&home, &output));
        assert!(!output.stderr.is_empty(), "{arguments:?}");
    }
    assert!(home.output(&["--version"]).status.success());
    assert!(home.output(&["--help"]).status.success());
}
