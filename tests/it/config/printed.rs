//! What the commands print about the configuration.

use crate::harness::Home;
use crate::harness::server::text;
use serde_json::{Value, json};
use std::path::Path;

fn print(what: &str) -> String {
    let output = Home::empty().output(&["config", what]);
    assert!(output.status.success(), "{}", text(&output.stderr));
    text(&output.stdout)
}

/// Compares with a golden file, or rewrites it with `UPDATE_GOLDEN=1`.
fn golden(name: &str, found: &str) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("golden").join(name);
    if std::env::var_os("UPDATE_GOLDEN").is_some() {
        std::fs::write(&path, found).unwrap();
    }
    let expected = std::fs::read_to_string(&path).unwrap_or_default();
    let differing = found.lines().zip(expected.lines()).find(|(found, expected)| found != expected);
    assert!(
        found == expected,
        "golden/{name} differs, first in {differing:?}; if that is meant: UPDATE_GOLDEN=1 cargo test -p harper-tests golden"
    );
}

#[test]
fn the_documentation_is_the_golden_one() {
    golden("config.md", &print("docs"));
}

#[test]
fn the_schema_is_the_golden_one_and_says_what_the_documentation_says() {
    let schema = print("schema");
    golden("config.schema.json", &schema);
    let schema: Value = serde_json::from_str(&schema).unwrap();
    for key in effective_keys() {
        let pointer = format!("/properties/{}", key.replace('.', "/properties/"));
        let entry = schema.pointer(&pointer);
        assert!(entry.is_some_and(|entry| entry["description"].is_string()), "{key}");
    }
}

/// The names in the table of documented keys.
fn effective_keys() -> Vec<String> {
    let docs = print("docs");
    let table = docs.split("## ").next().unwrap();
    let rows = table.lines().filter_map(|line| line.strip_prefix("| `")?.split('`').next());
    let keys: Vec<_> = rows.map(str::to_owned).collect();
    assert!(keys.len() > 25, "{keys:?}");
    keys
}

#[test]
fn effective_prints_every_documented_key_and_its_origin() {
    let home = Home::empty();
    let output = home.output(&["config", "effective", "--root", "root"]);
    let said = text(&output.stdout);
    for key in effective_keys() {
        assert!(said.lines().any(|line| line.starts_with(&format!("{key}: "))), "{key}: {said}");
    }
    assert!(said.lines().all(|line| line.contains(" # ")), "{said}");
    for (key, value) in [
        ("http.port", "9926"),
        ("admin.port", "9464"),
        ("http.compressionThreshold", "1200"),
        ("http.cors", "true"),
        ("authentication.authorizeLocal", "false"),
        ("http.timeout", "120000"),
        ("http.headersTimeout", "60000"),
        ("http.keepAliveTimeout", "30000"),
        ("http.maxHeaderSize", "16394"),
    ] {
        let line = said.lines().find(|line| line.starts_with(&format!("{key}: "))).unwrap();
        assert!(
            line.trim_start_matches(&format!("{key}: ")).trim_matches('"').starts_with(value),
            "{line}"
        );
    }
}

#[test]
fn effective_prints_no_secret() {
    let key = "-----BEGIN PRIVATE KEY-----\nc2VjcmV0\n-----END PRIVATE KEY-----\n";
    for tls in [json!({"privateKey": key}), json!([{"privateKey": key, "host": "a.example"}])] {
        let config = json!({"tls": tls, "telemetry": {"otlp": {"headers": ["key=c2VjcmV0"]}}});
        let home = Home::empty();
        let mut command = home.command(&["config", "effective"]);
        let output = command.env("HARPER_SET_CONFIG", config.to_string()).output().unwrap();
        let said = text(&output.stdout);
        assert!(said.contains("\"inline PEM\"") && said.contains("\"a secret\""), "{said}");
        assert!(!said.contains("c2VjcmV0"), "{said}");
    }
}
